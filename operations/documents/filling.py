"""Fills the printed document from the way back of an invoice or a draft; computes no amount anew.

What was issued is printed as the issuing system has it, to the cent, in the words of the draft;
what was not, as it would be, with the tax that the policies expect.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.languages import get_official_languages

from canonical.deal import Address
from canonical.documents import (
    Approval,
    BackupEntry,
    DocumentLine,
    InvoiceDocument,
    Party,
    Provenance,
    TaxLine,
)
from canonical.entries import Entry
from canonical.money import Money
from canonical.provisioning import contract_value
from canonical.rating import Rated
from operations.documents.labels import LABELS, labels
from operations.way_back import WayBack, WayLine, name_of
from policies.schema import Policies
from store.finances import TracedBill

DEFAULT_LOCALE: Final = "en_US"


def document_of(way: WayBack, policies: Policies) -> InvoiceDocument:
    """Return the invoice, or the draft, as it is printed.

    Raises:
        ValueError: what the store has does not add up, so that it must not be printed.
    """
    draft, invoice = way.draft, way.invoice
    bill_to = client_of(way)
    locale = locale_of(bill_to.address.country)
    lines = [line for line in way.lines if line.drafted or line.net.amount]
    on = invoice.on if invoice else draft.on
    entity = policies.legal_entities.get(draft.legal_entity)
    tax = invoice.tax if invoice else draft.expected_tax
    return InvoiceDocument(
        seller=seller_of(policies, draft.legal_entity),
        bill_to=bill_to,
        draft=draft.id,
        number=invoice.number if invoice else "",
        on=on,
        due=(invoice.due if invoice else None) or on + timedelta(days=draft.payment_days),
        terms=f"NET{draft.payment_days}",
        service_from=min((line.start for line in draft.live_lines), default=None),
        service_to=max((line.end for line in draft.live_lines), default=None),
        currency=draft.currency,
        client_po=draft.client_po,
        lines=tuple(_line(way, place, line) for place, line in enumerate(lines)),
        taxes=tuple(_taxes(way, lines, tax, labels(locale.partition("_")[0])["total_tax"])),
        net=way.net,
        tax=tax,
        gross=way.net + tax,
        payment_instructions=entity.payment_instructions if entity else "",
        backup=tuple(_backup(way, lines)),
        provenance=tuple(_provenance(way, lines)),
        draft_hash=draft.released_hash or way.content_hash,
        locale=locale,
    )


def client_of(way: WayBack) -> Party:
    """Return who is billed, as the first deal that says so describes it; else by id alone."""
    for deal in way.deals:
        if deal.client_name:
            return Party(
                name=deal.client_name,
                address=deal.client_address,
                tax_id=deal.client_tax_id,
                email=deal.client_email,
            )
    return Party(name=way.draft.client_id)


def locale_of(country: str) -> str:
    """Return the CLDR locale in which a client of a country reads; unknown: American English.

    Of several official languages the first one that documents have words in; of none of these
    English as that country writes it, where there is such a thing, else its first language.
    """
    spoken = get_official_languages(country, de_facto=True) if country else ()
    known = [language for language in spoken if language in LABELS]
    for language in (*known[:1], "en", *spoken[:1]):
        name = f"{language}_{country}"
        if spoken and _exists(name):
            return name
    return DEFAULT_LOCALE


def line_id(place: int, line: WayLine) -> str:
    """Return what the appendix and the evidence call a line: its number, or its place if added."""
    return str(line.number) if line.number else f"added-{place + 1}"


def _exists(name: str) -> bool:
    try:
        Locale.parse(name)
    except (UnknownLocaleError, ValueError):
        return False
    return True


def seller_of(policies: Policies, code: str) -> Party:
    """Return the legal entity that bills; one that the policies do not know by its code alone."""
    entity = policies.legal_entities.get(code)
    if entity is None:
        return Party(name=code)
    written = entity.address.model_dump() if entity.address else {}
    address = Address(country=entity.country, **written)
    return Party(name=entity.name, address=address, tax_id=entity.tax_id)


def _line(way: WayBack, place: int, line: WayLine) -> DocumentLine:
    drafted = line.drafted
    titles = {project: deal.title for deal in way.deals for project in deal.projects}
    project = drafted.project_id if drafted else ""
    fields: dict[str, object] = {}
    # What somebody changed in the issuing system has its amount alone: ours is another's product.
    if drafted is not None and drafted.amount == line.net:
        fields = {
            "quantity": drafted.quantity,
            "unit": "h" if drafted.unit == "hour" else "",
            "unit_price": drafted.unit_price,
        }
    return DocumentLine.model_validate(
        {
            "id": line_id(place, line),
            "narrative": line.narrative,
            "net": line.net,
            "project_code": project,
            "project_name": titles.get(project, ""),
            **fields,
        }
    )


def _taxes(way: WayBack, lines: Sequence[WayLine], tax: Money, title: str) -> Iterable[TaxLine]:
    """Yield tax by expected rate; in one line where the issuing system's are not to be told so."""
    by_rate: dict[Decimal | None, tuple[Money, Money]] = {}
    nothing = Money(amount=Decimal(0), currency=tax.currency)
    for line in lines:
        rate = line.drafted.tax_percent if line.drafted else None
        if line.issued:
            own = contract_value(tuple(each.tax for each in line.issued), tax.currency)
        else:
            own = (line.drafted.expected_tax if line.drafted else None) or nothing
        base, total = by_rate.get(rate, (nothing, nothing))
        by_rate[rate] = (base + line.net, total + own)
    estimated = way.invoice is None or not way.invoice.number
    told = contract_value(tuple(total for _, total in by_rate.values()), tax.currency)
    if told != tax:
        yield TaxLine(title=title, base=way.net, amount=tax, estimated=estimated)
        return
    for rate, (base, total) in by_rate.items():
        # Without an expected rate and without tax there is nothing to say.
        if rate is not None or total.amount:
            # The rate is ours: where the final tax is another's, it would be a wrong one.
            share = None if rate is None else Money.rounded(base.amount * rate / 100, tax.currency)
            # Each line was rounded once.
            apart = 0 if share is None else abs(share.minor_units - total.minor_units)
            fits = apart <= len(lines)
            percent = rate if fits else None
            yield TaxLine(
                title=title, rate_percent=percent, base=base, amount=total, estimated=estimated
            )


