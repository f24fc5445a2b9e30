"""Readers of file formats: from bytes to Markdown or plain text.

Each reader is a pure function. Its packages are imported when it is called, because a run seldom
needs all of them. The bytes are hostile: `milvus_tools.ingest.workers` runs the readers in
processes that have limits of memory and time.
"""

import csv
import dataclasses
import email
import email.policy
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

MAX_UNPACKED: Final = 200_000_000  # bytes of an archive's parts together
MAX_PARTS: Final = 10_000
MAX_CELLS: Final = 1_000_000
_SNIFFED: Final = 8_192
# Parts of a page that are the same on each page of a site.
_FURNITURE: Final = ("script", "style", "noscript", "template", "nav", "svg", "form", "iframe")
_HYPHEN: Final = re.compile("[\x02\ufffe]\n?")
_MAIN: Final = "main, [role=main], article"


class UnreadableError(Exception):
    """A file can't be read; the message says why, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a file's text.

    Attributes:
        text: The text.
        page: The page, slide or chapter, from 1, or `None` if the format has none.
    """

    text: str
    page: int | None = None


@dataclasses.dataclass(frozen=True)
class Content:
    """The text of a file.

    Attributes:
        parts: The parts, in order.
        syntax: `markdown`, `rst`, `text`, or the name of a programming language.
        title: The title that the file gives itself, or `""`.
    """

    parts: Sequence[Part]
    syntax: str = "text"
    title: str = ""


Reader = Callable[[bytes], Content]


def reader_of(name: str, beginning: bytes) -> Reader | None:
    """Return the reader for a file, or `None` if the file is of no kind that can be read.

    Args:
        name: The file's name.
        beginning: The first bytes of its content. They decide if the suffix is unknown.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _READERS:
        return _READERS[suffix]
    syntax = _SYNTAXES.get(suffix)
    if syntax is None and not _is_text(beginning[:_SNIFFED]):
        return None
    return lambda content: Content([Part(decoded(content))], syntax or "text")


def _is_text(beginning: bytes) -> bool:
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        # A character may be cut off at the end.
        beginning[: max(len(beginning) - 4, 1)].decode()
    except UnicodeDecodeError as error:
        return error.start >= len(beginning) - 8 and b"\0" not in beginning
    return b"\0" not in beginning


def decoded(content: bytes) -> str:
    """Return the text of a text file: UTF-8, UTF-16 with a mark, else Windows-1252."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
    if "\0" in text:
        raise UnreadableError("It is not a text file, whatever its name says.")
    return text


def _html(content: bytes) -> Content:
    markdown, title = _markdown_of(content)
    return Content([Part(markdown)], "markdown", title)


def _markdown_of(html: bytes | str) -> tuple[str, str]:
    """Return the main part of an HTML page as Markdown, and the page's title."""
    from bs4 import BeautifulSoup  # noqa: PLC0415 - see above
    from markdownify import MarkdownConverter  # noqa: PLC0415

    page = BeautifulSoup(html, "lxml")
    title = page.title.get_text(" ", strip=True) if page.title else ""
    for tag in page(_FURNITURE):
        tag.decompose()
    main = page.select_one(_MAIN) or page.body or page
    # A link's address is noise for a search, and an image has no text.
    converter = MarkdownConverter(
        heading_style="ATX", strip=["a", "img"], escape_underscores=False, escape_misc=False
    )
    return str(converter.convert_soup(main)), title


def _pdf(content: bytes) -> Content:
    import pypdfium2  # noqa: PLC0415

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        reason = "It is locked by a password." if locked else "It is not a valid PDF."
        raise UnreadableError(reason) from error
    parts = [
        Part(_unbroken(page.get_textpage().get_text_bounded()), number)
        for number, page in enumerate(document, 1)
    ]
    if parts and not any(part.text.strip() for part in parts):
        raise UnreadableError("It holds no text, only images perhaps: recognize its text first.")
    return Content(parts, "text", document.get_metadata_dict().get("Title", ""))


