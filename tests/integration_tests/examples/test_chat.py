"""The page of "chat.py" in a real browser: questions, files, approvals and errors."""

import pathlib
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.helpers.chat_page import Reader, chromium, expect, running
from tests.helpers.openai_answers import Reply, Scripted, ToolCall
from tests.helpers.openai_service import OpenAIService
from tests.helpers.rag_graph import PlayedModel, plan, reflection

pytestmark = pytest.mark.browser

TWO = "Who made Demon Dice? Who directed Maximum Overdrive?"
NOTES = b"# Zephyr\n\nThe zephyr protocol was designed by Ada Moreau in Lyon.\n"
HOSTILE = b"The zephyr protocol is drawn here: ![plan](https://example.com/plan.png) by Ada."

CITATION = re.compile(r"Show passage \[\d\]")

Open = Callable[..., Reader]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with nothing set."""
    with running(tmp_path_factory.mktemp("page")) as url:
        yield url


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Open]:
    """A function that opens the page as one more person."""
    readers: list[Reader] = []

    def opened(address: str = url, **options: Any) -> Reader:
        readers.append(Reader(browser, address, **options))
        return readers[-1]

    yield opened
    for reader in readers:
        reader.close()


def test_an_answer_s_citations_open_its_passages(open_page: Open) -> None:
    """The sub-questions are in their round with what they found; `[n]` opens its passage."""
    reader = open_page()
    reader.ask(TWO)
    reader.button("Round 1: 3 sub-questions").click()
    for asked, found in (
        ("Who made Demon Dice?", "Demon Dice;"),
        ("Who directed Maximum Overdrive?", "Maximum Overdrive;"),
    ):
        expect(reader.step(asked)).to_contain_text(found)

    cited = reader.page.get_by_role("listitem").filter(has_text="directed by Stephen King")
    cited.get_by_role("button", name=CITATION).click()
    expect(reader.passages).to_contain_text("The film stars Emilio Estevez")
    expect(reader.passages).not_to_contain_text("Demon Dice, originally published")


def test_a_follow_up_is_understood_with_the_turn_before(open_page: Open) -> None:
    """The second question names nothing; its sub-question has the name."""
    reader = open_page()
    reader.ask("What is Maximum Overdrive?")
    reader.ask("And who directed it?")
    reader.button("Round 1: 1 sub-question").last.click()
    asked = reader.page.get_by_role("button", name=re.compile("Overdrive.*who directed it"))
    expect(asked).to_be_visible()
    answer = reader.page.get_by_role("listitem").filter(has_text="Stephen King").last
    expect(answer).to_be_visible()


def test_a_dropped_file_is_indexed_and_asked_at_once(open_page: Open) -> None:
    """The file and the question go together; another session finds neither file nor passage."""
    reader, other = open_page(), open_page()
    reader.drop("notes.md", NOTES)
    reader.ask("Who designed the zephyr protocol?")
    expect(reader.page.get_by_text("1 passage indexed.")).to_be_visible()
    answer = reader.page.get_by_role("listitem").filter(has_text="designed by Ada Moreau")
    expect(answer).to_be_visible()
    expect(reader.passages).to_contain_text("notes.md")

    other.drop("own.md", b"The kite is a bird of prey.")
    other.ask("Who designed the zephyr protocol?")
    expect(other.page.get_by_text("1 passage indexed.")).to_be_visible()
    expect(other.page.get_by_role("log")).not_to_contain_text("Ada Moreau")
    expect(other.page.get_by_role("log")).not_to_contain_text("notes.md")


def test_the_collection_can_be_asked_again_after_a_file(open_page: Open) -> None:
    """The picker beside the field says what is searched."""
    reader = open_page()
    reader.drop("notes.md", NOTES)
    reader.button("Send").click()
    reader.settle()
    reader.button("Search in: Your files").click()
    reader.page.get_by_role("option", name="The collection").click()
    reader.ask("Who directed Maximum Overdrive?")
    expect(reader.page.get_by_role("listitem").filter(has_text="Stephen King")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.bin", b"\x89PNG\r\n\x1a\n\x00\x00", "It is of no kind that can be read."),
        ("large.txt", b"kites " * 200_000, "It is larger than 1000000 bytes."),
        ("empty.md", b" \n", "It is empty."),
    ],
)
def test_a_file_that_can_t_be_read_is_refused(
    open_page: Open, name: str, content: bytes, said: str
) -> None:
    """A sentence says why, where the file is."""
    reader = open_page()
    reader.drop(name, content)
    reader.button("Send").click()
    reader.settle()
    expect(reader.button(f"Index {name}")).to_be_visible()
    expect(reader.page.get_by_text(said)).to_be_visible()


@pytest.mark.parametrize(
    ("decision", "said", "left"),
    [
        ("Approve", "Deleted 1 document", 0),
        ("Reject", "nothing was deleted", 1),
    ],
)
def test_a_delete_waits_for_approval(open_page: Open, decision: str, said: str, left: int) -> None:
    """The tool's question has buttons; the file is gone only if it was approved."""
    reader = open_page()
    reader.drop("notes.md", NOTES)
    reader.button("Send").click()
    reader.settle()
    reader.button("Delete").click()
    reader.question.fill("notes.md")
    reader.question.press("Enter")
    expect(reader.page.get_by_text('Delete where source is "notes.md"')).to_be_visible()
    reader.button(decision).click()
    reader.settle()
    expect(reader.page.get_by_text(said).last).to_be_visible()
    reader.ask("Who designed the zephyr protocol?")
    cited = reader.page.get_by_role("listitem").filter(has_text="Ada Moreau")
    expect(cited).to_have_count(left)


