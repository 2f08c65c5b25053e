"""Renders an invoice as PDF or page images with Typst: same document, template, fonts: same bytes.

A template is a trusted file of the firm; the document's texts are not trusted and reach it as
JSON. It reads files beside it, nothing above, and no network. Rendering blocks: call it in a
thread where an event loop runs.
"""

import json
import re
from datetime import UTC, datetime, time
from functools import cache
from pathlib import Path
from typing import Final

import structlog
import typst
from pydantic import BaseModel

from canonical.documents import InvoiceDocument
from operations.documents.printed import printed
from operations.mistakes import Mistake

TEMPLATES: Final = Path(__file__).parent / "templates"
LAYOUT: Final = "dealthread.typ"
FONT_ORDER: Final = (
    *("Noto Sans", "Liberation Sans", "DejaVu Sans"),
    *("Noto Sans CJK JP", "Noto Sans JP", "IPAGothic", "Noto Sans Arabic", "Noto Sans Hebrew"),
    "Libertinus Serif",
)
"""Tried in this order for each character, then any font; the last one comes with Typst."""
FONT_FOLDER: Final = "fonts"
"""Beside a firm's template: then only these and Typst's own count, on every machine alike."""
ARCHIVAL: Final = "a-2a"
"""PDF/A-2a: self-contained, tagged for readers of the screen, every character in a font."""

_log = structlog.get_logger("dealthread.documents")


class TemplateError(Mistake):
    """A template does not compile; the text is the compiler's, for whoever wrote it."""


class Rendered(BaseModel):
    """A PDF, and what is to be known of it."""

    pdf: bytes
    archival: bool
    """Whether it is PDF/A-2a; not where a character has no font."""
    flaw: str = ""
    """Why it is not, in the compiler's words; empty otherwise."""


def render_pdf(document: InvoiceDocument, template: Path | None = None) -> bytes:
    """Return `document` as PDF, in the firm's `template` or Dealthread's own.

    Raises:
        TemplateError: the template does not compile.
        ValueError: the document's locale does not exist.
    """
    return render(document, template).pdf


def render(document: InvoiceDocument, template: Path | None = None) -> Rendered:
    """Do what `render_pdf` does, and say whether every character found a font.

    A draft has to be readable whatever somebody typed into it, so a character without a font is a
    flaw of the result, never a failure.
    """
    source = _Source(document, template)
    try:
        return Rendered(pdf=source.compile("pdf", standard=ARCHIVAL)[0], archival=True)
    except typst.TypstError as archival:
        pdf = source.compile_or_say("pdf")[0]
        _log.warning("document_not_archival", draft=document.draft, flaw=archival.message)
        return Rendered(pdf=pdf, archival=False, flaw=archival.message)


def render_pages(
    document: InvoiceDocument, template: Path | None = None, pixels_per_inch: int = 110
) -> list[bytes]:
    """Return the pages of `document` as PNG images, for a console.

    Raises:
        TemplateError: the template does not compile.
        ValueError: the document's locale does not exist.
    """
    return _Source(document, template).compile_or_say("png", pixels_per_inch)


class _Source:
    """One document with its template, ready to be compiled."""

    def __init__(self, document: InvoiceDocument, template: Path | None) -> None:
        path = template or TEMPLATES / "invoice.typ"
        try:
            main = path.read_bytes()
        except OSError as error:
            raise TemplateError(f"the template {path.name} cannot be read: {error}") from error
        if re.search(rb'"@[\w-]+/', main):
            # Typst would fetch it while a draft is rendered, from wherever the machine can reach.
            raise TemplateError("a template imports files beside it, never packages")
        self._files: dict[str, bytes | Path] = {
            "main.typ": main,
            LAYOUT: (TEMPLATES / LAYOUT).read_bytes(),
        }
        self._root = path.resolve().parent
        own = self._root / FONT_FOLDER
        self._fonts = _fonts(own if own.is_dir() else None)
        self._inputs = {
            "document": printed(document).model_dump_json(),
            "fonts": json.dumps([each for each in FONT_ORDER if each in self._fonts.families()]),
        }
        self._timestamp = datetime.combine(document.on, time(), UTC)

    def compile(
        self, kind: str, pixels_per_inch: int = 144, standard: str | None = None
    ) -> list[bytes]:
        # Its stub knows neither sources in memory nor a page's image each, which its manual shows.
        compiled: bytes | list[bytes] = typst.compile(  # type: ignore[call-overload]
            self._files,
            root=self._root,
            font_paths=self._fonts,
            format=kind,
            ppi=pixels_per_inch,
            sys_inputs=self._inputs,
            pdf_standards=standard,
            timestamp=self._timestamp,
        )
        return compiled if isinstance(compiled, list) else [compiled]

    def compile_or_say(self, kind: str, pixels_per_inch: int = 144) -> list[bytes]:
        try:
            return self.compile(kind, pixels_per_inch)
        except typst.TypstError as error:
            raise TemplateError(error.diagnostic or error.message) from error


@cache
def _fonts(own: Path | None) -> typst.Fonts:
    """Looking through the system's fonts takes longer than a page does."""
    return typst.Fonts(include_system_fonts=own is None, font_paths=[own] if own else [])
