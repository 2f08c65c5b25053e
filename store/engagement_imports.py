"""Who imported the terms that contract lines are rated by: preparers of what they rate (DESIGN 4).

An import is noted once for each contract line whose price it changed: rates and overrides, rating,
rounding, expenses, caps, contract value, schedule, or which work belongs to the line. Its amounts
are rated by the newest version that had begun and changed the line; everybody who changed the line
in that version, before the amount was handed over, prepared it. One who changed but a single rate
of a line counts for the whole line: which of them rated an hour is not kept by who wrote it. An
engagement that was made from its deal has nobody.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Column, Date, Index, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.engagement import ContractLine, Engagement
from store.database import AnyRow
from store.models import _now, _text, metadata
from store.subledger_models import _serial

engagement_imports = Table(
    "engagement_imports",
    metadata,
    _serial(),
    *_text("engagement"),
    *_text("psa"),
    *_text("project_id"),
    Column("effective_from", Date, nullable=False),
    *_text("line"),
    *_text("by"),
    _now("imported_at"),
    Index("ix_engagement_imports_project", "psa", "project_id"),
)

_NOTE = text("""
    INSERT INTO engagement_imports (engagement, psa, project_id, effective_from, line, by)
    SELECT :id, :psa, :project_id, :effective_from, line, :by
    FROM unnest(CAST(:lines AS text[])) AS line
""")

_OF_PROJECTS = text("""
    SELECT DISTINCT engagement, psa, project_id, line, effective_from, by, imported_at
    FROM engagement_imports
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(psa text, project_id text)
        USING (psa, project_id)
    ORDER BY effective_from
""")

NO_PRICE: Final = frozenset(
    {
        *("title", "client_po", "tax_category", "dimensions", "billing_method"),
        *("erp", "erp_project_id", "erp_client_id"),
    }
)
"""What a contract line says beside its price: where and how it is billed."""


class _Import(NamedTuple):
    effective_from: date
    by: str
    at: datetime


class Importers:
    """Who imported the terms of contract lines, by project."""

    def __init__(self, rows: Iterable[AnyRow]) -> None:
        self._known: dict[tuple[str, str, str, str], list[_Import]] = {}
        for row in rows:
            key = (row.psa, row.project_id, row.engagement, row.line)
            known = _Import(row.effective_from, row.by, row.imported_at)
            self._known.setdefault(key, []).append(known)

    def of(
        self, project: tuple[str, str], engagement: str, line: str, on: date, until: datetime
    ) -> tuple[str, ...]:
        """Return who set the price of a day's amount that was handed over at `until`.

        Before its first version, that one rates.
        """
        imports = [
            each for each in self._known.get((*project, engagement, line), ()) if each.at <= until
        ]
        begun = [each for each in imports if each.effective_from <= on]
        rated_by = begun[-1:] or imports[:1]
        return tuple(
            sorted(
                {
                    each.by
                    for each in imports
                    if rated_by and each.effective_from == rated_by[0].effective_from
                }
            )
        )


async def note_import(
    session: AsyncConnection, engagement: Engagement, before: Engagement | None, by: str
) -> tuple[str, ...]:
    """Note who changed which prices, and return the refs of those lines.

    `before` is the version that this one replaces or follows; None: there is none.
    """
    lines = tuple(repriced(engagement, before))
    if lines:
        key = engagement.model_dump(include={"id", "psa", "project_id", "effective_from"})
        await session.execute(_NOTE, {**key, "by": by, "lines": list(lines)})
    return lines


async def importers(session: AsyncConnection, projects: str) -> Importers:
    """Return who imported terms of these projects, given as the JSON rows of their keys."""
    return Importers((await session.execute(_OF_PROJECTS, {"rows": projects})).all())


def repriced(engagement: Engagement, before: Engagement | None) -> Iterator[str]:
    """Yield the refs of the lines whose price differs from what was before."""
    if before is None or before.caps != engagement.caps:
        yield from (line.ref for line in engagement.lines)
        return
    known = {line.ref: _price(line) for line in before.lines}
    for line in engagement.lines:
        takes_the_rest = line.ref == engagement.default_line != before.default_line
        if takes_the_rest or known.get(line.ref) != _price(line):
            yield line.ref


def _price(line: ContractLine) -> dict[str, object]:
    return line.model_dump(exclude=set(NO_PRICE))