def _unbroken(text: str) -> str:
    # PDFium writes one of these for the hyphen at the end of a line, with or without the break.
    return _HYPHEN.sub("", text.replace("\r\n", "\n"))


def _word(content: bytes) -> Content:
    import mammoth  # noqa: PLC0415

    _require_small(content)
    # Without an image's bytes: none is read, and none is fetched.
    images = mammoth.images.img_element(lambda _: {})
    html = mammoth.convert_to_html(io.BytesIO(content), convert_image=images).value
    return Content([Part(_markdown_of(html)[0])], "markdown")


def _powerpoint(content: bytes) -> Content:
    import pptx  # noqa: PLC0415

    _require_small(content)
    show = pptx.Presentation(io.BytesIO(content))
    parts = [Part(_slide(slide), number) for number, slide in enumerate(show.slides, 1)]
    return Content(parts, "markdown", show.core_properties.title or "")


def _slide(slide: Any) -> str:
    title = slide.shapes.title
    named = title is not None and title.has_text_frame and title.text_frame.text.strip()
    lines = [f"# {_one_line(title.text_frame.text)}"] if named else []
    for shape in _shapes(slide.shapes):
        if named and shape.shape_id == title.shape_id:
            continue
        if shape.has_text_frame:
            lines.append(shape.text_frame.text)
        elif getattr(shape, "has_table", False):
            lines.append(_table([cell.text for cell in row.cells] for row in shape.table.rows))
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        lines.append(slide.notes_slide.notes_text_frame.text)
    return "\n\n".join(line for line in lines if line.strip())


def _shapes(shapes: Iterable[Any]) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        else:
            yield shape


def _excel(content: bytes) -> Content:
    import openpyxl  # noqa: PLC0415

    _require_small(content)
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    room = iter(range(MAX_CELLS))
    parts = [
        Part(f"# {_one_line(sheet.title)}\n\n{_table(_cells(sheet, room))}", number)
        for number, sheet in enumerate(book.worksheets, 1)
    ]
    return Content(parts, "markdown", book.properties.title or "")


def _cells(sheet: Any, room: Iterator[int]) -> Iterator[list[str]]:
    for row in sheet.iter_rows(values_only=True):
        for _ in row:
            if next(room, None) is None:
                raise UnreadableError(f"It has more than {MAX_CELLS} cells.")
        yield ["" if value is None else str(value) for value in row]


