"""The RAG graph as a chat: turns on a thread, messages in and out, and what checkpoints keep."""

import collections
import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from graphs.rag import Context, build_graph
from graphs.rag.prompts import NOT_IN_DOCUMENTS
from graphs.rag.quoting import QUOTES
from graphs.rag.rules import UNCLEAR
from milvus_tools import MilvusStore
from tests.helpers.openai_clients import Clients
from tests.helpers.openai_service import OpenAIService
from tests.helpers.rag_graph import DOCUMENTS, QUESTION, PlayedModel, plan, reflection
from tests.helpers.support import DIM, ON_LITE

MakeStore = Callable[..., MilvusStore]
THREAD: Any = {"configurable": {"thread_id": "1"}}
FIRST = "Which film was shot around Leland?"
FOLLOW_UP = "and who directed it?"
ALONE = "Is Maximum Overdrive a film?"


async def loaded(make_store: MakeStore, embedding: Any = None) -> MilvusStore:
    """Return a store with the documents."""
    store = make_store(embedding)
    await store.aadd_documents(DOCUMENTS)
    return store


def threaded(context: Context, saver: InMemorySaver, **options: Any) -> Any:
    """Return the graph with a checkpointer."""
    return build_graph(context).builder.compile(checkpointer=saver, **options)


def strict_saver() -> InMemorySaver:
    """Return a saver that reads types of LangChain and LangGraph alone."""
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))


