"""A model's answers without its thoughts. Pure functions."""

import re
from typing import Final

from langchain_core.messages import BaseMessage

# As models write them whose server does not take their thoughts apart.
_TAG: Final = re.compile(r"(?i:<(/?)(?:think(?:ing)?|thoughts?|reasoning)>)|\[(/?)THINK\]")


def said(message: BaseMessage) -> str:
    """Return a message's text without thoughts; its reasoning blocks are no text either."""
    return without_thoughts(str(message.text))


def without_thoughts(text: str) -> str:
    """Leave out what stands between tags of thinking.

    A thought without an end goes to the end of the text. One without a beginning begins with the
    text: some prompts end with the opening tag.
    """
    kept: list[str] = []
    depth, start = 0, 0
    for tag in _TAG.finditer(text):
        if tag[1] or tag[2]:
            kept = kept if depth else []
            depth, start = max(depth - 1, 0), tag.end()
        else:
            kept += [] if depth else [text[start : tag.start()]]
            depth += 1
    return "".join(kept) if depth else "".join([*kept, text[start:]])
