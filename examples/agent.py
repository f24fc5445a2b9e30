"""An agent that searches Wikipedia paragraphs in Milvus Lite, and asks before it deletes any.

Needs `pip install -e ".[local,agents]"`, and neither a key nor a server: a script plays the
model. With `--model openai:gpt-5-mini`, that provider's package and its key, a real one does.

    python examples/agent.py
"""

import argparse
import asyncio
import pathlib
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from quickstart import load_paragraphs

from milvus_tools import MilvusStore, MilvusToolkit, local_embeddings

QUESTIONS = [
    "Which game has players fight with a demon made of dice, and who made it?",
    "Paragraphs of more than 13 sentences are too long for me. Delete them, please.",
]
THREAD: Any = {"configurable": {"thread_id": "1"}}


async def main(model: BaseChatModel, answer: str) -> None:
    """Talk with an agent about a database file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        file = {"uri": str(pathlib.Path(folder) / "agent.db")}
        async with MilvusStore(local_embeddings(), "wikipedia", connection_args=file) as store:
            await store.aadd_documents(load_paragraphs())
            agent = await make_agent(model, store)
            for question in QUESTIONS:
                await ask(agent, question, answer)
            print(f"\n{await store.acount()} paragraphs are left.")


async def make_agent(model: BaseChatModel, store: MilvusStore) -> Any:
    """Give a model the tools, what there is to know of the collection, and a human to ask."""
    fields = {"title": "string", "sentences": "integer"}
    what = "paragraphs of Wikipedia"
    toolkit = MilvusToolkit(store, description=what, filter_fields=fields, allow_delete=True)
    return create_agent(
        model,
        await toolkit.aget_tools(),
        system_prompt=await toolkit.aget_context(),
        middleware=[HumanInTheLoopMiddleware(interrupt_on=toolkit.interrupt_on())],
        checkpointer=InMemorySaver(),
    )


async def ask(agent: Any, question: str, answer: str) -> None:
    """Ask a question, and go on until nothing is left to approve."""
    print(f"\n{'You':16}{question}")
    given: Any = {"messages": [{"role": "user", "content": question}]}
    while given is not None:
        requests = [request async for request in steps(agent, given)]
        decisions = [decide(request["description"], answer) for request in requests]
        given = Command(resume={"decisions": decisions}) if decisions else None


async def steps(agent: Any, given: Any) -> AsyncIterator[Any]:
    """Print what happens as it does, and yield what the agent wants approved."""
    async for update in agent.astream(given, THREAD, stream_mode="updates"):
        for node, change in update.items():
            if node == "__interrupt__":
                for request in change[0].value["action_requests"]:
                    yield request
            elif node in ("model", "tools"):
                for message in change["messages"]:
                    show_message(message)


def decide(question: str, answer: str) -> dict[str, str]:
    """Decide as the command line says, else as the human does, if there is one, else approve."""
    show("  to approve", question)
    answer = answer or (input("  approve? [Y/n] ") if sys.stdin.isatty() else "yes")
    decision = "reject" if answer.lower().startswith("n") else "approve"
    show("  decision", decision)
    return {"type": decision}


class ScriptedModel(BaseChatModel):
    """Plays a model: says what is written below, after reading what the tools answered."""

    _llm_type = "scripted"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """Know the tools already."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        turn = sum(isinstance(message, AIMessage) for message in messages)
        match SCRIPT[turn](messages[-1].text):
            case str(text):
                message = AIMessage(text)
            case (name, args):
                message = AIMessage("", tool_calls=[{"name": name, "args": args, "id": str(turn)}])
        return ChatResult(generations=[ChatGeneration(message=message)])


LIST, LONG = "milvus_search_by_metadata", {"operator": "gt", "value": 13}
SCRIPT: list[Callable[[str], Any]] = [
    lambda _: ("milvus_search", {"query": "a demon made of dice", "k": 3}),
    lambda read: read.split("Demon Dice: ")[1].split(" In it,")[0],
    lambda _: (LIST, {"filters": [{"field": "sentence_count", **LONG}]}),
    lambda read: (LIST, {"filters": [{"field": read.split("'")[-2], **LONG}]}),
    lambda _: ("milvus_delete", {"filters": [{"field": "sentences", **LONG}]}),
    lambda read: "I left them." if "rejected" in read else "They are deleted.",
]


def show_message(message: BaseMessage) -> None:
    """Print what the model asks of a tool, what the tool answers, in short, or the reply."""
    if isinstance(message, ToolMessage):
        found = message.artifact if isinstance(message.artifact, list) else []
        titles = ", ".join(document.metadata["title"] for document in found)
        show("  tool answers", titles or message.text)
    elif isinstance(message, AIMessage):
        for asked in message.tool_calls:
            arguments = (f"{name}={value!r}" for name, value in asked["args"].items())
            show("  model calls", f"{asked['name']}({', '.join(arguments)})")
        show("Agent", message.text)


def show(label: str, text: str) -> None:
    """Print a text, if there is one, beside its label."""
    if text:
        print(textwrap.fill(text, 96, initial_indent=f"{label:16}", subsequent_indent=" " * 16))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An agent that asks before it deletes.")
    parser.add_argument("--model", help="such as openai:gpt-5-mini; a script plays one without")
    parser.add_argument("--yes", dest="answer", action="store_const", const="yes", default="")
    parser.add_argument("--no", dest="answer", action="store_const", const="no")
    given = parser.parse_args()
    chosen = init_chat_model(given.model) if given.model else ScriptedModel()
    asyncio.run(main(chosen, given.answer))
