"""The display of a run in a terminal."""

import io

from rich.console import Console

from graphs.rag.display import Display
from graphs.rag.state import Citation, OutputState


def shown(display: Display) -> str:
    """Return what is printed."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(display)
    return console.export_text()


def output(answer: str) -> OutputState:
    """Return a run's output."""
    citation = Citation(n=1, id="p1", source="Jaws")
    return OutputState(
        messages=[],
        answer=answer,
        answered_by="rule",
        citations=[citation],
        documents=[],
        standalone_question="Why?",
        subquestions=[],
        notes=[],
    )


def test_sub_questions_show_what_each_found() -> None:
    """Those that are searched for, were found, failed or wait."""
    display = Display("Why?")
    asked = [{"number": n, "round": 1, "text": f"Question {n}?"} for n in (1, 2, 3)]
    later = {"number": 4, "round": 2, "text": "Question 4?"}
    display.tell({"event": "planned", "subquestions": asked, "waiting": [later]})
    display.tell({"event": "found", **asked[0], "found": [{"id": "1", "source": "Jaws"}]})
    display.tell({"event": "unsearched", **asked[1], "found": [], "error": "no answer"})
    lines = shown(display)
    assert "Question 1? → Jaws" in lines
    assert "Question 2? → no answer" in lines
    assert "Question 3? → searching" in lines
    assert "Question 4? → waits for an answer" in lines


def test_the_answer_grows_and_ends_with_its_sources() -> None:
    """Tokens are shown as they come."""
    display = Display("Why?")
    display.write("Bec")
    display.write("ause")
    assert "Because" in shown(display)
    display.end(output("Because [1]."))
    assert "[1] Jaws (p1)" in shown(display)


def test_no_text_is_markup_or_a_terminal_s_command() -> None:
    """A document can't colour, link or clear anything."""
    display = Display("[bold]Why?[/bold]")
    display.end(output("[link=http://evil]\x1b[2J\x1b]0;title\x07 [red]"))
    text = shown(display)
    assert "[bold]Why?[/bold]" in text
    assert "[link=http://evil]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
