"""An agent over a Milvus collection: it searches, researches, and asks before it writes."""

from graphs.agent.graph import Agent, build_agent
from graphs.agent.research import research_tool

__all__ = ["Agent", "build_agent", "research_tool"]
