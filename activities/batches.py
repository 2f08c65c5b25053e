"""Makes the batches that a billing run posts: placed parts in, lines by ERP project out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeVar

from canonical.billing import AccountingPeriod, ChargeBatch, CostBatch
from canonical.engagement import ContractLine, Engagement
from canonical.entries import Entry
from canonical.money import Money
from canonical.records import RecordRef
from canonical.time_to_billing import PostingBatch
from policies.bundle import Bundle
from policies.periods import posting_date
from policies.posting import ChargeLine, CostLine, PlacedWork, charges_of, costs_of
from store.placing import PlacedEntry
from store.tracks import PartRef, PostingLine, PreparedBatch

T = TypeVar("T")

LINES_MAX = 1_000
"""Lines of one batch: what one step posts (decision 0010)."""

Periods = Mapping[str, Sequence[AccountingPeriod]]
"""By legal entity."""


@dataclass(frozen=True)
class Batch:
    """A batch as the store keeps it, and as the workflow hears of it."""

    prepared: PreparedBatch
    told: PostingBatch


def batches_of(
    entries: Sequence[Entry],
    placed: Sequence[PlacedEntry],
    versions: Sequence[Engagement],
    bundle: Bundle,
    periods: Periods,
) -> tuple[Batch, ...]:
    """Return the batches of a run, numbered from 1 by kind; the same input gives the same."""
    works = _works(entries, placed, versions)
    days = _days(works, bundle, periods)
    lines = {line.ref: line for version in versions for line in version.lines}
    charges, costs = defaultdict(list), defaultdict(list)
    for charge in charges_of(works, bundle.policies, days):
        charges[charge.line].append(charge)
    for cost in costs_of(works, bundle.policies, days):
        costs[cost.line, cost.legal_entity].append(cost)
    made: list[Batch] = []
    number = 0
    for ref, of_line in sorted(charges.items()):
        for chunk in _chunks(of_line):
            number += 1
            made.append(_charges(number, lines[ref], bundle, chunk))
    number = 0
    for (ref, entity), of_entity in sorted(costs.items()):
        for part in _chunks(of_entity):
            number += 1
            made.append(_costs(number, lines[ref], entity, bundle, part))
    return tuple(made)


def _works(
    entries: Sequence[Entry], placed: Sequence[PlacedEntry], versions: Sequence[Engagement]
) -> list[PlacedWork]:
    by_ref = {entry.ref: entry for entry in entries}
    works = []
    for each in placed:
        entry = by_ref[each.rated.ref]
        works.append(
            PlacedWork(
                entry=entry,
                rated=each.rated,
                parts=each.parts,
                line=_line(each.rated.line, entry.service_date, versions),
            )
        )
    return works


def _line(ref: str, on: date, versions: Sequence[Engagement]) -> ContractLine:
    """Return the contract line as it was in force on a day."""
    known = [
        line
        for version in versions
        if version.effective_from <= on
        for line in version.lines
        if line.ref == ref
    ]
    return known[-1]


def _days(
    works: Sequence[PlacedWork], bundle: Bundle, periods: Periods
) -> dict[tuple[str, date], date]:
    """Return the posting day by legal entity and service date, where it is another day."""
    terms = bundle.policies.billing.entities
    days: dict[tuple[str, date], date] = {}
    for work in works:
        entities = {work.rated.legal_entity}
        if work.rated.cost is not None:
            entities.add(work.rated.cost.legal_entity)
        for code in entities:
            key = (code, work.entry.service_date)
            if key not in days:
                posting = posting_date(terms[code], work.entry.service_date, periods.get(code, ()))
                days[key] = posting.on or work.entry.service_date
    return days


def _charges(
    number: int, line: ContractLine, bundle: Bundle, charges: Sequence[ChargeLine]
) -> Batch:
    entity = bundle.policies.legal_entities[line.legal_entity]
    document = ChargeBatch(
        project=RecordRef(system=line.erp, type="project", id=line.erp_project_id),
        client=RecordRef(system=line.erp, type="client", id=line.erp_client_id),
        subsidiary=entity.subsidiary,
        charges=tuple(each.charge for each in charges),
    )
    lines = tuple(
        PostingLine(
            item=each.charge.item,
            amount=each.charge.amount,
            parts=tuple(PartRef(entry=ref, number=part) for ref, part in each.parts),
        )
        for each in charges
    )
    return _batch("charges", number, line.erp, document.model_dump_json(), lines)


def _costs(
    number: int, line: ContractLine, employer: str, bundle: Bundle, costs: Sequence[CostLine]
) -> Batch:
    document = CostBatch(
        project=RecordRef(system=line.erp, type="project", id=line.erp_project_id),
        subsidiary=bundle.policies.legal_entities[employer].subsidiary,
        items=tuple(each.item for each in costs),
    )
    lines = tuple(
        PostingLine(
            item=each.item.item,
            amount=each.item.expected_cost,
            parts=tuple(PartRef(entry=ref) for ref in each.entries),
        )
        for each in costs
    )
    return _batch("costs", number, line.erp, document.model_dump_json(), lines)


def _batch(
    kind: Literal["charges", "costs"],
    number: int,
    connection: str,
    document: str,
    lines: tuple[PostingLine, ...],
) -> Batch:
    total: Money = lines[0].amount
    for line in lines[1:]:
        total = total + line.amount
    return Batch(
        PreparedBatch(
            kind=kind, number=number, connection=connection, document=document, lines=lines
        ),
        PostingBatch(
            kind=kind, number=number, connection=connection, count=len(lines), amount=total
        ),
    )


def _chunks(items: list[T]) -> list[list[T]]:
    return [items[first : first + LINES_MAX] for first in range(0, len(items), LINES_MAX)]
