"""A document as its template gets it: every number, date and word already text, nothing markup.

Amounts are exact before they come here; formatting never rounds them. The names of the models'
fields are the template's interface: they are added to, never renamed.
"""

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, format_percent
from pydantic import BaseModel

from canonical.deal import Address
from canonical.documents import (
    BackupEntry,
    DocumentLine,
    InvoiceDocument,
    Party,
    Provenance,
    TaxLine,
)
from canonical.money import Money, minor_digits
from operations.documents.labels import labels

CELL_RUN: Final = 24
"""Longer runs without a space may be broken in a table, so that none leaves its column."""
BLOCK_RUN: Final = 60
"""Likewise outside of tables; an IBAN or an address stays whole there, to be copied."""
ENTRIES_MAX: Final = 60
"""A row of the provenance names this many entries; the backup and the evidence have them all."""
HASH_SHOWN: Final = 16
BREAK: Final = "\u200b"
REGION_FIRST: Final = {"US", "CA", "AU"}
"""Where an address line reads city, region, postal code."""


class PrintedParty(BaseModel):
    """A company, its address in lines."""

    name: str
    lines: list[str]


class PrintedLine(BaseModel):
    """One line of the document; `number` counts from 1 and is what the appendix refers to."""

    number: str
    narrative: str
    reason: str = ""
    """In words; of a credit note's line."""
    quantity: str
    unit_price: str
    net: str


class PrintedProject(BaseModel):
    """The lines of one project."""

    title: str
    lines: list[PrintedLine]
    net: str


class PrintedTax(BaseModel):
    """One tax line."""

    title: str
    amount: str
    estimated: bool


class PrintedEntry(BaseModel):
    """One row of the timesheet backup."""

    line: str
    on: str
    person: str
    role: str
    task: str
    note: str
    hours: str
    rate: str
    amount: str
    approved: str


class PrintedSource(BaseModel):
    """One row of the provenance."""

    line: str
    milestone: str
    entries: str
    approvals: list[str]
    rate: str
    policy: str
    amount: str


class PrintedDocument(BaseModel):
    """All that a template prints."""

    language: str
    region: str
    date_parts: tuple[int, int, int]
    """Year, month, day of the document: what the PDF says of its making."""
    kind: str
    """Key of its title among the labels."""
    number: str
    """Empty on a draft."""
    is_draft: bool
    watermarks: list[str]
    """Keys of labels."""
    seller: PrintedParty
    bill_to: PrintedParty
    sold_to: PrintedParty | None
    facts: list[tuple[str, str]]
    """Label and value: number, date, due, terms, order, ..."""
    currency: str
    projects: list[PrintedProject]
    taxes: list[PrintedTax]
    tax_is_estimated: bool
    net: str
    tax: str
    gross: str
    payment: str
    notes: str
    backup: list[PrintedEntry]
    backup_hours: str
    backup_amount: str
    provenance: list[PrintedSource]
    draft_hash: str
    labels: dict[str, str]


def printed(document: InvoiceDocument) -> PrintedDocument:
    """Return `document` as text in its own locale.

    Raises:
        ValueError: there is no such locale.
    """
    try:
        locale = Locale.parse(document.locale)
    except UnknownLocaleError as error:
        raise ValueError(f"{document.locale!r} is no locale") from error
    return _Printer(document, locale).document()