def _backup(way: WayBack, lines: Sequence[WayLine]) -> Iterable[BackupEntry]:
    for place, line in enumerate(lines):
        for bill in line.bills:
            if bill.entry is not None:
                yield _entry(way, line_id(place, line), bill, bill.entry)


def _entry(way: WayBack, line: str, bill: TracedBill, entry: Entry) -> BackupEntry:
    return BackupEntry(
        line=line,
        entry=entry.ref,
        on=entry.service_date,
        person=name_of(way.person(entry.person_id)),
        role=entry.role,
        task=entry.category,
        minutes=None if entry.minutes is None else bill.minutes,
        note=entry.notes,
        rate=effective_rate(bill.rated, way.draft.currency),
        amount=billed(bill),
        approved_by=name_of(way.person(entry.approved_by)) if entry.approved_by else "",
        approved_at=entry.approved_at or bill.approved_at,
    )


def effective_rate(rated: Rated | None, currency: str) -> Decimal | None:
    """Return the hourly rate with its multiplier, where it is in this currency."""
    if rated is None or rated.rate is None or rated.rate.currency != currency:
        return None
    return rated.rate.rate * rated.multiplier


def billed(bill: TracedBill) -> Money:
    """Return what a line has of an amount: without what was written down."""
    less = bill.amount.amount - bill.written_down.amount
    return Money(amount=less, currency=bill.amount.currency)


def approvals_of(way: WayBack, bills: Iterable[TracedBill]) -> tuple[Approval, ...]:
    """Return who approved, each with the last time: an appendix that names all is not read."""
    latest: dict[str, Approval] = {}
    for bill in bills:
        entry, fee = bill.entry, bill.fee
        who = (entry.approved_by,) if entry else fee.approved_by if fee else ()
        at = (entry.approved_at if entry else fee.approved_at if fee else None) or bill.approved_at
        for id_ in filter(None, who):
            name = name_of(way.person(id_))
            if at is not None and (name not in latest or latest[name].at < at):
                latest[name] = Approval(by=name, at=at)
    return tuple(latest.values())


def _provenance(way: WayBack, lines: Sequence[WayLine]) -> Iterable[Provenance]:
    for place, line in enumerate(lines):
        groups: dict[tuple[str, str], list[TracedBill]] = {}
        for bill in line.bills:
            rate = bill.rated.rate if bill.rated else None
            item = bill.fee.item if bill.fee else ""
            groups.setdefault((item, rate.source if rate else ""), []).append(bill)
        sums = {key: _sum(members, way.draft.currency) for key, members in groups.items()}
        # What the issuing system bills differently is no sum of ours: the evidence has both.
        if contract_value(tuple(sums.values()), way.draft.currency) != line.net:
            continue
        for (item, source), members in groups.items():
            yield Provenance(
                line=line_id(place, line),
                milestone=item,
                entries=tuple(bill.entry.ref for bill in members if bill.entry),
                approvals=approvals_of(way, members),
                rate_source=source,
                policy_hash=way.draft.bundle,
                amount=sums[item, source],
            )


def _sum(bills: Sequence[TracedBill], currency: str) -> Money:
    return contract_value(tuple(billed(bill) for bill in bills), currency)
