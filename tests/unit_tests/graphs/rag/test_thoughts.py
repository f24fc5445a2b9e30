"""What a model says, without what it thinks."""

import pytest
from langchain_core.messages import AIMessage

from graphs.rag.thoughts import said, without_thoughts


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<think>Is it [2]?</think>Owls hunt at night [1].", "Owls hunt at night [1]."),
        ("<THINKING>\nHm.\n</THINKING>\nOwls.", "\nOwls."),
        ("[THINK]Hm.[/THINK]Owls.", "Owls."),
        ("A. <thought>[3]</thought>B. <reasoning>[4]</reasoning>C.", "A. B. C."),
        ("<think>a<think>b</think>c</think>Owls.", "Owls."),
        ("Owls hunt [1]. <think>And does it end", "Owls hunt [1]. "),
        ("<think>It does not end [1]", ""),
        ("A prompt began the thought [2].</think>Owls.", "Owls."),
        ("<think></think>", ""),
        ("He [thought] of <thinkers> and <b>.", "He [thought] of <thinkers> and <b>."),
        ("", ""),
    ],
)
def test_r44_thoughts_are_left_out(text: str, kept: str) -> None:
    """Whatever tags they stand in, without an end or a beginning too; other text stays."""
    assert without_thoughts(text) == kept


def test_r44_reasoning_blocks_are_not_said() -> None:
    """A provider's own blocks are no text."""
    reasoning = {"type": "reasoning", "reasoning": "Is it [2]?"}
    message = AIMessage(content=[reasoning, {"type": "text", "text": "Owls [1]."}])
    assert said(message) == "Owls [1]."
