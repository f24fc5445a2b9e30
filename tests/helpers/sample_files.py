"""Small files of each format that the command line reads, each with a sentence to find."""

import io
import json
import zipfile
from email.message import EmailMessage

import openpyxl
import pptx

_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"


def zipped(parts: dict[str, str]) -> bytes:
    """Return an archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return held.getvalue()


def pdf(*pages: str) -> bytes:
    """Return a PDF with a line on each page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET"
        fonts = "/Resources << /Font << /F1 3 0 R >> >>"
        box = "/MediaBox [0 0 400 200]"
        objects += [
            f"<< /Type /Page /Parent 2 0 R {box} /Contents {5 + 2 * number} 0 R {fonts} >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    text, offsets = "%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(text))
        text += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    text += f"xref\n0 {count}\n0000000000 65535 f \n{table}"
    start = text.index("xref")
    return (text + f"trailer << /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF").encode()


def docx(heading: str, text: str) -> bytes:
    """Return a Word document with a heading and a paragraph."""
    style = '<w:pPr><w:pStyle w:val="Heading1"/></w:pPr>'
    body = (
        f"<w:p>{style}<w:r><w:t>{heading}</w:t></w:r></w:p><w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
    )
    target = f'<Relationship Id="r" Type="{_OFFICE}" Target="word/document.xml"/>'
    kind = f'<Override PartName="/word/document.xml" ContentType="{_MAIN}"/>'
    rels = '<Default Extension="rels" ContentType="application/xml"/>'
    styles = "word/styles.xml"
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{rels}{kind}</Types>',
            "_rels/.rels": f'<Relationships xmlns="{_LINKS}">{target}</Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body>'
            "</w:document>",
            styles: f'<w:styles xmlns:w="{_WORD}"><w:style w:type="paragraph" '
            'w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>',
        }
    )


def xlsx(sheet: str, *rows: list[object]) -> bytes:
    """Return a workbook."""
    book, held = openpyxl.Workbook(), io.BytesIO()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    book.save(held)
    return held.getvalue()


def slides(*titles_and_texts: tuple[str, str]) -> bytes:
    """Return a PowerPoint show."""
    show, held = pptx.Presentation(), io.BytesIO()
    for title, text in titles_and_texts:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    show.save(held)
    return held.getvalue()


def mail(subject: str, text: str) -> bytes:
    """Return an e-mail."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", subject
    message.set_content(text)
    return message.as_bytes()


def epub(title: str, *chapters: str) -> bytes:
    """Return a book."""
    numbers = range(len(chapters))
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml"/>' for n in numbers)
    order = "".join(f'<itemref idref="c{n}"/>' for n in numbers)
    return zipped(
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="in/book.opf"/>'
            "</rootfiles></container>",
            "in/book.opf": '<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
            f"<dc:title>{title}</dc:title></metadata><manifest>{items}</manifest>"
            f"<spine>{order}</spine></package>",
            **{f"in/c{n}.xhtml": f"<html><body>{chapters[n]}</body></html>" for n in numbers},
        }
    )


def notebook(markdown: str, code: str) -> bytes:
    """Return a Jupyter notebook."""
    cells = [
        {"cell_type": "markdown", "source": [markdown]},
        {"cell_type": "code", "source": code, "outputs": []},
    ]
    return json.dumps({"nbformat": 4, "cells": cells}).encode()


# Each format, with a word that only this file has.
SAMPLES = {
    "plain.txt": b"The albatross glides for hours over the ocean.",
    "guide.md": b"# Birds\n\nintro\n\n## Waders\n\nThe avocet sweeps its curved bill.",
    "manual.rst": b"Falcons\n=======\n\nThe kestrel hovers in the wind.\n",
    "page.html": b"<html><head><title>Owls</title></head><body><nav>menu</nav><main>"
    b"<h1>Night</h1><p>The tawny owl hoots.</p></main></body></html>",
    "paper.pdf": pdf("First page on swans", "The cormorant dries its wings"),
    "letter.docx": docx("Report", "The dunnock hides in hedges."),
    "show.pptx": slides(("Start", "welcome"), ("Ducks", "The eider has soft down.")),
    "table.xlsx": xlsx("Counts", ["bird", "count"], ["flamingo", 12], ["goldcrest", 3]),
    "note.eml": mail("Hoopoe seen", "A hoopoe was in the garden."),
    "book.epub": epub("Field guide", "<h1>One</h1><p>ibis</p>", "<h1>Two</h1><p>A jackdaw.</p>"),
    "work.ipynb": notebook("# Study of kingfishers", "count = 'lapwing'"),
    "code.py": b'def sing():\n    """Let the linnet sing."""\n',
    "data.json": b'{"bird": "merlin", "size": "small"}',
    "rows.jsonl": b'{"bird": "nightjar"}\n{"bird": "osprey"}\n',
    "list.csv": b"bird,place\nptarmigan,tundra\nquail,field\n",
}
WORDS = {
    "plain.txt": "albatross",
    "guide.md": "avocet",
    "manual.rst": "kestrel",
    "page.html": "tawny",
    "paper.pdf": "cormorant",
    "letter.docx": "dunnock",
    "show.pptx": "eider",
    "table.xlsx": "goldcrest",
    "note.eml": "hoopoe",
    "book.epub": "jackdaw",
    "work.ipynb": "lapwing",
    "code.py": "linnet",
    "data.json": "merlin",
    "rows.jsonl": "osprey",
    "list.csv": "ptarmigan",
}
