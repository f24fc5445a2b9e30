"""Measure what finds all the paragraphs that a question of two steps needs, and what answers it.

Asks 100 questions of Wikipedia once, by several queries at once, and by the RAG graph; each by
meaning, by words (BM25) and by both; and the graph again without its parts. No language model
takes part. With `--answers`, it measures the graph's answers instead, by rule and, if `--model`
names one, by that model. The constants of the graph's rules were tuned on these questions: on
others it may find less. Needs `pip install -e ".[graph]" --group evaluate`, and neither a key nor
a network without `--model`. Run it from the repository's folder:

    python examples/evaluate.py
    python examples/evaluate.py --questions 10 --only graph --out results
    python examples/evaluate.py --answers --model openai:gpt-5-mini
"""

import argparse
import asyncio
import contextlib
import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import ir_measures
import matplotlib as mpl
import numpy as np
from evaluating.answers import (
    Values,
    absent_paragraphs,
    answers_measured,
    answers_table,
)
from evaluating.asking import asked
from evaluating.figures import TUNED, cell, interval
from evaluating.questions import Question, load_questions
from ir_measures import RR, R, nDCG
from langchain_core.documents import Document
from langchain_milvus import BM25BuiltInFunction
from matplotlib.figure import Figure
from numpy.typing import NDArray

from graphs.rag import Context, build_graph
from graphs.rag.wikipedia import paragraphs
from milvus_tools import MilvusMultiQueryRetriever, MilvusStore, local_embeddings
from milvus_tools.english import names

K = 10
ALL = "all@10"
MEASURES = {"recall@5": R @ 5, "recall@10": R @ 10, "nDCG@10": nDCG @ 10, "MRR": RR}
COLUMNS = [ALL, *MEASURES]
MAX_QUERY = 1_000  # characters that the retriever takes
BASELINE = "single query"

Find = Callable[[str], Awaitable[list[str]]]


@dataclasses.dataclass
class Measured:
    """What a way to search has found: a value per question and measure, and seconds."""

    name: str
    values: Mapping[str, NDArray[np.float64]]
    seconds: Sequence[float]


def main(questions: Sequence[Question], only: str, out: pathlib.Path) -> None:
    """Measure all ways, and write a table and a chart."""
    results = asyncio.run(measured(questions, only))
    text = table(results)
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.md").write_text(text, encoding="utf-8")
    draw(results, out / "evaluation.png")


async def measured(questions: Sequence[Question], only: str) -> list[Measured]:
    """Measure the ways whose name has a part, on a database that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        async with stores(pathlib.Path(folder) / "evaluate.db", paragraphs()) as by:
            chosen = [(name, find) for name, find in ways(by) if only in name]
            if not chosen:
                sys.exit(f"No way to search has {only!r} in its name.")
            return [await measure(name, find, questions) for name, find in chosen]


def main_of_answers(
    questions: Sequence[Question], only: str, out: pathlib.Path, model: str | None
) -> None:
    """Measure the graph's answers, and write a table."""
    text = answers_table(asyncio.run(measured_answers(questions, only, model)))
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / "answers.md").write_text(text, encoding="utf-8")


async def measured_answers(
    questions: Sequence[Question], only: str, model: str | None
) -> dict[str, Values]:
    """Measure the answers by rule, and by the model if there is one."""
    authors = {"by rule": None, **({model: model} if model else {})}
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        async with (
            stores(place / "whole.db", paragraphs()) as by,
            stores(place / "absent.db", absent_paragraphs()) as absent,
        ):
            chosen = [
                (f"{name}, {mode}", mode, author)
                for name, author in authors.items()
                for mode in by
                if only in f"{name}, {mode}"
            ]
            if not chosen:
                sys.exit(f"No way to answer has {only!r} in its name.")
            return {
                name: await answers_measured(by[mode], absent[mode], questions, model=author)
                for name, mode, author in chosen
            }


@contextlib.asynccontextmanager
async def stores(
    file: pathlib.Path, documents: list[Document]
) -> AsyncIterator[Mapping[str, MilvusStore]]:
    """Load Documents thrice: to be found by meaning, by words, and by both."""
    common: Any = {"connection_args": {"uri": str(file)}}
    words: Any = {"builtin_function": BM25BuiltInFunction(output_field_names="sparse")}
    both = ["dense", "sparse"]
    made = {
        "dense": MilvusStore(local_embeddings, "dense", **common),
        "BM25": MilvusStore(None, "words", vector_field=["sparse"], **words, **common),
        "hybrid": MilvusStore(local_embeddings, "both", vector_field=both, **words, **common),
    }
    async with contextlib.AsyncExitStack() as stack:
        for store in made.values():
            await stack.enter_async_context(store)
            await store.aadd_documents(documents)
        yield made


def ways(by: Mapping[str, MilvusStore]) -> Iterator[tuple[str, Find]]:
    """Name the ways to search."""
    for mode, store in by.items():
        yield f"{BASELINE}, {mode}", single(store)
    for mode, store in by.items():
        yield f"a query per name, {mode}", several(store, mode, names)
    for mode, store in by.items():
        follow_up = follow_up_in(store)
        yield f"question and first hit, {mode}", several(store, mode, follow_up)
    for mode, store in by.items():
        yield f"graph, {mode}", by_graph(store)
    hybrid = by["hybrid"]
    yield "graph, hybrid: one round", by_graph(hybrid, max_rounds=1)
    yield "graph, hybrid: text alone leads on", by_graph(hybrid, max_rounds=2, max_subquestions=1)
    yield "graph, hybrid: two rounds", by_graph(hybrid, max_rounds=2)
    yield "graph, hybrid: four sub-questions", by_graph(hybrid, max_subquestions=4)