def _table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as Markdown, with the names of the columns in each row.

    A row can then be found and read by itself, in whichever passage it is.
    """
    filled = [list(map(_one_line, row)) for row in rows if any(cell.strip() for cell in row)]
    if len(filled) <= 1:
        return "\n".join(" | ".join(filter(None, row)) for row in filled)
    names, *values = filled
    return "\n".join(_row(names, row) for row in values)


def _row(names: Sequence[str], values: Sequence[str]) -> str:
    named = ((names[n] if n < len(names) else "", value) for n, value in enumerate(values))
    return "- " + "; ".join(
        f"{name}: {value}" if name else value for name, value in named if value
    )


def _csv(content: bytes) -> Content:
    text = decoded(content)
    try:
        dialect: Any = csv.Sniffer().sniff(text[:_SNIFFED], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        return Content([Part(_table(csv.reader(io.StringIO(text, newline=""), dialect)))])
    except csv.Error as error:
        raise UnreadableError("It is not valid CSV.") from error


def _json(content: bytes) -> Content:
    return Content([Part(_pretty(_loaded(decoded(content))))])


def _jsonl(content: bytes) -> Content:
    lines = [line for line in decoded(content).splitlines() if line.strip()]
    return Content([Part("\n\n".join(_pretty(_loaded(line)) for line in lines))])


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("It is not valid JSON.") from error


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _notebook(content: bytes) -> Content:
    match _loaded(decoded(content)):
        case {"cells": list(cells)}:
            texts = [_cell(cell) for cell in cells]
            return Content([Part("\n\n".join(filter(None, texts)))], "markdown")
    raise UnreadableError("It is not a notebook of Jupyter, version 4.")


def _cell(cell: Any) -> str:
    match cell:
        case {"cell_type": "code", "source": source}:
            return f"```\n{_joined(source)}\n```"
        case {"cell_type": "markdown" | "raw", "source": source}:
            return _joined(source)
    return ""


def _joined(source: Any) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _mail(content: bytes) -> Content:
    message = email.message_from_bytes(content, policy=email.policy.default)
    if not message.keys():
        raise UnreadableError("It is not an e-mail.")
    subject = str(message.get("subject", ""))
    heads = [
        f"{name}: {message[name]}" for name in ("From", "To", "Date", "Subject") if message[name]
    ]
    body = message.get_body(("plain", "html"))
    text = "\n".join(heads) + "\n\n" + ("" if body is None else _body(body))
    return Content([Part(text)], "text", subject)


def _body(body: Any) -> str:
    text = body.get_content()
    return _markdown_of(text)[0] if body.get_content_subtype() == "html" else str(text)


def _epub(content: bytes) -> Content:
    with _archive(content) as book:
        package = _package(book)
        title, chapters = package
        parts = [
            Part(_markdown_of(book.read(name))[0], number)
            for number, name in enumerate(chapters, 1)
        ]
    return Content(parts, "markdown", title)


def _package(book: zipfile.ZipFile) -> tuple[str, list[str]]:
    """Return the title of an EPUB, and the names of its chapters in their order."""
    from bs4 import BeautifulSoup  # noqa: PLC0415

    try:
        container = BeautifulSoup(book.read("META-INF/container.xml"), "xml")
        path = str(container.find("rootfile")["full-path"])  # type: ignore[index]
        package = BeautifulSoup(book.read(path), "xml")
        items = {item["id"]: str(item["href"]) for item in package.select("manifest > item[href]")}
        order = [items[one["idref"]] for one in package.select("spine > itemref")]
    except (KeyError, TypeError) as error:
        raise UnreadableError("It is not a valid EPUB.") from error
    title = package.find("dc:title") or package.find("title")
    names = set(book.namelist())
    chapters = [str(PurePosixPath(path).parent / href) for href in order]
    return title.get_text(strip=True) if title else "", [one for one in chapters if one in names]


def _archive(content: bytes) -> zipfile.ZipFile:
    """Open an archive whose parts are small.

    `zipfile` reads no more of a part than its directory says, so a bomb can't hide its size.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise UnreadableError("It is damaged, or of another format than its name says.") from error
    parts = archive.infolist()
    if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise UnreadableError(
            f"It unpacks to more than {MAX_PARTS} parts or {MAX_UNPACKED // 1_000_000} MB."
        )
    return archive


def _require_small(content: bytes) -> None:
    _archive(content).close()


def _one_line(text: str) -> str:
    return " ".join(text.split())


_READERS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), _html),
    ".pdf": _pdf,
    ".docx": _word,
    ".pptx": _powerpoint,
    **dict.fromkeys((".xlsx", ".xlsm"), _excel),
    ".eml": _mail,
    ".epub": _epub,
    ".ipynb": _notebook,
    ".json": _json,
    **dict.fromkeys((".jsonl", ".ndjson"), _jsonl),
    **dict.fromkeys((".csv", ".tsv"), _csv),
}
# The names that langchain-text-splitters has for languages.
_SYNTAXES: Final[Mapping[str, str]] = {
    **dict.fromkeys((".md", ".markdown", ".mdx"), "markdown"),
    **dict.fromkeys((".rst", ".rest"), "rst"),
    **dict.fromkeys((".txt", ".text"), "text"),
    **dict.fromkeys((".py", ".pyi"), "python"),
    **dict.fromkeys((".js", ".mjs", ".jsx"), "js"),
    **dict.fromkeys((".ts", ".tsx"), "ts"),
    **dict.fromkeys((".c", ".h"), "c"),
    **dict.fromkeys((".cc", ".cpp", ".hpp"), "cpp"),
    ".go": "go",
    ".java": "java",
    ".kt": "kotlin",
    ".php": "php",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".swift": "swift",
    ".tex": "latex",
    ".cs": "csharp",
}
