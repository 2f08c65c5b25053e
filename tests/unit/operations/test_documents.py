"""A rendered invoice says exactly what the document says, whatever somebody typed into it."""

import io
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typst
from pydantic import ValidationError
from pypdf import PdfReader

from canonical.documents import (
    DocumentKind,
    DocumentLine,
    InvoiceDocument,
    Party,
    TaxLine,
    Watermark,
)
from canonical.money import Money
from operations.documents.labels import LABELS
from operations.documents.printed import hours, printed
from operations.documents.render import (
    LAYOUT,
    TEMPLATES,
    TemplateError,
    render,
    render_pages,
    render_pdf,
)
from tests.unit.operations.document_samples import DRAFT_HASH, draft, euro

FREE = DocumentLine(id="l1", narrative="Free of charge", net=euro("0"))
HOSTILE = (
    '#import "/etc/passwd": *',
    '#eval("1+1")',
    "]#panic()[",
    '<script>alert("x")</script>',
    "*bold* _it_ $x^2$ @ref <label> \\u{41}",
    "= Heading",
    "{{ 7*7 }} ${7*7} %s {page}",
)


def pages(pdf: bytes) -> list[str]:
    """Text of each page; breaks and the marks that allow them are one space."""
    found = [page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages]
    return [" ".join(text.replace("\u200b", "").replace("\u00a0", " ").split()) for text in found]


def text_of(document: InvoiceDocument, template: Path | None = None) -> str:
    return " ".join(pages(render_pdf(document, template)))


def with_narrative(narrative: str, **changed: Any) -> InvoiceDocument:
    line = DocumentLine(id="l1", narrative=narrative, net=euro("10"))
    tax = TaxLine(title="VAT", base=euro("10"), amount=euro("0"))
    sums = {"net": euro("10"), "tax": euro("0"), "gross": euro("10")}
    alone = {"lines": (line,), "taxes": (tax,), "backup": (), "provenance": ()}
    return draft(**{**sums, **alone, **changed})


def in_yen(locale: str) -> InvoiceDocument:
    yen = Money(amount=Decimal(1234567), currency="JPY")
    tax = Money(amount=Decimal(123457), currency="JPY")
    line = DocumentLine(id="l1", narrative="Factory data platform", net=yen)
    return with_narrative(
        "",
        currency="JPY",
        locale=locale,
        lines=(line,),
        taxes=(TaxLine(title="Tax", rate_percent=Decimal(10), base=yen, amount=tax),),
        net=yen,
        tax=tax,
        gross=yen + tax,
    )


@pytest.fixture
def embedded_only(tmp_path: Path) -> Path:
    """A template with an empty font folder: what a machine without any font prints with."""
    (tmp_path / "fonts").mkdir()
    template = tmp_path / "invoice.typ"
    template.write_bytes((TEMPLATES / "invoice.typ").read_bytes())
    return template


