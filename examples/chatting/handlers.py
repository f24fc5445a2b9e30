"""The handlers that Chainlit calls: a chat begins, a message comes. `page.py` serves them."""

import logging
import pathlib
from typing import Any, Final

import chainlit as cl  # first: it reads .env, on which the graphs depend
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.types import Command

from chatting.conversation import COLLECTION, FILES, Conversation
from chatting.deleting import HELP
from chatting.files import passages
from chatting.markdown import plain, ruled
from chatting.steps import Steps, begin, end
from graphs.index.graph import IndexingError
from graphs.rag.conversation import MAX_QUESTION
from graphs.rag.model_calls import ModelError
from graphs.rag.searching import SearchError
from graphs.served import ENVIRONMENT, ServingError
from milvus_tools import MilvusToolsError
from milvus_tools.ingest.formats import UnreadableError
from milvus_tools.tools.formatting import as_data, counted

DELETE: Final = "Delete"
DECISION_SECONDS: Final = 3_600
# Their messages are for people, and hold no address, path or token.
_TOLD: Final = (MilvusToolsError, SearchError, ModelError, IndexingError, ServingError)
_STARTERS: Final = {
    "A question in several steps": "Who directed the film that was shot in or around Leland, "
    "North Carolina in 1986?",
    "Two questions at once": "Who made Demon Dice? Who directed Maximum Overdrive?",
}


async def start() -> None:
    """Begin a chat."""
    cl.user_session.set("conversation", Conversation())
    button = {"id": DELETE, "icon": "trash-2", "button": True, "persistent": False}
    await cl.context.emitter.set_commands(
        [{**button, "description": f"Delete documents, when you approve: {HELP}"}]
    )


async def starters() -> list[Any]:
    """Offer questions that the Wikipedia paragraphs answer, if those are asked."""
    if ENVIRONMENT.names_store:
        return []
    return [cl.Starter(label=label, message=text) for label, text in _STARTERS.items()]


async def receive(message: cl.Message) -> None:
    """Index what was dropped in, then delete or answer."""
    conversation: Conversation = cl.user_session.get("conversation")
    source = (message.modes or {}).get("source", COLLECTION)
    text = message.content.strip()
    try:
        if message.elements:
            source = await index(conversation, message.elements) or source
        if message.command == DELETE:
            await delete(conversation, text, source)
        elif text:
            await answer(conversation, text, source)
    except Exception as error:
        if not isinstance(error, _TOLD):
            logging.getLogger(__name__).exception("A message could not be answered.")
        await cl.ErrorMessage(plain(sentence(error))).send()


def sentence(error: Exception) -> str:
    """Say what went wrong, without what an error of another package may give away."""
    if isinstance(error, _TOLD):
        return str(error)
    return f"This failed ({type(error).__name__}). The page's terminal says why."


async def index(conversation: Conversation, files: list[Any]) -> str:
    """Index files, each in a step of its own; return the source to ask from now on."""
    for file in files:
        step = await begin(as_data(f"Index {file.name}"), icon="file-text")
        try:
            documents = await passages(file.name, pathlib.Path(file.path))
            report = await conversation.index(documents)
            failed = report["failed"]
            await end(step, plain(reported(report)), is_error=bool(failed))
        except (UnreadableError, *_TOLD) as error:
            await end(step, plain(f"It was not indexed. {error}"), is_error=True)
    if not conversation.sources:
        return ""
    await offer_sources(conversation)
    return FILES


def reported(report: Any) -> str:
    """Say what became of a file."""
    sentences = [f"{counted(report['written'], 'passage')} indexed."]
    if report["unchanged"]:
        sentences.append(f"{counted(report['unchanged'], 'passage')} indexed before.")
    if failed := report["failed"]:
        sentences.append(f"{counted(len(failed), 'passage')} not indexed: {failed[0]['error']}")
    return " ".join(sentences)


