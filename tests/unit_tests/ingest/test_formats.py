"""Formats: the text, the title and the pages of each, and refusals of what is hostile."""

import io
import pathlib
import zipfile

import pytest

from milvus_tools.ingest import formats
from milvus_tools.ingest.formats import Content, UnreadableError, decoded, reader_of
from tests.helpers.sample_files import SAMPLES, WORDS, pdf, xlsx, zipped


def read(name: str, content: bytes) -> Content:
    """Read a file by its name."""
    reader = reader_of(name, content)
    assert reader is not None
    return reader(content)


@pytest.mark.parametrize("name", SAMPLES)
def test_each_format_gives_its_text(name: str) -> None:
    """The word that only this file has is in its text."""
    assert WORDS[name] in "\n".join(part.text for part in read(name, SAMPLES[name]).parts)


@pytest.mark.parametrize(
    ("name", "title"),
    [("page.html", "Owls"), ("book.epub", "Field guide"), ("note.eml", "Hoopoe seen")],
)
def test_a_title_is_read(name: str, title: str) -> None:
    """A file that names itself has that title."""
    assert read(name, SAMPLES[name]).title == title


@pytest.mark.parametrize(("name", "page"), [("paper.pdf", 2), ("show.pptx", 2), ("book.epub", 2)])
def test_a_page_is_known(name: str, page: int) -> None:
    """A part has the number of its page, slide or chapter."""
    found = [part.page for part in read(name, SAMPLES[name]).parts if WORDS[name] in part.text]
    assert found == [page]


def test_a_row_of_a_table_names_its_columns() -> None:
    """A row can be understood without the first row; empty cells are left out."""
    table = read("t.xlsx", xlsx("Sheet", ["bird", "count"], ["wren", None], ["swift", 2]))
    assert table.parts[0].text == "# Sheet\n\n- bird: wren\n- bird: swift; count: 2"


def test_the_furniture_of_a_page_is_left_out() -> None:
    """Navigation, scripts and addresses of links are no text of an HTML page."""
    html = b"<body><nav>Menu</nav><script>evil()</script><p>See <a href='http://x'>this</a>.</p>"
    assert read("p.html", html).parts[0].text.strip() == "See this."


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        ("café".encode("utf-16"), "café"),
    ],
)
def test_encodings_are_recognized(content: bytes, text: str) -> None:
    """UTF-8, UTF-16 with a mark and Windows-1252 are read."""
    assert decoded(content) == text


@pytest.mark.parametrize(
    ("name", "beginning"), [("x.png", b"\x89PNG\r\n\x1a\n\0\0"), ("x", b"\x7fELF\xf0\0")]
)
def test_binary_files_have_no_reader(name: str, beginning: bytes) -> None:
    """A file of an unknown suffix is read only if it is text."""
    assert reader_of(name, beginning) is None
    assert reader_of("LICENSE", b"Permission is granted") is not None


@pytest.mark.parametrize(
    "name", ["a.pdf", "a.docx", "a.pptx", "a.xlsx", "a.epub", "a.ipynb", "a.json", "a.eml"]
)
def test_what_is_damaged_is_refused_in_a_sentence(name: str) -> None:
    """A file that is not of its suffix's format is unreadable, and the reason is a sentence."""
    with pytest.raises(UnreadableError, match=r"^It .+\.$"):
        read(name, b"\nthis is not it")


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that unpacks to too much is unreadable."""
    monkeypatch.setattr(formats, "MAX_UNPACKED", 1_000)
    with pytest.raises(UnreadableError, match="unpacks to more"):
        read("a.docx", zipped({"word/document.xml": "x" * 2_000}))


def test_an_archive_of_too_many_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of an archive's parts is bounded, too."""
    monkeypatch.setattr(formats, "MAX_PARTS", 2)
    with pytest.raises(UnreadableError, match="unpacks to more"):
        read("a.epub", zipped({"a": "", "b": "", "c": ""}))


def test_an_archive_that_lies_about_its_size_gives_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part is read no further than the size that the directory names."""
    content = bytearray(zipped({"META-INF/container.xml": "x" * 5_000}))
    # The size in the central directory, which comes last.
    place = content.rindex((5_000).to_bytes(4, "little"))
    content[place : place + 4] = (10).to_bytes(4, "little")
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        assert archive.infolist()[0].file_size == 10
    with pytest.raises((UnreadableError, zipfile.BadZipFile)):
        read("a.epub", bytes(content))


def test_an_entity_names_no_file(tmp_path: pathlib.Path) -> None:
    """A document can't have a file of this machine read into its text."""
    secret = tmp_path / "secret.txt"
    secret.write_text("password")
    declared = f'<!DOCTYPE x [<!ENTITY secret SYSTEM "{secret.as_uri()}">]>'
    with zipfile.ZipFile(io.BytesIO(SAMPLES["letter.docx"])) as archive:
        held = {one: archive.read(one).decode() for one in archive.namelist()}
    body = held["word/document.xml"].replace("dunnock", "dunnock &secret;")
    content = read("letter.docx", zipped({**held, "word/document.xml": declared + body}))
    assert "dunnock" in content.parts[0].text
    assert "password" not in content.parts[0].text


def test_a_pdf_without_text_is_told() -> None:
    """A PDF of images alone is reported, and not taken for empty."""
    with pytest.raises(UnreadableError, match="no text"):
        read("scan.pdf", pdf(""))
