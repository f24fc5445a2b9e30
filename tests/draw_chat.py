"""Draws `examples/results/chat.png`, the picture of the page: `python tests/draw_chat.py`.

Needs what the tests with the mark `browser` need.
"""

import pathlib
import tempfile

from helpers.chat_page import Reader, chromium, expect, running

PICTURE = pathlib.Path(__file__).parents[1] / "examples" / "results" / "chat.png"
QUESTION = "Who made Demon Dice? Who directed Maximum Overdrive?"


def main() -> None:
    """Ask a question, open its first round, and take the picture."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(pathlib.Path(folder)) as url,
        chromium() as browser,
    ):
        size = {"width": 1200, "height": 1020}
        reader = Reader(browser, url, viewport=size, color_scheme="light")
        reader.ask(QUESTION)
        expect(reader.passages).to_be_visible()
        reader.button("Round 1: 3 sub-questions").click()
        reader.page.mouse.move(0, 0)
        reader.page.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
        reader.page.screenshot(path=PICTURE)
        reader.close()


if __name__ == "__main__":
    main()