async def offer_sources(conversation: Conversation) -> None:
    """Let the user choose between the files, which are asked now, and the collection."""
    names = ", ".join(conversation.sources)
    options = [
        cl.ModeOption(FILES, "Your files", description=names, icon="file-text", default=True),
        cl.ModeOption(COLLECTION, "The collection", icon="database"),
    ]
    await cl.context.emitter.set_modes([cl.Mode("source", "Search in", options)])


async def answer(conversation: Conversation, question: str, source: str) -> None:
    """Answer a question: the steps as they are taken, the text as it is written."""
    if len(question) > MAX_QUESTION:
        await cl.ErrorMessage(f"A question can have {MAX_QUESTION} characters.").send()
        return
    steps, message, output = Steps(), cl.Message(""), None
    try:
        async for part in conversation.ask(question, source):
            match part["type"]:
                case "custom":
                    await steps.tell(part["data"])
                case "messages":
                    token = part["data"][0].text
                    await message.stream_token(token if ENVIRONMENT.model else ruled(token))
                case "values":
                    output = part["data"]
    finally:
        await steps.stop()
    await finish(message, output)


async def finish(message: cl.Message, output: Any) -> None:
    """Show the answer as it is in the end, with the passages that it cites beside it."""
    by_model = output["answered_by"] == "model"
    message.content = output["answer"] if by_model else ruled(output["answer"])
    pairs = zip(output["citations"], output["documents"], strict=True)
    message.elements = [passage(citation, document) for citation, document in pairs]
    await message.update()
    if message.elements:
        # Without this, Chainlit shows the passages of all answers so far.
        await cl.ElementSidebar.set_elements(message.elements)
        await cl.ElementSidebar.set_title("Passages")


def passage(citation: Any, document: Any) -> cl.Text:
    """Return what `[n]` opens."""
    name = f"[{citation['n']}]"
    title = plain(f"{name} {citation['source']}")
    text = f"**{title}**\n\n{plain(document.page_content)}"
    return cl.Text(name=name, content=text, display="side")


async def delete(conversation: Conversation, text: str, source: str) -> None:
    """Have an agent delete, and ask the user before it does."""
    agent = await conversation.deleter(source)
    thread: Any = {"configurable": {"thread_id": "delete"}}
    given: Any = {"messages": [("user", text)]}
    while given is not None:
        decisions: list[Any] = []
        async for update in agent.astream(given, thread, stream_mode="updates"):
            for node, change in update.items():
                if node == "__interrupt__":
                    requests = change[0].value["action_requests"]
                    decisions = [await decision(one["description"]) for one in requests]
                else:
                    await show((change or {}).get("messages", []))
        given = Command(resume={"decisions": decisions}) if decisions else None


async def decision(question: str) -> dict[str, str]:
    """Ask whether a call may run."""
    actions = [
        cl.Action("approve", payload={}, label="Approve", icon="check"),
        cl.Action("reject", payload={}, label="Reject", icon="x"),
    ]
    asked = cl.AskActionMessage(plain(question), actions, timeout=DECISION_SECONDS)
    chosen = await asked.send()
    approved = chosen is not None and chosen["name"] == "approve"
    asked.content = f"{plain(question)}\n\n**{'Approved' if approved else 'Rejected'}**"
    await asked.update()
    if approved:
        return {"type": "approve"}
    return {"type": "reject", "message": "The user rejected this: nothing was deleted."}


async def show(messages: list[Any]) -> None:
    """Show what an agent says, and what its tools answer."""
    for message in messages:
        if isinstance(message, ToolMessage):
            step = await begin(message.name or "tool", icon="trash-2")
            await end(step, plain(message.text), is_error=message.status == "error")
        elif isinstance(message, AIMessage) and message.text:
            await cl.Message(plain(message.text)).send()


cl.on_chat_start(start)
cl.set_starters(starters)
cl.on_message(receive)
