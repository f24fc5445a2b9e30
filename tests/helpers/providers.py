"""The tools as each provider's own converter sends them; no request is made."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.tools import BaseTool

Schema = dict[str, Any]
Convert = Callable[[Sequence[BaseTool], bool], dict[str, Schema]]


def _functions(bound: Any) -> dict[str, Schema]:
    functions = [one["function"] for one in bound.kwargs["tools"]]
    return {one["name"]: one["parameters"] for one in functions}


def openai(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that `ChatOpenAI` sends."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="gpt-4o", api_key="none")
    return _functions(model.bind_tools(tools, strict=strict or None))


def anthropic(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that `ChatAnthropic` sends."""
    from langchain_anthropic import ChatAnthropic

    model = ChatAnthropic(model="claude-sonnet-4-5", api_key="none")
    bound: Any = model.bind_tools(tools, strict=strict or None)
    return {one["name"]: one["input_schema"] for one in bound.kwargs["tools"]}


def google(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that `ChatGoogleGenerativeAI` sends."""
    from langchain_google_genai import ChatGoogleGenerativeAI
    from langchain_google_genai._function_utils import convert_to_genai_function_declarations

    model = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="none")
    bound: Any = model.bind_tools(tools)
    (made,) = convert_to_genai_function_declarations(bound.kwargs["tools"])
    sent = made.model_dump(exclude_none=True, mode="json", by_alias=True)
    return {one["name"]: one["parameters"] for one in sent["functionDeclarations"]}


def aws(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that `ChatBedrockConverse` sends."""
    from langchain_aws.chat_models.bedrock_converse import _format_tools
    from langchain_core.utils.function_calling import convert_to_openai_tool

    specs = [one["toolSpec"] for one in _format_tools([convert_to_openai_tool(t) for t in tools])]
    return {one["name"]: one["inputSchema"]["json"] for one in specs}


def mistral(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that `ChatMistralAI` sends."""
    from langchain_mistralai import ChatMistralAI

    return _functions(ChatMistralAI(api_key="none").bind_tools(tools))


def ollama(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that ollama's client sends for `ChatOllama`."""
    from langchain_ollama import ChatOllama
    from ollama import Tool

    bound: Any = ChatOllama(model="none").bind_tools(tools)
    made = [
        Tool.model_validate(one).model_dump(exclude_none=True) for one in bound.kwargs["tools"]
    ]
    return {one["function"]["name"]: one["function"]["parameters"] for one in made}


def groq(tools: Sequence[BaseTool], strict: bool = False) -> dict[str, Schema]:
    """Return the schemas that `ChatGroq` sends."""
    from langchain_groq import ChatGroq

    return _functions(ChatGroq(model="none", api_key="none").bind_tools(tools))


PROVIDERS: dict[str, Convert] = {
    "openai": openai,
    "anthropic": anthropic,
    "google": google,
    "aws": aws,
    "mistral": mistral,
    "ollama": ollama,
    "groq": groq,
}


def parts(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield a schema and all schemas inside it, each with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from parts(schema["items"], f"{path}[]")
    for part in schema.get("anyOf", ()):
        yield from parts(part, f"{path}|")
