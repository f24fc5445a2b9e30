"""Measure what finds all the paragraphs that a question of several steps needs, and its answers.

Asks 100 questions of Wikipedia, or those of `--data`: once, with the terms of the first hits
(RM3), ranked by links, and by the RAG graph with more and fewer searches. It measures what is
found, and counts searches and CPU time. No language model takes part. With `--answers`, it
measures the graph's answers instead, by rule and, if `--model` names one, by that model. The
constants of the graph's rules were chosen on the sets that the report names: on others it may
find less. Needs `pip install -e ".[graph]" --group evaluate`, and neither a key nor a network
without `--model`. Run it from the repository's folder:

    python examples/evaluate.py
    python examples/evaluate.py --questions 10 --only graph --out results
    python examples/evaluate.py --data examples/data my_sets
    python examples/evaluate.py --answers --model openai:gpt-5-mini

A folder of `--data` has one set or several, each in two files with an object a line:

- `questions.jsonl`, or `NAME_questions.jsonl`: `id`, `question`, `answer`, and `relevant_ids`, the
  ids of the paragraphs that the question needs;
- `paragraphs.jsonl`, or `NAME_paragraphs.jsonl`: `id`, `title`, `text`.
"""

import argparse
import asyncio
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from evaluating.answers import Values, answers_measured, answers_report
from evaluating.measuring import Measured, measure
from evaluating.report import draw, report
from evaluating.sets import DATA, DataError, Question, QuestionSet, read_sets
from evaluating.ways import loaded, stores, ways


def main(sets: Sequence[QuestionSet], most: int | None, only: str, out: pathlib.Path) -> None:
    """Measure all ways on all sets, and write the tables and a chart."""
    results = {one.name: asyncio.run(measured(one, one.questions[:most], only)) for one in sets}
    write(report(sets, results), out / "evaluation.md")
    draw(results, out / "evaluation.png")


async def measured(one: QuestionSet, questions: Sequence[Question], only: str) -> list[Measured]:
    """Measure the ways whose name has a part, on a database that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        by = stores(pathlib.Path(folder) / "evaluate.db")
        chosen = [way for way in ways(by) if only in way[0]]
        if not chosen:
            sys.exit(f"No way to search has {only!r} in its name.")
        async with loaded({store for _, store, _ in chosen}, one.paragraphs):
            return [await measure(way, questions) for way in chosen]


def main_of_answers(
    sets: Sequence[QuestionSet],
    most: int | None,
    only: str,
    out: pathlib.Path,
    model: str | None,
) -> None:
    """Measure the graph's answers on all sets, and write the tables."""
    for one in sets:
        if not one.absent:
            sys.exit(f"{one.name}: a question needs each of the paragraphs; --answers needs more.")
    results = {
        one.name: asyncio.run(measured_answers(one, one.questions[:most], only, model))
        for one in sets
    }
    write(answers_report(results), out / "answers.md")


async def measured_answers(
    one: QuestionSet, questions: Sequence[Question], only: str, model: str | None
) -> dict[str, Values]:
    """Measure the answers by rule, and by the model if there is one."""
    authors = {"by rule": None, **({model: model} if model else {})}
    with tempfile.TemporaryDirectory() as folder:
        by, absent = (stores(pathlib.Path(folder) / name) for name in ("whole.db", "absent.db"))
        chosen = [
            (f"{name}, {mode}", mode, author)
            for name, author in authors.items()
            for mode in by
            if only in f"{name}, {mode}"
        ]
        if not chosen:
            sys.exit(f"No way to answer has {only!r} in its name.")
        modes = {mode for _, mode, _ in chosen}
        async with (
            loaded([by[mode] for mode in modes], one.paragraphs),
            loaded([absent[mode] for mode in modes], one.absent),
        ):
            return {
                name: await answers_measured(by[mode], absent[mode], questions, model=author)
                for name, mode, author in chosen
            }


def write(text: str, file: pathlib.Path) -> None:
    """Print a report, and keep it in a file."""
    print(text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def at_least_one(text: str) -> int:
    """Read a number of questions."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def arguments() -> argparse.Namespace:
    """Read the command line, and the sets that it names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        nargs="+",
        default=[DATA],
        metavar="FOLDER",
        help="folders with sets of questions; default: examples/data",
    )
    parser.add_argument(
        "--questions", type=at_least_one, help="how many of each set's questions; default: all"
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
    try:
        sets = read_sets(given.data)
    except DataError as error:
        sys.exit(str(error))
    if given.answers:
        main_of_answers(sets, given.questions, given.only, given.out, given.model)
    else:
        main(sets, given.questions, given.only, given.out)