class _Printer:
    """Formats one document in one locale."""

    def __init__(self, document: InvoiceDocument, locale: Locale) -> None:
        self._document = document
        self._locale = locale
        self._labels = labels(locale.language)
        self._numbers: dict[str, str] = {}

    def document(self) -> PrintedDocument:
        document = self._document
        projects = self._projects()
        backup_amount = sum((row.amount.amount for row in document.backup), Decimal(0))
        return PrintedDocument(
            language=self._locale.language,
            region=self._locale.territory or "",
            date_parts=(document.on.year, document.on.month, document.on.day),
            kind=document.kind.value,
            number=_text(document.number),
            is_draft=document.is_draft,
            watermarks=[f"watermark_{mark}" for mark in document.watermarks],
            seller=self._party(document.seller),
            bill_to=self._party(document.bill_to),
            sold_to=self._party(document.sold_to) if document.sold_to else None,
            facts=self._facts(),
            currency=document.currency,
            projects=projects,
            taxes=[self._tax(tax) for tax in document.taxes],
            tax_is_estimated=document.tax_is_estimated,
            net=self._money(document.net),
            tax=self._money(document.tax),
            gross=self._money(document.gross),
            payment=_text(document.payment_instructions, BLOCK_RUN),
            notes=_text(document.notes, BLOCK_RUN),
            backup=[self._entry(row) for row in document.backup],
            backup_hours=hours(sum(row.minutes or 0 for row in document.backup)),
            backup_amount=self._amount(backup_amount),
            provenance=[self._source(row) for row in document.provenance],
            draft_hash=_text(document.draft_hash, BLOCK_RUN),
            labels=self._labels
            | {"backup_note": self._labels["backup_note"].format(currency=document.currency)},
        )

    def _facts(self) -> list[tuple[str, str]]:
        document, words = self._document, self._labels
        service = [self._date(day) for day in (document.service_from, document.service_to) if day]
        facts = [
            (words["number"], document.number or words["draft"]),
            (words["reference"], document.draft if document.is_draft else ""),
            (words["credits"], document.credits),
            (words["date"], self._date(document.on)),
            (words["due"], self._date(document.due) if document.due else ""),
            (words["terms"], document.terms),
            (words["service"], " – ".join(service)),
            (words["client_po"], document.client_po),
            (words["currency"], document.currency),
        ]
        return [(label, _text(value)) for label, value in facts if value]

    def _party(self, party: Party) -> PrintedParty:
        tax_id = f"{self._labels['tax_id']} {party.tax_id}" if party.tax_id else ""
        lines = (*_address(party.address, self._locale), tax_id, party.email)
        return PrintedParty(
            name=_text(party.name, BLOCK_RUN),
            lines=[_text(line, BLOCK_RUN) for line in lines if line],
        )

    def _projects(self) -> list[PrintedProject]:
        found: list[PrintedProject] = []
        for total in self._document.project_totals:
            of_project = [x for x in self._document.lines if x.project_code == total.code]
            title = " · ".join(_text(part) for part in (total.code, total.name) if part)
            lines = [self._line(line) for line in of_project]
            net = self._amount(total.net.amount)
            found.append(PrintedProject(title=title, lines=lines, net=net))
        return found

    def _line(self, line: DocumentLine) -> PrintedLine:
        # Numbered as printed, by project: the appendix refers to what the reader sees.
        number = self._numbers[line.id] = str(len(self._numbers) + 1)
        quantity = "" if line.quantity is None else f"{self._exact(line.quantity)} {line.unit}"
        return PrintedLine(
            number=number,
            narrative=_text(line.narrative),
            reason=_text(self._labels.get(f"reason_{line.reason}", line.reason)),
            quantity=_text(quantity.strip()),
            unit_price="" if line.unit_price is None else self._rate(line.unit_price),
            net=self._amount(line.net.amount),
        )

    def _tax(self, tax: TaxLine) -> PrintedTax:
        title = _text(tax.title)
        if tax.rate_percent is not None:
            percent = format_percent(
                tax.rate_percent / 100, locale=self._locale, decimal_quantization=False
            )
            title = f"{title} {percent}"
        title = f"{title} · {self._money(tax.base)}"
        return PrintedTax(title=title, amount=self._money(tax.amount), estimated=tax.estimated)

    def _entry(self, row: BackupEntry) -> PrintedEntry:
        return PrintedEntry(
            line=self._numbers[row.line],
            on=self._date(row.on),
            person=_text(row.person),
            role=_text(row.role),
            task=_text(row.task),
            note=_text(row.note),
            hours="" if row.minutes is None else hours(row.minutes),
            rate="" if row.rate is None else self._rate(row.rate),
            amount=self._amount(row.amount.amount),
            approved=self._approved(row.approved_by, row.approved_at),
        )

    def _source(self, row: Provenance) -> PrintedSource:
        entries = ", ".join(str(ref) for ref in row.entries[:ENTRIES_MAX])
        if len(row.entries) > ENTRIES_MAX:
            entries += ", …"
        if row.entries:
            entries = f"{self._labels['entries']} ({len(row.entries)}): {entries}"
        return PrintedSource(
            line=self._numbers[row.line],
            milestone=_text(row.milestone),
            entries=_text(entries),
            approvals=[self._approved(each.by, each.at) for each in row.approvals],
            rate=_text(row.rate_source),
            policy=row.policy_hash[:HASH_SHOWN],
            amount=self._amount(row.amount.amount),
        )

    def _approved(self, by: str, at: datetime | None) -> str:
        return _text(", ".join(filter(None, (by, self._date(at.date()) if at else ""))))

    def _date(self, day: date) -> str:
        return format_date(day, format="medium", locale=self._locale)

    def _money(self, money: Money) -> str:
        """Amount and code: what `$` or `¥` means depends on the reader."""
        return f"{self._amount(money.amount)}\u00a0{money.currency}"

    def _amount(self, amount: Decimal) -> str:
        pattern = self._locale.decimal_formats[None].pattern
        currency = self._document.currency
        return format_currency(amount, currency, format=pattern, locale=self._locale)

    def _rate(self, rate: Decimal) -> str:
        """All decimals that the rate has, and at least those of the currency."""
        digits = minor_digits(self._document.currency) or 0
        if rate == round(rate, digits):
            return self._amount(rate)
        return self._exact(rate)

    def _exact(self, number: Decimal) -> str:
        return format_decimal(number.normalize(), locale=self._locale, decimal_quantization=False)


def hours(minutes: int) -> str:
    """Return minutes as `h:mm`: exact, which decimal hours are not (20 minutes)."""
    whole, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else ''}{whole}:{rest:02}"


def _address(address: Address, locale: Locale) -> tuple[str, ...]:
    if address.country in REGION_FIRST:
        of_state = " ".join(filter(None, (address.region, address.postal_code)))
        place = ", ".join(filter(None, (address.city, of_state)))
    else:
        place = " ".join(filter(None, (address.postal_code, address.city)))
        place = ", ".join(filter(None, (place, address.region)))
    country = locale.territories.get(address.country, address.country)
    return (*address.street.splitlines(), place, country)


def _text(text: str, run: int = CELL_RUN) -> str:
    """Return what people or vendors wrote without what would upset a page.

    Control characters become spaces, marks that re-order what stands around them are dropped, and
    runs longer than `run` may break. It stays text: the template never reads it as markup.
    """
    clean = "".join(map(_harmless, text.replace("\r\n", "\n"))).strip()
    return re.sub(rf"\S{{{run}}}(?=\S)", lambda found: found[0] + BREAK, clean)


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return "\n" if character == "\n" else " "
    # Arabic and Indic scripts need the two joiners; the rest are overrides of direction and such.
    return "" if category == "Cf" and character not in "\u200c\u200d" else character