def single(store: MilvusStore) -> Find:
    """Search once, for the question."""

    async def find(question: str) -> list[str]:
        return [str(found.id) for found in await store.asimilarity_search(question, K)]

    return find


def several(store: MilvusStore, mode: str, queries: Callable[[str], Any]) -> Find:
    """Search for the question and for further queries, and fuse by reciprocal rank."""
    retriever = MilvusMultiQueryRetriever(
        store,
        query_generator=queries,
        mode="hybrid" if mode == "hybrid" else "similarity",
        k=K,
    )

    async def find(question: str) -> list[str]:
        return [str(found.id) for found in await retriever.ainvoke(question)]

    return find


def follow_up_in(store: MilvusStore) -> Callable[[str], Awaitable[list[str]]]:
    """Return what makes a second query of the question and the first hit's text."""

    async def follow_up(question: str) -> list[str]:
        found = await store.asimilarity_search(question, 1)
        return [f"{question} {document.page_content}"[:MAX_QUERY] for document in found]

    return follow_up


def by_graph(store: MilvusStore, **settings: Any) -> Find:
    """Run the graph, by rule."""
    graph = build_graph(Context(store=store, k=K, **settings))

    async def find(question: str) -> list[str]:
        _, passages = await asked(graph, question)
        return list(passages)

    return find


async def measure(name: str, find: Find, questions: Sequence[Question]) -> Measured:
    """Ask one question after the other, and compare what is found with what is needed."""
    run: list[ir_measures.ScoredDoc] = []
    seconds: list[float] = []
    for question in questions:
        start = time.perf_counter()
        found = (await find(question.text))[:K]
        seconds.append(time.perf_counter() - start)
        run += [ir_measures.ScoredDoc(question.id, id_, -rank) for rank, id_ in enumerate(found)]
    return Measured(name, values_of(run, questions), seconds)


def values_of(
    run: Sequence[ir_measures.ScoredDoc], questions: Sequence[Question]
) -> dict[str, NDArray[np.float64]]:
    """Return each measure's value for each question; what found nothing has 0."""
    needed = [
        ir_measures.Qrel(question.id, id_, 1) for question in questions for id_ in question.needed
    ]
    found = {
        (str(one.measure), one.query_id): one.value
        for one in ir_measures.iter_calc(list(MEASURES.values()), needed, run)
    }
    values = {
        name: np.array([found.get((str(one), question.id), 0.0) for question in questions])
        for name, one in MEASURES.items()
    }
    return {ALL: (values["recall@10"] == 1).astype(float), **values}


def table(results: Sequence[Measured]) -> str:
    """Write the results in percent, with 95 % intervals, as Markdown."""
    lines = [
        f"| | {' | '.join(COLUMNS)} | {ALL}, more than {BASELINE} | ms per question |",
        f"|---|{'---|' * (len(COLUMNS) + 2)}",
    ]
    known = {result.name: result.values[ALL] for result in results}
    for result in results:
        cells = [cell(result.values[name]) for name in COLUMNS]
        cells.append(gain(result, known))
        milliseconds = 1_000 * float(np.median(result.seconds))
        lines.append(f"| {result.name} | {' | '.join(cells)} | {milliseconds:.0f} |")
    return "\n".join([*lines, "", TUNED]) + "\n"


def gain(result: Measured, known: Mapping[str, NDArray[np.float64]]) -> str:
    """Write by how much it is better, question by question, than one query in the same mode."""
    mode = result.name.partition(", ")[2].partition(":")[0]
    once = known.get(f"{BASELINE}, {mode}")
    return "" if once is None else cell(result.values[ALL] - once)


def draw(results: Sequence[Measured], file: pathlib.Path) -> None:
    """Draw for how many questions all needed paragraphs are found."""
    means = np.array([100 * result.values[ALL].mean() for result in results])
    bounds = np.array([interval(result.values[ALL]) for result in results]).T * 100
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(8, 0.6 + 0.35 * len(results)), layout="constrained")
        axes = figure.subplots()
        labels = [result.name for result in results]
        colours = ["tab:blue" if label.startswith("graph") else "tab:gray" for label in labels]
        errors = np.abs(bounds - means)
        axes.barh(labels, means, xerr=errors, color=colours, capsize=3, ecolor="black")
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of questions with all needed paragraphs in the top 10 (95 % interval)")
        figure.savefig(file, dpi=150)


def at_least_one(text: str) -> int:
    """Read a number of questions."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--questions", type=at_least_one, default=100, help="how many of the questions"
    )
    parser.add_argument("--only", default="", help="a part of the names of those to measure")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("results"))
    parser.add_argument("--answers", action="store_true", help="measure the graph's answers")
    parser.add_argument("--model", help="such as openai:gpt-5-mini; answers too, beside the rules")
    given = parser.parse_args()
    if given.model and not given.answers:
        parser.error("--model answers: give --answers too")
    return given


if __name__ == "__main__":
    given = arguments()
    questions = load_questions(given.questions)
    if given.answers:
        main_of_answers(questions, given.only, given.out, given.model)
    else:
        main(questions, given.only, given.out)