class TestFigures:
    def test_a_draft_in_english_has_its_golden_figures(self) -> None:
        first = pages(render_pdf(draft()))[0]
        for golden in (
            *("Dealthread Demo GmbH", "10119 Berlin", "Hansewerk Logistik GmbH", "PO-2026-4471"),
            *("Nov 30, 2026", "Dec 30, 2026", "NET30", "Number Draft"),
            "88 h 185.00 16,280.00",
            "Sub-total 5001 · Warehouse automation 116,280.00",
            "Sub-total 5002 · Support desk 412.30",
            "Net total 116,692.30 EUR",
            "VAT 19% · 116,692.30 EUR (estimated) 22,171.54 EUR",
            "Total (estimated) 138,863.84 EUR",
            "IBAN DE89 3704 0044 0532 0130 00",
        ):
            assert golden in first

    def test_a_draft_in_german_has_german_figures_dates_and_words(self) -> None:
        first = pages(render_pdf(draft(locale="de_DE")))[0]
        for golden in (
            *("Rechnung", "Nummer Entwurf", "30.11.2026", "Deutschland"),
            "88 h 185,00 16.280,00",
            "VAT 19 % · 116.692,30 EUR (geschätzt) 22.171,54 EUR",
            "Gesamtbetrag (geschätzt) 138.863,84 EUR",
        ):
            assert golden in first

    @pytest.mark.parametrize("locale", ["ja_JP", "en_US"])
    def test_yen_have_no_decimals(self, locale: str) -> None:
        text = text_of(in_yen(locale))
        assert "1,234,567 JPY" in text
        assert "1,358,024 JPY" in text
        assert "1,234,567.0" not in text

    def test_japanese_words_are_printed_by_locale(self) -> None:
        document = printed(in_yen("ja_JP"))
        assert document.labels[document.kind] == "請求書"
        assert [document.labels[mark] for mark in document.watermarks] == ["下書き"]
        assert ("発行日", "2026/11/30") in document.facts

    def test_a_rate_keeps_all_its_decimals_and_a_quantity_too(self) -> None:
        line = DocumentLine(
            id="l1",
            narrative="Runs",
            quantity=Decimal("1200.5"),
            unit="runs",
            unit_price=Decimal("0.041667"),
            net=euro("50.02"),
        )
        sums = {"net": euro("50.02"), "gross": euro("50.02")}
        assert "1,200.5 runs 0.041667 50.02" in text_of(with_narrative("", lines=(line,), **sums))

    @pytest.mark.parametrize(
        ("minutes", "shown"), [(100, "1:40"), (480, "8:00"), (-90, "-1:30"), (0, "0:00")]
    )
    def test_hours_are_exact(self, minutes: int, shown: str) -> None:
        assert hours(minutes) == shown

    def test_every_language_has_every_word(self) -> None:
        assert {frozenset(words) for words in LABELS.values()} == {frozenset(LABELS["en"])}

    def test_an_unknown_language_is_english_with_its_own_figures(self) -> None:
        first = pages(render_pdf(draft(locale="fr_FR")))[0]
        assert "Invoice" in first
        assert re.search(r"Net total 116\s692,30 EUR", first)

    def test_an_unknown_locale_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'xx_YY' is no locale"):
            render_pdf(draft(locale="xx_YY"))


class TestTax:
    def test_each_tax_of_a_draft_is_marked_as_estimated(self) -> None:
        net, tax = euro("116692.30"), euro("11.00")
        taxes = (
            TaxLine(title="City tax", base=net, amount=euro("5.00")),
            TaxLine(title="State tax", base=net, amount=euro("6.00")),
        )
        text = text_of(draft(taxes=taxes, tax=tax, gross=net + tax))
        assert "City tax · 116,692.30 EUR (estimated) 5.00 EUR" in text
        assert "State tax · 116,692.30 EUR (estimated) 6.00 EUR" in text
        assert "Tax (estimated) 11.00 EUR" in text
        assert "Tax is estimated." in text

    def test_final_tax_of_a_numbered_invoice_is_not(self) -> None:
        taxes = tuple(tax.model_copy(update={"estimated": False}) for tax in draft().taxes)
        text = text_of(draft(number="INV-10077", taxes=taxes))
        assert "estimated" not in text
        assert "Number INV-10077" in text
        assert "DRAFT" not in text

    def test_final_tax_without_a_number_is_refused(self) -> None:
        taxes = tuple(tax.model_copy(update={"estimated": False}) for tax in draft().taxes)
        with pytest.raises(ValidationError, match="final only once the ERP has numbered"):
            draft(taxes=taxes)


class TestWatermark:
    def test_a_draft_is_marked_on_every_page(self) -> None:
        assert all("DRAFT" in page for page in pages(render_pdf(draft(100))))

    def test_a_credit_note_says_so_and_what_it_corrects(self) -> None:
        note = draft(number="CN-7", kind=DocumentKind.CREDIT_NOTE, credits="INV-10077")
        assert note.watermarks == (Watermark.CREDIT_NOTE,)
        text = text_of(note)
        assert "CREDIT NOTE" in text
        assert "DRAFT" not in text
        assert "Corrects invoice INV-10077" in text

    def test_the_draft_of_a_credit_note_has_both(self) -> None:
        note = draft(kind=DocumentKind.CREDIT_NOTE)
        assert note.watermarks == (Watermark.DRAFT, Watermark.CREDIT_NOTE)