def test_the_collection_is_read_only_by_default(open_page: Open) -> None:
    """Without MILVUS_TOOLS_ALLOW_WRITES nothing is asked, and nothing deleted."""
    reader = open_page()
    reader.button("Delete").click()
    reader.ask("p0030")
    expect(reader.page.get_by_text("MILVUS_TOOLS_ALLOW_WRITES is not true")).to_be_visible()


def test_the_page_asks_no_other_host(open_page: Open) -> None:
    """Neither the page, nor what a document holds, makes the browser turn elsewhere."""
    reader = open_page()
    reader.drop("hostile.md", HOSTILE)
    reader.ask("Where is the zephyr protocol drawn?")
    expect(reader.passages).to_contain_text("![plan](https://example.com/plan.png)")
    here = urllib.parse.urlsplit(reader.page.url).netloc
    hosts = {urllib.parse.urlsplit(address).netloc for address in reader.requested}
    assert hosts - {""} == {here}  # data: and blob: have none
    assert reader.page.locator("link[href^=http]").count() == 0


def test_the_page_can_be_used_by_keyboard(open_page: Open) -> None:
    """A question is typed where the focus is; Tab reaches a citation, Enter opens it."""
    reader = open_page()
    expect(reader.question).to_be_focused()
    reader.page.keyboard.type("Who directed Maximum Overdrive?")
    reader.page.keyboard.press("Enter")
    reader.settle()
    citation = reader.page.get_by_role("button", name=CITATION).first
    expect(citation).to_be_visible()
    tab_to(reader, citation)
    reader.page.keyboard.press("Enter")
    expect(reader.button("Close the passages")).to_be_focused()
    reader.page.keyboard.press("Enter")
    expect(reader.passages).to_have_count(0)
    expect(citation).to_be_focused()


def tab_to(reader: Reader, wanted: Any) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        reader.page.keyboard.press("Tab")
    pytest.fail("Tab does not reach it.")


