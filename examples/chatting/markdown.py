"""Text on the page, which shows Markdown. Pure functions."""

import re
from typing import Final

from milvus_tools.tools.formatting import as_data

_SIGN: Final = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~:$&]")
# What the rules write round a quoted sentence: a bullet before it, and its citation behind it.
_RULED: Final = re.compile(r"^- |\[\d{1,9}\]$", re.MULTILINE)


def plain(text: str) -> str:
    """Return a text that is shown as it stands, whatever it holds."""
    return _SIGN.sub(r"\\\g<0>", as_data(text))


def ruled(answer: str) -> str:
    """Return an answer by rule: its list and its citations, and all else as it stands."""
    parts: list[str] = []
    end = 0
    for mark in _RULED.finditer(answer):
        parts += [plain(answer[end : mark.start()]), mark[0]]
        end = mark.end()
    return "".join([*parts, plain(answer[end:])])