async def test_r46_a_chat_of_two_turns(
    make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A follow-up has the names of the turn before, and a strict checkpointer reads it all."""
    graph = threaded(Context(store=await loaded(make_store)), strict_saver())
    with caplog.at_level(logging.WARNING, "langgraph"):
        first = await graph.ainvoke({"messages": [HumanMessage(FIRST)]}, THREAD)
        second = await graph.ainvoke(
            {"messages": [{"role": "user", "content": FOLLOW_UP}]}, THREAD
        )
        kept = (await graph.aget_state(THREAD)).values
    assert not caplog.records
    assert "Maximum Overdrive was shot around Leland" in first["answer"]
    assert "Maximum Overdrive" in second["standalone_question"]
    assert second["standalone_question"].endswith(": who directed it?")
    assert "directed by Stephen King" in second["answer"]
    assert [type(one) for one in kept["messages"]] == [HumanMessage, AIMessage] * 2
    assert [one.text for one in kept["messages"]] == [
        FIRST,
        first["answer"],
        FOLLOW_UP,
        second["answer"],
    ]
    assert all(isinstance(one, Document) for one in kept["documents"])


@ON_LITE
async def test_r46_a_question_and_messages_are_one_conversation(make_store: MakeStore) -> None:
    """A thread may take both; `question` becomes a message, once, and is not asked again."""
    graph = threaded(Context(store=await loaded(make_store)), InMemorySaver())
    await graph.ainvoke({"question": QUESTION}, THREAD)
    await graph.ainvoke({"messages": [("user", "What are kites?")]}, THREAD)
    output = await graph.ainvoke({"question": "What is Leland?"}, THREAD)
    asked = [one.text for one in output["messages"] if one.type == "human"]
    assert asked == [QUESTION, "What are kites?", "What is Leland?"]
    assert "Leland is a town." in output["answer"]
    with pytest.raises(ValueError, match="The question is empty"):
        await graph.ainvoke({"messages": []}, THREAD)


@ON_LITE
async def test_r46_a_client_may_keep_the_conversation(make_store: MakeStore) -> None:
    """Without a thread, the messages that it sends are what was said."""
    graph = build_graph(Context(store=await loaded(make_store)))
    talk = [
        ("user", FIRST),
        ("ai", "Maximum Overdrive [1]."),
        ("user", FOLLOW_UP),
    ]
    output = await graph.ainvoke({"messages": talk})
    assert "Maximum Overdrive" in output["standalone_question"]
    assert "directed by Stephen King" in output["answer"]


@ON_LITE
async def test_r46_content_blocks_are_a_question(make_store: MakeStore) -> None:
    """An image beside it is not read, and the answer says so."""
    image = {"type": "image", "url": "https://a.example/kite.png"}
    blocks: Any = [{"type": "text", "text": "What are kites?"}, image]
    graph = build_graph(Context(store=await loaded(make_store)))
    output = await graph.ainvoke({"messages": [{"role": "user", "content": blocks}]})
    assert "Kites are birds of prey." in output["answer"]
    assert "Only the text of the question was read, not: image." in output["notes"]


@ON_LITE
async def test_r46_the_planning_call_makes_a_follow_up_stand_alone(make_store: MakeStore) -> None:
    """No further call is made, and models read earlier answers as plain text."""
    model = PlayedModel(
        [plan(), plan("Maximum Overdrive?", question=ALONE)],
        [reflection(answerable=True)],
        ["Stephen King [1].", "A film [1]."],
    )
    with OpenAIService(model, dim=DIM) as service:
        async with Clients(service) as clients:
            store = await loaded(make_store, clients.embeddings)
            graph = threaded(Context(store=store, model=clients.chat()), InMemorySaver())
            await graph.ainvoke({"messages": [("user", QUESTION)]}, THREAD)
            output = await graph.ainvoke({"messages": [("user", FOLLOW_UP)]}, THREAD)
            await store.aclose()
    assert model.asked == ["plan", "reflection", "answer"] * 2
    assert output["standalone_question"] == output["subquestions"][0]["text"] == ALONE
    first, second = [
        one for kind, one in zip(model.asked, model.messages, strict=True) if kind == "plan"
    ]
    assert len(first) == 2
    assert [one["content"] for one in second[1:]] == [QUESTION, "Stephen King [1].", FOLLOW_UP]
    assert [one["role"] for one in second] == ["system", "user", "assistant", "user"]
    answering = model.messages[-1]
    assert len(answering) == 2
    assert f"Question: {ALONE}" in answering[-1]["content"]


@ON_LITE
async def test_r46_a_follow_up_of_a_plan_that_can_t_be_read_goes_by_rule(
    make_store: MakeStore,
) -> None:
    """It has the names of the last turn then."""
    model = PlayedModel(["No plan."], [reflection(answerable=True)], ["A film [1]."])
    with OpenAIService(model, dim=DIM) as service:
        async with Clients(service) as clients:
            store = await loaded(make_store, clients.embeddings)
            graph = build_graph(Context(store=store, model=clients.chat()))
            talk = [("user", QUESTION), ("ai", "Maximum Overdrive."), ("user", FOLLOW_UP)]
            output = await graph.ainvoke({"messages": talk})
            await store.aclose()
    assert output["standalone_question"] == "Leland, Maximum Overdrive: who directed it?"


@ON_LITE
async def test_the_answer_is_a_message_with_citations(make_store: MakeStore) -> None:
    """Its annotations stand where `[n]` does; what it cites is in the output as Documents."""
    store = make_store()
    web = {"source": "https://a.example/kites", "title": "Kites"}
    bad = {"url": "javascript:alert(1)", "source": "file.md"}
    await store.aadd_documents(
        [
            Document(id="kite", page_content="Kites are birds of prey.", metadata=web),
            Document(id="more", page_content="Kites are birds.", metadata=bad),
        ]
    )
    graph = build_graph(Context(store=store))
    output = await graph.ainvoke({"question": "Are kites birds of prey?"})
    message = output["messages"][-1]
    assert message.text == output["answer"]
    (block,) = message.content_blocks
    cited = {one["extras"]["document_id"]: one for one in block["annotations"]}
    assert cited["kite"]["url"] == "https://a.example/kites"
    assert cited["kite"]["title"] == "Kites"
    for one in block["annotations"]:
        mark = block["text"][one["start_index"] : one["end_index"]]
        assert mark == f"[{one['extras']['n']}]"
    assert not any("javascript" in str(one.get("url")) for one in cited.values())
    assert [one.id for one in output["documents"]] == [one["id"] for one in output["citations"]]
    kite = next(one for one in output["documents"] if one.id == "kite")
    assert kite.page_content == "Kites are birds of prey."
    assert kite.metadata["title"] == "Kites"


@ON_LITE
async def test_the_question_is_not_streamed_as_an_answer(make_store: MakeStore) -> None:
    """Who streams messages reads the answer alone, by rule too."""
    graph = build_graph(Context(store=await loaded(make_store)))
    for given in ({"question": QUESTION}, {"messages": [("user", QUESTION)]}):
        stream = graph.astream(given, stream_mode="messages")
        messages = [message async for message, _ in stream]
        assert [one.type for one in messages] == ["ai"]


@ON_LITE
async def test_a_model_s_message_is_streamed_once(make_store: MakeStore) -> None:
    """The message of the output has the id of its tokens, and says how many it took."""
    model = PlayedModel([plan()], [reflection(answerable=True)], ["Stephen King [1]."])
    with OpenAIService(model, dim=DIM) as service:
        async with Clients(service) as clients:
            store = await loaded(make_store, clients.embeddings)
            chat = clients.chat(stream_usage=True)
            graph = build_graph(Context(store=store, model=chat))
            tokens, output = [], None
            async for mode, data in graph.astream(
                {"question": QUESTION}, stream_mode=["messages", "values"]
            ):
                if mode == "messages":
                    tokens.append(data[0])
                else:
                    output = data
            await store.aclose()
    answer: Any = output
    message = answer["messages"][-1]
    assert "".join(one.text for one in tokens) == "Stephen King [1]."
    assert {one.id for one in tokens} == {message.id}
    assert message.usage_metadata["output_tokens"] > 0


@ON_LITE
async def test_r48_a_passage_is_kept_once(make_store: MakeStore) -> None:
    """A checkpoint holds a text that many sub-questions found once, and no text of the others."""
    store = make_store()
    texts = [f"Owls of kind {number} hunt at night. {number:05}" for number in range(40)]
    await store.aadd_texts(texts, ids=[str(number) for number in range(40)])
    saver = InMemorySaver()
    graph = threaded(Context(store=store, k=40, max_passages=5, max_rounds=2), saver)
    question = "What hunts at night? What hunts by day? Which owls hunt? Which kind hunts?"
    await graph.ainvoke({"question": question}, THREAD)
    written = b"".join(write[2][1] for one in saver.writes.values() for write in one.values())
    written += b"".join(blob[1] for blob in saver.blobs.values())
    counts = collections.Counter({one: written.count(one.encode()) for one in texts})
    rounds, stored = 2, 2  # LangGraph writes a node's update, and the channel that it makes
    # Of what is cited: the answer, its message and Document, and the next query.
    cited = 4 * QUOTES
    assert sum(counts.values()) <= rounds * stored * 5 + cited
    assert sum(count > 0 for count in counts.values()) <= rounds * 5
    state = (await graph.aget_state(THREAD)).values
    assert state["passages"] == {}
    for each in [one async for one in graph.aget_state_history(THREAD)]:
        kept = [one["text"] for one in each.values.get("passages", {}).values()]
        assert len(kept) == len(set(kept)) <= 5


@pytest.mark.parametrize("before", ["merge", "reflect", "answer"])
async def test_r48_what_is_not_kept_is_read_again(make_store: MakeStore, before: str) -> None:
    """A thread that goes on in another process has the ids, and finds the passages by them."""
    saver, store = strict_saver(), await loaded(make_store)
    whole = await build_graph(Context(store=store)).ainvoke({"question": QUESTION})
    stopped = threaded(Context(store=store), saver, interrupt_before=[before])
    await stopped.ainvoke({"question": QUESTION}, THREAD)
    output = await threaded(Context(store=store), saver).ainvoke(None, THREAD)
    assert output["answer"] == whole["answer"]
    assert output["documents"] == whole["documents"]


@pytest.mark.parametrize("question", ["What hunts at night?", "Which birds are hunting by night?"])
async def test_r49_a_found_answer_is_not_denied(make_store: MakeStore, question: str) -> None:
    """Other endings are the same words."""
    store = make_store()
    await store.aadd_texts(["Owls hunt at night.", "Birds sing."], ids=["a", "b"])
    output = await build_graph(Context(store=store)).ainvoke({"question": question})
    assert output["answered_by"] == "rule"
    assert "Owls hunt at night. [" in output["answer"]


async def test_r49_what_is_not_clearly_answered_says_so(make_store: MakeStore) -> None:
    """With the nearest sentences, cited, and counted as not answered."""
    store = make_store()
    graph = build_graph(Context(store=store))
    asked = {"question": "Who discovered penicillin?"}
    assert (await graph.ainvoke(asked))["answer"] == NOT_IN_DOCUMENTS
    await store.aadd_texts(["Owls hunt at night."], ids=["a"])
    output = await graph.ainvoke(asked)
    assert output["answer"] == f"{UNCLEAR}\n- Owls hunt at night. [1]"
    assert output["answered_by"] == "none"
    assert [one["id"] for one in output["citations"]] == ["a"]
