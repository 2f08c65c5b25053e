"""Makes drafts of what waits to be billed: groups, lines, and the tax to expect (DESIGN 4).

One draft has one client, legal entity, currency, issuing system and client PO; what else it holds
together the entity's grouping says. Lines follow from what they bill, in a fixed order, so that
the same billables always make the same draft.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from canonical.drafts import Billable, BillableKind, Draft, DraftLine, DraftState
from canonical.engagement import BillingMethod
from canonical.money import Money
from policies.arithmetic import product, share
from policies.bundle import Bundle
from policies.invoicing_schema import EntityInvoicing, GroupBy, Timing
from policies.periods import cutoff_of
from policies.posting import quantity_and_rate

LINES_MAX = 1_000
"""Lines of one draft at most; what is left makes the next one."""
LinesMax = Callable[[str], int | None]
"""How many lines an invoice of an issuing connection may have; None: as many as a draft."""
NARRATIVE_MAX = 1_000


@dataclass(frozen=True)
class Group:
    """What becomes one draft."""

    prefix: str
    """Its id without the number, which the store counts."""
    name: str
    billables: tuple[Billable, ...]


def unlimited(_connection: str) -> None:
    """Say that an issuing connection takes as many lines as a draft has."""


def groups_of(
    billables: Iterable[Billable], bundle: Bundle, lines_max: LinesMax = unlimited
) -> tuple[Group, ...]:
    """Return the drafts to make, in a fixed order, each with as many lines as an invoice takes.

    That is at most 1,000, or what its issuing connection takes if that is less.

    ERP charges of several projects never share a draft: an ERP bills them by project.
    """
    found: dict[tuple[str, ...], list[Billable]] = {}
    for each in billables:
        found.setdefault(_key(each, bundle), []).append(each)
    groups: list[Group] = []
    for key, members in sorted(found.items()):
        members.sort(key=_order)
        name = key[-1]
        entity, bill_to, currency = key[0], key[1], key[2]
        prefix = f"invoice-draft/{entity}/{bill_to}/{currency}/{_plain(name)}/{key[3]}"
        most = min(LINES_MAX, lines_max(_connection(members[0], bundle)) or LINES_MAX)
        groups += [Group(prefix, name, tuple(part)) for part in _chunks(members, most)]
    return tuple(groups)


def is_due(billable: Billable, bundle: Bundle, now: datetime) -> bool:
    """Return whether an amount is to be drafted by now, by its entity's timing."""
    if billable.in_review:
        return True
    terms = bundle.policies.invoicing.entities[billable.legal_entity]
    timing = terms.fees if billable.ref.kind is BillableKind.FEE else terms.time
    if timing is Timing.AT_ONCE:
        return True
    return now >= cutoff_of(
        billable.period, bundle.policies.billing.entities[billable.legal_entity]
    )


def draft_of(
    group: Group, number: int, bundle: Bundle, on: date, now: datetime, reviewer: str = ""
) -> Draft:
    """Return a group as a draft: in review, or queued where its client skips review."""
    first = group.billables[0]
    terms = bundle.policies.invoicing.entities[first.legal_entity]
    rebill = any(each.in_review for each in group.billables)
    skip = not terms.review.required or first.client_id in terms.review.skip_clients
    reviewed = skip and not rebill
    draft_id = f"{group.prefix}/{number}"
    return Draft(
        id=draft_id,
        state=DraftState.QUEUED if reviewed else DraftState.IN_REVIEW,
        legal_entity=first.legal_entity,
        client_id=first.client_id,
        bill_to=first.erp_client_id,
        connection=_connection(first, bundle),
        erp=first.erp,
        method=first.method,
        currency=first.amount.currency,
        group=group.name,
        period=first.period,
        client_po=first.client_po,
        payment_days=terms.payment_days,
        on=on,
        title=f"{first.period} {group.name}",
        lines=lines_of(group.billables, terms),
        preparers=_preparers(group.billables),
        family=draft_id,
        reviewer=reviewer,
        delegate=terms.review.delegate,
        review_until=None if reviewed else now + timedelta(seconds=terms.review.within_seconds),
        bundle=bundle.hash,
    )


def lines_of(billables: Sequence[Billable], terms: EntityInvoicing) -> tuple[DraftLine, ...]:
    """Return the lines of a draft, numbered from 1.

    ERP charges are a line each, as they were posted. Otherwise hours of one contract line,
    person, role and rate are put together; expenses, corrections and fees stand alone.
    """
    found: dict[tuple[str, ...], list[Billable]] = {}
    for each in sorted(billables, key=_order):
        found.setdefault(_line_key(each), []).append(each)
    return tuple(
        _line(number, members, terms) for number, members in enumerate(found.values(), start=1)
    )


def _preparers(billables: Iterable[Billable]) -> tuple[str, ...]:
    """Return who approved what a draft bills, and who imported the terms that price it."""
    return tuple(
        sorted({who for each in billables for who in (*each.approved_by, *each.priced_by)})
    )