class TestAppendix:
    def test_a_thousand_rows_repeat_their_header_and_count_their_pages(self) -> None:
        found = pages(render_pdf(draft(1000)))
        assert len(found) > 30
        assert all(f"Page {n} of {len(found)}" in page for n, page in enumerate(found, 1))
        rows = [page for page in found if "Interface specification" in page][1:]
        assert all("No. Date Person, role Task, note Hours Rate Amount Approved" in x for x in rows)
        assert sum(page.count("Anna Schmidt, Nov 30, 2026") for page in found) == 1000 + 3
        # 334 rows of 7:30, 333 of 8:00, 333 of 6:30.
        assert "Total 7333:30 1,356,697.50" in " ".join(found)

    def test_a_line_names_entries_approvals_rate_and_policy(self) -> None:
        last = pages(render_pdf(draft()))[-1]
        assert "1 Entries (12): time:4711, time:4712" in last
        assert "contract:role=Principal" in last
        assert "2 Milestone Interface accepted (7702)" in last
        assert "Entries (1): expense:9001" in last
        assert DRAFT_HASH in last.replace(" ", "")

    def test_a_backup_is_optional(self) -> None:
        assert len(pages(render_pdf(draft(backup=(), provenance=())))) == 1


class TestText:
    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_markup_stays_text_wherever_it_stands(self, hostile: str) -> None:
        known = draft(2)
        fields = ("role", "task", "note", "person", "approved_by")
        row = known.backup[0].model_copy(update=dict.fromkeys(fields, hostile))
        source = known.provenance[0].model_copy(
            update=dict.fromkeys(("milestone", "rate_source"), hostile)
        )
        line = known.lines[0].model_copy(
            update=dict.fromkeys(("narrative", "unit", "project_name"), hostile)
        )
        words = dict.fromkeys(("notes", "payment_instructions", "terms", "client_po"), hostile)
        document = known.model_copy(
            update={
                **words,
                "backup": (row,),
                "provenance": (source,),
                "lines": (line,),
                "bill_to": Party(name=hostile, tax_id=hostile),
            }
        )
        shown = text_of(document).replace(" ", "")
        # A project's name stands in its title and at its sub-total.
        times = len(fields) + 2 + 4 + len(words) + 2
        assert shown.count(hostile.replace(" ", "")) == times

    def test_what_reorders_or_controls_is_dropped(self) -> None:
        text = text_of(with_narrative("paid\u202e 000,1\x00\x07 \u2066tab\there\r\nnext\u2028line"))
        assert "paid 000,1 tab here next line" in text

    def test_a_long_word_stays_inside_its_column(self) -> None:
        word = "x" * 10_000
        found = pages(render_pdf(with_narrative(word)))
        assert sum(page.count("x") for page in found) >= 10_000
        assert max(len(run) for page in found for run in re.findall("x+", page)) < 80

    def test_a_long_narrative_goes_on_over_pages(self) -> None:
        found = pages(render_pdf(with_narrative("word " * 4000)))
        assert sum(page.count("word") for page in found) == 4000
        assert len(found) > 2

    def test_accents_greek_hebrew_and_arabic_need_no_font_of_the_machine(
        self, embedded_only: Path
    ) -> None:
        rendered = render(with_narrative("Café Ωmega Łódź Željko שלום محمد العربي"), embedded_only)
        assert rendered.archival
        assert "Café Ωmega Łódź Željko" in pages(rendered.pdf)[0]

    @pytest.mark.parametrize("text", ["株式会社サクラ電機", "🚀"])
    def test_what_has_no_font_is_rendered_all_the_same_and_said(
        self, embedded_only: Path, text: str
    ) -> None:
        rendered = render(with_narrative(text), embedded_only)
        assert not rendered.archival
        assert "could not be displayed" in rendered.flaw
        assert "Total (estimated) 10.00 EUR" in pages(rendered.pdf)[0]

    @pytest.mark.parametrize(
        ("text", "families"),
        [
            ("株式会社サクラ電機", {"Noto Sans CJK JP", "Noto Sans JP", "IPAGothic"}),
            ("محمد العربي", {"Noto Sans Arabic", "DejaVu Sans"}),
        ],
    )
    def test_what_has_a_font_is_printed_in_it(self, text: str, families: set[str]) -> None:
        if not families & set(typst.Fonts().families()):
            pytest.skip(f"none of {sorted(families)} is on this machine")
        assert render(with_narrative(text)).flaw == ""


