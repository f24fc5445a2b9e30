"""The parts of the page that need no browser: its text, its files, its deletes, its index."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from chatting.deleting import arguments
from chatting.files import SPLITTING, passages
from chatting.markdown import plain, ruled
from chatting.page import reworded, without_elsewhere

from milvus_tools.ingest.formats import UnreadableError
from tests.helpers.sample_files import SAMPLES

ROOT = pathlib.Path(__file__).parents[3]


def test_the_page_starts_for_no_deployment_with_users() -> None:
    """It would show the documents of all to each."""
    users = json.dumps({"ann": {"token": "t" * 40, "tenant": "acme"}})
    run = subprocess.run(
        [sys.executable, "examples/chat.py", "--port", "1"],
        env={**os.environ, "MILVUS_TOOLS_USERS": users},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("MILVUS_TOOLS_USERS names users")
    assert "t" * 40 not in run.stderr


def test_text_is_shown_as_it_stands() -> None:
    """No link, image, heading or tag comes of it, and hidden characters are written out."""
    shown = plain("![x](https://a.example/) <b> # *1* \u200b")
    assert shown == (r"\!\[x\]\(https\://a\.example/\) \<b\> \# \*1\* \\u200b")


def test_an_answer_by_rule_keeps_its_list_and_citations() -> None:
    """A bullet begins a line and a citation ends it; all else is what a document said."""
    answer = "Quoted:\n- See - [here](https://a.example) [2]\n- *Kites* [10]"
    assert ruled(answer) == (
        "Quoted\\:\n- See \\- \\[here\\]\\(https\\://a\\.example\\) [2]\n- \\*Kites\\* [10]"
    )


async def test_a_file_is_cut_into_passages_that_name_it(tmp_path: pathlib.Path) -> None:
    """Each is at most as long as a passage may be. Chainlit's path has another suffix."""
    path = tmp_path / "held.bin"
    path.write_bytes(b"\xef\xbb\xbf# Kites\n\n" + b"Kites hunt by day. " * 100)
    documents = await passages("notes.md", path)
    assert len(documents) > 1
    assert documents[0].page_content.startswith("# Kites")
    assert [one.metadata for one in documents] == [
        {"source": "notes.md", "part": n} for n in range(len(documents))
    ]
    assert max(len(one.page_content) for one in documents) <= 1_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * (SPLITTING.max_bytes + 1), "larger than 1000000 bytes"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "of no kind that can be read"),
        (b"a\x00b", "of no kind that can be read"),
        (b" \n\t", "empty"),
        ((b"x" * 600 + b"\n\n") * 1_600, "more than 1000 passages"),
    ],
)
async def test_a_file_that_can_t_be_read_says_why(
    tmp_path: pathlib.Path, content: bytes, said: str
) -> None:
    """The sentence says what is right."""
    (tmp_path / "held").write_bytes(content)
    with pytest.raises(UnreadableError, match=said):
        await passages("file", tmp_path / "held")


async def test_a_dropped_pdf_is_read(tmp_path: pathlib.Path) -> None:
    """The page reads what `milvus-tools ingest` reads."""
    (tmp_path / "held").write_bytes(SAMPLES["paper.pdf"])
    first, second = await passages("paper.pdf", tmp_path / "held")
    assert (first.metadata["part"], second.page_content) == (0, "The cormorant dries its wings")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("p0001, p0002", {"ids": ["p0001", "p0002"]}),
        (
            "my notes.md",
            {"filters": [{"field": "source", "operator": "eq", "value": "my notes.md"}]},
        ),
        (
            "title: Demon Dice",
            {"filters": [{"field": "title", "operator": "eq", "value": "Demon Dice"}]},
        ),
        ("other.md", {"ids": ["other.md"]}),
        ("", {"ids": []}),
    ],
)
def test_a_delete_by_rule_is_a_call_of_the_tool(text: str, made: dict[str, object]) -> None:
    """A file's name, a field and its value, or ids."""
    assert arguments(text, ["my notes.md"]) == made


def test_the_index_page_links_to_no_other_host() -> None:
    """Links to the page's own host stay."""
    own = '<link rel="stylesheet" crossorigin href="/assets/index.css">'
    other = '<link\n  rel="preconnect"\n  href="https://fonts.example"\n  crossorigin\n/>'
    assert without_elsewhere(f"<head>{own}{other}</head>") == f"<head>{own}</head>"


def test_the_words_of_the_steps_are_ours() -> None:
    """The other words are Chainlit's."""
    words = '{"chat": {"messages": {"status": {}}, "input": {"send": "Send"}, "watermark": ""}}'
    assert '"used": ""' in reworded(words)
    assert '"send": "Send"' in reworded(words)