def test_every_control_has_a_name(open_page: Open) -> None:
    """For screen readers; the answers are in a log, which they announce."""
    reader = open_page()
    reader.drop("notes.md", NOTES)
    reader.ask("Who designed the zephyr protocol?")
    expect(reader.page.get_by_role("log")).to_be_visible()
    expect(reader.passages).to_be_visible()
    lines = reader.page.locator("body").aria_snapshot().splitlines()
    controls = [line for line in lines if re.match(r"\s*- (button|textbox|link|combobox)", line)]
    assert len(controls) > 8
    assert [line for line in controls if '"' not in line] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_system_s_colours(open_page: Open, scheme: str) -> None:
    """Text and ground differ enough to be read, in both."""
    reader = open_page(color_scheme=scheme)
    expect(reader.page.locator(f"html.{scheme}")).to_be_visible()
    colours = reader.page.evaluate(
        """() => [getComputedStyle(document.querySelector('#chat-input')).color,
                  getComputedStyle(document.body).backgroundColor]"""
    )
    text, ground = (luminance(colour) for colour in colours)
    assert (text < ground) == (scheme == "light")
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) > 7  # WCAG's contrast, AAA


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)`, as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(one * weight for one, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.fixture(scope="module")
def service() -> Iterator[OpenAIService]:
    """A provider of a model and of embeddings."""
    with OpenAIService(dim=64) as service:
        yield service


@pytest.fixture(scope="module")
def model_url(service: OpenAIService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page with a collection, embeddings and a model of one's own."""
    folder: pathlib.Path = tmp_path_factory.mktemp("model")
    with running(
        folder,
        OPENAI_BASE_URL=service.base_url,
        OPENAI_API_KEY="sk-any",
        MILVUS_TOOLS_URI=str(folder / "own.db"),
        MILVUS_TOOLS_EMBEDDINGS="openai:scripted",
        MILVUS_TOOLS_MODEL="openai:scripted",
    ) as url:
        yield url


def play(service: OpenAIService, played: Callable[[Mapping[str, Any]], Scripted]) -> None:
    """Let a model answer, and nothing fail."""
    service.reply, service.forbidden = played, None


def test_a_failed_embedding_shows_in_its_sub_question(
    open_page: Open, model_url: str, service: OpenAIService
) -> None:
    """The other sub-question's answer stands, with what could not be searched."""
    answer = "Kites hunt by day [1]."
    play(service, PlayedModel([plan("kites?", "owls?")], [reflection()], [answer]))
    reader = open_page(model_url)
    reader.drop("birds.md", b"Kites hunt by day.")
    reader.button("Send").click()
    reader.settle()
    service.forbidden = "owls?"
    reader.ask("When do kites and owls hunt?")
    said = reader.page.get_by_role("article").filter(has_text="Could not be searched: owls?")
    expect(said).to_be_visible()
    expect(reader.step("owls?")).to_contain_text("embedding")
    expect(reader.step("kites?")).to_contain_text("birds.md")
    expect(reader.page.get_by_role("log")).not_to_contain_text("127.0.0.1")
    expect(reader.page.get_by_role("log")).not_to_contain_text("sk-any")


def test_a_search_that_fails_as_a_whole_is_no_empty_answer(
    open_page: Open, model_url: str, service: OpenAIService
) -> None:
    """The step and the answer's place both say that nothing could be searched."""
    question = "When do owls hunt?"
    play(service, PlayedModel([plan(question)]))
    reader = open_page(model_url)
    reader.drop("birds.md", b"Kites hunt by day.")
    reader.button("Send").click()
    reader.settle()
    service.forbidden = question
    reader.ask(question)
    expect(reader.page.get_by_text("Nothing could be searched.")).to_be_visible()
    expect(reader.step(question)).to_contain_text("embedding")


def test_a_model_s_answer_cites_and_follows(
    open_page: Open, model_url: str, service: OpenAIService
) -> None:
    """Its tokens arrive as they are written; its `[1]` opens the passage."""
    done = reflection(answerable=True)
    play(service, PlayedModel([plan("kites?")], [done], ["By **day** [1]."]))
    reader = open_page(model_url)
    reader.drop("birds.md", b"Kites hunt by day.")
    reader.ask("When do kites hunt?")
    expect(reader.page.get_by_text("By day [1]")).to_be_visible()
    reader.button("Show passage [1]").click()
    expect(reader.passages).to_contain_text("Kites hunt by day.")


def test_a_model_deletes_what_is_asked_for_when_it_is_approved(
    open_page: Open, model_url: str, service: OpenAIService
) -> None:
    """The agent's call waits; the answer is the model's own."""

    def played(request: Mapping[str, Any]) -> Scripted:
        if request["messages"][-1]["role"] == "tool":
            return "It is gone."
        found = [{"field": "source", "operator": "eq", "value": "birds.md"}]
        return Reply(tool_calls=[ToolCall("milvus_delete", {"filters": found})])

    play(service, played)
    reader = open_page(model_url)
    reader.drop("birds.md", b"Kites hunt by day.")
    reader.button("Send").click()
    reader.settle()
    reader.button("Delete").click()
    reader.question.fill("Remove my file on birds, please.")
    reader.question.press("Enter")
    reader.button("Approve").click()
    reader.settle()
    expect(reader.page.get_by_text("It is gone.")).to_be_visible()
    expect(reader.page.get_by_text(re.compile("^Deleted 1 document"))).to_be_visible()


def test_an_unforeseen_failure_gives_nothing_away(
    open_page: Open, model_url: str, service: OpenAIService
) -> None:
    """The provider's own error stays in the terminal."""
    play(service, PlayedModel([plan("kites?")], [reflection(answerable=True)]))
    reader = open_page(model_url)
    reader.drop("birds.md", b"Kites hunt by day.")
    reader.button("Send").click()
    reader.settle()
    service.fail_next(1, 400, path="/v1/chat/completions")
    reader.ask("When do kites hunt?")
    expect(reader.page.get_by_text(re.compile(r"This failed \(\w+Error\)"))).to_be_visible()
    expect(reader.page.get_by_role("log")).not_to_contain_text("127.0.0.1")