class TestBytes:
    def test_the_same_document_is_the_same_bytes_in_another_process(self) -> None:
        program = (
            "import hashlib; from operations.documents.render import render_pdf;"
            "from tests.unit.operations.document_samples import draft;"
            "print(hashlib.sha256(render_pdf(draft())).hexdigest())"
        )
        digests = {
            subprocess.run(
                [sys.executable, "-c", program],
                check=True,
                capture_output=True,
                text=True,
                cwd=Path(__file__).parents[3],
                env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            ).stdout
            for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
        }
        assert len(digests) == 1

    def test_another_document_is_other_bytes(self) -> None:
        assert render_pdf(draft()) != render_pdf(draft(client_po="PO-2026-4472"))

    def test_it_is_dated_by_the_document_and_archival(self) -> None:
        rendered = render(draft())
        reader = PdfReader(io.BytesIO(rendered.pdf))
        assert rendered.archival
        assert reader.metadata is not None
        assert str(reader.metadata["/CreationDate"]).startswith("D:20261130000000")
        assert reader.metadata.title == "Invoice Draft"
        assert reader.metadata.author == "Dealthread Demo GmbH"

    def test_it_is_dated_by_the_document_whatever_the_template_says(self, tmp_path: Path) -> None:
        template = tmp_path / "firm.typ"
        template.write_text("no date, no title\n")
        reader = PdfReader(io.BytesIO(render_pdf(draft(), template)))
        assert reader.metadata is not None
        assert str(reader.metadata["/CreationDate"]).startswith("D:20261130000000")

    def test_pages_are_images(self) -> None:
        images = render_pages(draft(), pixels_per_inch=40)
        assert len(images) == 2
        assert all(image.startswith(b"\x89PNG") for image in images)


class TestTemplate:
    def test_a_firm_changes_words_colours_and_logo(self, tmp_path: Path) -> None:
        (tmp_path / "logo.svg").write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="10">'
            '<rect width="40" height="10"/></svg>'
        )
        template = tmp_path / "firm.typ"
        template.write_text(
            f'#import "{LAYOUT}": document-data, invoice-document\n'
            '#invoice-document(document-data, accent: rgb("#00aa44"), footer: "HRB 4711",\n'
            '  logo: image("logo.svg", alt: "The firm"), words: (invoice: "Tax invoice"))\n'
        )
        rendered = render(draft(), template)
        assert rendered.archival
        first = pages(rendered.pdf)[0]
        assert "HRB 4711" in first
        assert "Tax invoice" in first

    def test_a_broken_template_says_where(self, tmp_path: Path) -> None:
        template = tmp_path / "firm.typ"
        template.write_text("#let x = (\n")
        with pytest.raises(TemplateError, match=r"main\.typ"):
            render_pdf(draft(), template)

    def test_a_template_that_is_not_there_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(TemplateError, match=r"firm\.typ cannot be read"):
            render_pdf(draft(), tmp_path / "firm.typ")

    def test_a_package_from_the_network_is_refused(self, tmp_path: Path) -> None:
        template = tmp_path / "firm.typ"
        template.write_text('#import "@preview/cetz:0.4.0": *\n')
        with pytest.raises(TemplateError, match="never packages"):
            render_pdf(draft(), template)

    def test_a_template_reads_nothing_above_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("secret")
        template = tmp_path / "firm" / "firm.typ"
        template.parent.mkdir()
        template.write_text('#read("../secret.txt")\n')
        with pytest.raises(TemplateError, match="escape"):
            render_pdf(draft(), template)


class TestSums:
    @pytest.mark.parametrize(
        ("changed", "because"),
        [
            ({"net": euro("1")}, "the lines sum to 116,692.30 EUR, but net is 1.00 EUR"),
            ({"tax": euro("1")}, "the taxes sum to"),
            ({"gross": euro("1")}, "net and tax make 138,863.84 EUR, but gross is 1.00 EUR"),
            ({"currency": "USD"}, "cannot be added"),
            ({"provenance": draft().provenance[:1] * 2}, "its provenance sums to"),
            ({"lines": (*draft().lines, FREE)}, "two lines have one id"),
            ({"lines": ()}, "at least 1"),
        ],
    )
    def test_what_does_not_add_up_is_refused(self, changed: dict[str, Any], because: str) -> None:
        with pytest.raises(ValidationError, match=because):
            draft(**changed)

    def test_a_row_of_the_appendix_without_a_line_is_refused(self) -> None:
        stray = draft().backup[0].model_copy(update={"line": "l9"})
        with pytest.raises(ValidationError, match="lines that are not there: \\['l9'\\]"):
            draft(backup=(stray,))

    def test_quantity_times_price_has_to_be_the_net_amount(self) -> None:
        with pytest.raises(ValidationError, match=r"line l1: 370\.00 EUR by its quantity"):
            DocumentLine(
                id="l1",
                narrative="",
                quantity=Decimal(2),
                unit_price=Decimal(185),
                net=euro("370.01"),
            )