def expected_tax(
    amount: Money, category: str, percents: Mapping[str, Decimal]
) -> tuple[Decimal | None, Money | None]:
    """Return rate and estimate of a line's tax; None where no rate is expected."""
    percent = percents.get(category)
    if percent is None:
        return None, None
    tax = Money.rounded(product(amount.amount, share(percent)), amount.currency)
    return percent, tax


def _key(billable: Billable, bundle: Bundle) -> tuple[str, ...]:
    terms = bundle.policies.invoicing.entities[billable.legal_entity]
    by = terms.clients.get(billable.client_id, terms.group_by)
    name = _name(billable, by)
    if billable.method is BillingMethod.ERP_CHARGES and by in {GroupBy.CLIENT, GroupBy.CLIENT_PO}:
        name = f"{name} {billable.project_id}"
    return (
        billable.legal_entity,
        billable.erp_client_id,
        billable.amount.currency,
        billable.period,
        billable.method,
        billable.client_po,
        # A rebill is an invoice of its own: it replaces one that was credited.
        str(billable.cycle),
        name,
    )


def _name(billable: Billable, by: GroupBy) -> str:
    match by:
        case GroupBy.PROJECT:
            return f"project {billable.project_id}"
        case GroupBy.CLIENT:
            return f"client {billable.client_id}"
        case GroupBy.CLIENT_PO:
            return f"po {billable.client_po or 'none'}"
        case GroupBy.CONTRACT_LINE:
            return f"line {billable.line}"


def _connection(billable: Billable, bundle: Bundle) -> str:
    """Return the system that issues the invoice."""
    if billable.method is BillingMethod.BILLING_ENGINE:
        return bundle.billing_engine_connection
    return billable.erp


def _order(billable: Billable) -> tuple[str, ...]:
    kinds = ("milestone", "schedule", "time", "adjustment", "expense")
    kind = kinds.index(billable.kind) if billable.kind in kinds else len(kinds)
    return (
        billable.project_id,
        billable.line,
        str(kind),
        billable.person,
        billable.role,
        str(billable.rate or ""),
        billable.start.isoformat(),
        f"{billable.ref.kind}:{billable.ref.id:020}",
    )


def _line_key(billable: Billable) -> tuple[str, ...]:
    alone = (billable.ref.kind, str(billable.ref.id))
    if billable.charge:
        return ("charge", billable.charge)
    if billable.kind != "time" or not billable.minutes or billable.rate is None:
        return alone
    return (
        *(billable.project_id, billable.line, billable.person, billable.role),
        *(str(billable.rate), billable.tax_category),
    )


def _line(number: int, members: Sequence[Billable], terms: EntityInvoicing) -> DraftLine:
    first = members[0]
    amount = first.amount
    for each in members[1:]:
        amount += each.amount
    minutes = sum(each.minutes for each in members)
    hourly = first.rate if len({each.rate for each in members}) == 1 else None
    timed = first.kind in {"time", "adjustment"}
    quantity, price = quantity_and_rate(minutes if timed else 0, hourly, amount)
    percent, tax = expected_tax(amount, first.tax_category, terms.expected_tax)
    in_hours = timed and hourly is not None and (quantity, price) != (Decimal(1), amount.amount)
    return DraftLine(
        number=number,
        kind="fee" if first.ref.kind is BillableKind.FEE else _kind(first),
        engagement=first.engagement,
        line=first.line,
        project_id=first.project_id,
        erp_project_id=first.erp_project_id,
        narrative=_narrative(members),
        quantity=quantity,
        unit="hour" if in_hours else "item",
        unit_price=price,
        amount=amount,
        start=min(each.start for each in members),
        end=max(each.end for each in members),
        tax_category=first.tax_category,
        tax_percent=percent,
        expected_tax=tax,
        charge=first.charge,
        dimensions=first.dimensions,
        bills=tuple(each.ref for each in members),
    )


def _kind(billable: Billable) -> str:
    return "expense" if billable.kind == "expense" else "time"


def _narrative(members: Sequence[Billable]) -> str:
    """Word a line: the entry's own note where it stands alone, else who worked as what."""
    first = members[0]
    if len(members) == 1 and first.narrative.strip():
        return " ".join(first.narrative.split())[:NARRATIVE_MAX]
    who = " as ".join(part for part in (first.person.partition("@")[0], first.role) if part)
    days = f"{min(each.start for each in members)} to {max(each.end for each in members)}"
    return f"{who or first.kind}, {days}"[:NARRATIVE_MAX]


def _plain(name: str) -> str:
    """Return a name that may stand in a workflow id; one that had to change gets a hash."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    if plain == name.replace(" ", "-"):
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _chunks(members: list[Billable], most: int) -> list[list[Billable]]:
    """Cut a group where a draft would get too many lines; what shares a line stays together."""
    chunks: list[list[Billable]] = [[]]
    seen: set[tuple[str, ...]] = set()
    by_line: dict[tuple[str, ...], list[Billable]] = {}
    for each in members:
        by_line.setdefault(_line_key(each), []).append(each)
    for key, line in by_line.items():
        if len(seen) >= most:
            chunks.append([])
            seen = set()
        seen.add(key)
        chunks[-1] += line
    return [chunk for chunk in chunks if chunk]
