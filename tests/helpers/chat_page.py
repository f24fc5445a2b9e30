"""The page of `examples/chat.py`, really started, and a real Chromium that reads it."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from milvus_tools.environment import PREFIX

ROOT = pathlib.Path(__file__).parents[2]
START_SECONDS = 240
STOP_SECONDS = 30
ANSWER_MS = 90_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def running(folder: pathlib.Path, **environment: str) -> Iterator[str]:
    """Serve the page meanwhile, from an empty folder; yield its address.

    Args:
        folder: The folder.
        **environment: Variables beside the tests' own.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    outside = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "chat.py"), "--port", str(port)],
            cwd=folder,
            env={**outside, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, url, log)
            yield url
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def _wait(process: subprocess.Popen[bytes], url: str, log: pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"The page did not start:\n{log.read_text()[-5_000:]}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start the system's Chromium, of which Playwright brings none here."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert path, "Install Chromium."
    # Chromium does not sandbox root, as whom CI runs.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def expect(locator: Any) -> Any:
    """Return Playwright's assertions, which wait for what they say."""
    from playwright.sync_api import expect

    expect.set_options(timeout=ANSWER_MS)
    return expect(locator)


class Reader:
    """A person at the page: a browser session of their own.

    Args:
        browser: The browser.
        url: The page's address.
        **options: Of the browser's context, such as `color_scheme`.
    """

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(ANSWER_MS)
        self.page = self.context.new_page()
        self.requested: set[str] = set()
        self.page.on("request", lambda request: self.requested.add(request.url))
        self.page.goto(url)
        self.question.wait_for()
        self.button("Delete").wait_for()  # the chat has begun

    @property
    def question(self) -> Any:
        """The field for the question."""
        return self.page.get_by_role("textbox", name="Your question")

    @property
    def passages(self) -> Any:
        """The panel beside the answer."""
        return self.page.get_by_role("complementary", name="Passages")

    def button(self, name: str) -> Any:
        """Return a button by its name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def step(self, name: str) -> Any:
        """Return a step by its name, with what is shown in it."""
        button = self.page.get_by_role("button", name=name, exact=True)
        return self.page.locator("[data-step-type]").filter(has=button).last

    def ask(self, text: str) -> None:
        """Ask, and wait until the page takes the next question."""
        self.question.fill(text)
        self.button("Send").click()
        self.settle()

    def settle(self) -> None:
        """Wait until a run has ended."""
        self.button("Stop").wait_for(state="detached")
        self.button("Send").wait_for()

    def drop(self, name: str, content: bytes) -> None:
        """Drop a file on the page, and wait until it is uploaded."""
        transfer = self.page.evaluate_handle(
            """([name, bytes]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], name));
                return transfer;
            }""",
            [name, list(content)],
        )
        target = self.page.locator("#root [role=presentation]").first
        for event in ("dragenter", "dragover", "drop"):
            target.dispatch_event(event, {"dataTransfer": transfer})
        self.page.get_by_text(name).wait_for()
        expect(self.button("Send")).to_be_enabled()

    def close(self) -> None:
        """Leave the page."""
        self.context.close()
