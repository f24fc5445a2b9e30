"""The steps of a run: each round with its sub-questions inside, and what each of them found."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import chainlit as cl
from chainlit.utils import utc_now

from chatting.markdown import plain
from milvus_tools.tools.formatting import as_data, counted

SHOWN: Final = 3
"""The most documents of a sub-question that are named."""


@dataclasses.dataclass
class Round:
    """A round that is shown."""

    step: cl.Step
    left: set[int]
    """The sub-questions that still search."""


class Steps:
    """Shows the events of `graphs.rag` while it runs."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._rounds: dict[int, Round] = {}
        self._searches: dict[int, cl.Step] = {}

    async def tell(self, event: Mapping[str, Any]) -> None:
        """Show an event."""
        match event["event"]:
            case "planned" | "reflected" if event["subquestions"]:
                await self._begin(event["subquestions"])
            case "found" | "unsearched":
                await self._end_search(event)

    async def stop(self) -> None:
        """End what a run that failed or was stopped has left open."""
        for step in [*self._searches.values(), *(one.step for one in self._rounds.values())]:
            if step.end is None:
                await _end(step)

    async def _begin(self, subquestions: Sequence[Mapping[str, Any]]) -> None:
        number = subquestions[0]["round"]
        name = f"Round {number}: {counted(len(subquestions), 'sub-question')}"
        step = await begin(name, icon="layers", auto_collapse=True)
        self._rounds[number] = Round(step, {one["number"] for one in subquestions})
        for one in subquestions:
            self._searches[one["number"]] = await begin(as_data(one["text"]), parent=step.id)

    async def _end_search(self, event: Mapping[str, Any]) -> None:
        step, round_ = self._searches[event["number"]], self._rounds[event["round"]]
        step.is_error = bool(event["error"])
        step.output = plain(event["error"]) or found(event["found"])
        await _end(step)
        round_.left.discard(event["number"])
        round_.step.auto_collapse &= not step.is_error  # an error stays in sight
        if not round_.left:
            await _end(round_.step)


def found(documents: Sequence[Mapping[str, str]]) -> str:
    """Say which documents a search found."""
    named = "; ".join(plain(one["source"]) for one in documents[:SHOWN])
    more = f"; and {len(documents) - SHOWN} more" if len(documents) > SHOWN else ""
    return f"{named}{more}" or "Nothing was found."


async def begin(
    name: str, *, parent: str = "", icon: str = "wrench", auto_collapse: bool = False
) -> cl.Step:
    """Show a step that is at work, inside another or the run."""
    run = cl.context.current_run
    step = cl.Step(
        name,
        type="tool",
        parent_id=parent or (run.id if run else None),
        icon=icon,
        default_open=True,
        auto_collapse=auto_collapse,
    )
    step.start = utc_now()
    await step.send()
    return step


async def end(step: cl.Step, output: str, *, is_error: bool = False) -> None:
    """Show what a step came to."""
    step.output, step.is_error = output, is_error
    await _end(step)


async def _end(step: cl.Step) -> None:
    step.end = utc_now()
    await step.update()
