"""The facts of a thread: contracts, sagas, work, invoices. What they mean is `operations.trace`.

A thread is told by the engagements that it is about. Work is found by projects and days, since one
project may be billed by one contract after another. Nothing here changes anything.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.ids import posting_id
from canonical.model import CanonicalModel
from store import thread_sql as sql
from store.database import Database
from store.evidence import Cipher, Evidence
from store.subledger_session import as_rows
from store.thread_models import (
    ThreadApplied,
    ThreadCharge,
    ThreadContract,
    ThreadCredit,
    ThreadDraft,
    ThreadEntry,
    ThreadFee,
    ThreadInvoice,
    ThreadMirror,
    ThreadMoney,
    ThreadPart,
    ThreadPo,
    ThreadRecord,
    ThreadRun,
    ThreadSaga,
    ThreadSpan,
    ThreadTotal,
    ThreadWorkItem,
)

DEAL_SAGA: Final = "opportunity-to-project/"
ALL: Final = 1_000_000
"""More than any thread has."""

M = TypeVar("M", bound=CanonicalModel)


@dataclass(frozen=True)
class Scope:
    """What a thread is about."""

    engagements: tuple[str, ...]
    """`<crm>/<opportunity id>`, each; of a deal too that no contract was made of yet."""
    projects: tuple[str, ...] = ()
    """`<psa>/<project id>`, of work that no contract bills."""


@dataclass(frozen=True)
class Near:
    """What somebody asked about: which entries come first where not all are shown."""

    kind: str = ""
    id: str = ""
    drafts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that the store knows of a thread; of entries, and what hangs on them, the first ones."""

    contracts: tuple[ThreadContract, ...] = ()
    """Versions of the thread's own engagements, oldest first."""
    spans: tuple[ThreadSpan, ...] = ()
    sagas: Mapping[str, ThreadSaga] = field(default_factory=dict)
    records: tuple[ThreadRecord, ...] = ()
    totals: tuple[ThreadTotal, ...] = ()
    money: tuple[ThreadMoney, ...] = ()
    timesheets: int = 0
    charges_count: int = 0
    entries: tuple[ThreadEntry, ...] = ()
    parts: tuple[ThreadPart, ...] = ()
    charges: tuple[ThreadCharge, ...] = ()
    fees: tuple[ThreadFee, ...] = ()
    runs: tuple[ThreadRun, ...] = ()
    drafts: tuple[ThreadDraft, ...] = ()
    invoices: tuple[ThreadInvoice, ...] = ()
    applied: tuple[ThreadApplied, ...] = ()
    credits: tuple[ThreadCredit, ...] = ()
    mirrors: tuple[ThreadMirror, ...] = ()
    client_pos: tuple[ThreadPo, ...] = ()
    work_items: tuple[ThreadWorkItem, ...] = ()


class Threads:
    """Reads the facts of threads."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._evidence = Evidence(cipher)

    async def whole(self, engagements: Collection[str]) -> tuple[str, ...]:
        """Return the engagements of the thread that these are of.

        Those that share an invoice draft with them are of it, and those of the same client that
        billed the same project before or after.
        """
        known: set[str] = set(engagements)
        async with self._database.transaction() as session:
            while True:
                rows = await session.execute(sql.SHARING, {"engagements": sorted(known)})
                more = {str(row.id) for row in rows} - known
                if not more:
                    return tuple(sorted(known))
                known |= more

    async def drafts_of(self, kind: str, id_: str) -> tuple[str, ...]:
        """Return the drafts that an invoice, a payment or a credit is of, or a draft itself."""
        statement = sql.DRAFTS_OF.get(kind)
        if statement is None:
            return (id_,) if kind == "draft" else ()
        connection, _, own = id_.partition("/")
        values = {"whole": id_, "connection": connection, "id": own}
        named = {name: values[name] for name in sql.names_of(statement)}
        return tuple(str(row.draft) for row in await self._database.rows(statement, named))

    async def facts(self, scope: Scope, near: Near, most: int | None) -> Facts:
        """Return what is known of a thread, read at one moment; `most` entries of each kind."""
        async with self._database.transaction() as session:
            await session.execute(sql.ONE_MOMENT)
            reader = _Reader(session, self._evidence, scope, near, ALL if most is None else most)
            return await reader.read()


@dataclass
class _Reader:
    session: AsyncConnection
    evidence: Evidence
    scope: Scope
    near: Near
    most: int

    async def read(self) -> Facts:
        found: dict[str, Any] = {}
        own = {"engagements": list(self.scope.engagements)}
        versions = await self._all(ThreadContract, sql.CONTRACTS, own)
        mine = set(self.scope.engagements)
        spans = [*spans_of(versions, mine), *_loose(self.scope.projects)]
        found["contracts"] = tuple(each for each in versions if each.id in mine)
        found["spans"] = tuple(spans)
        found |= await self._work(spans, own)
        found |= await self._invoiced(own, found["contracts"])
        found |= await self._sagas(found)
        return Facts(**found)

    async def _work(self, spans: Sequence[ThreadSpan], own: Mapping[str, object]) -> dict[str, Any]:
        given = {"spans": as_rows(span.model_dump(mode="json") for span in spans)}
        whole = [f"{each.psa}/{each.project_id}" for each in spans if _is_whole(each)]
        runs = await self._all(ThreadRun, sql.RUNS, {**given, **own, "whole": whole})
        keys = {"runs": [run.run_key for run in runs]}
        wanted = {**given, **keys, "near": await self._near(), "most": self.most}
        (survey,) = await self._rows(sql.SURVEY, wanted)
        rows = await self._rows(sql.ENTRIES, {"chosen": survey.chosen})
        entries = tuple(self._entry(row._mapping) for row in rows)
        parts = await self._all(ThreadPart, sql.PARTS, {"entries": [each.id for each in entries]})
        asked = [self.near.id] if self.near.kind == "charge" else []
        named = sorted({*asked, *(part.charge for part in parts if part.charge)})
        return {
            "runs": runs,
            "totals": tuple(ThreadTotal.model_validate(each) for each in survey.totals),
            "timesheets": int(survey.timesheets),
            "charges_count": await self._count(sql.CHARGES_COUNT, keys),
            "money": tuple(ThreadMoney.model_validate(each) for each in survey.money),
            "entries": entries,
            "parts": parts,
            "charges": await self._all(ThreadCharge, sql.CHARGES, {"ids": named}),
            "fees": await self._all(ThreadFee, sql.FEES, own),
        }

    async def _near(self) -> list[int]:
        """Return the first entries of what was asked about, by their versions in the store."""
        statement = sql.NEAR.get("draft" if self.near.drafts else self.near.kind)
        if statement is None:
            return []
        system, _, id_ = self.near.id.partition("/")
        values = {
            "whole": self.near.id,
            "system": system,
            "id": id_,
            "kind": self.near.kind,
            "drafts": list(self.near.drafts),
            "most": self.most,
        }
        return [int(row.id) for row in await self._rows(statement, values)]

    async def _invoiced(
        self, own: Mapping[str, object], contracts: Iterable[ThreadContract]
    ) -> dict[str, Any]:
        drafts = await self._all(ThreadDraft, sql.DRAFTS, own)
        invoices = await self._all(
            ThreadInvoice, sql.INVOICES, {"drafts": [draft.id for draft in drafts]}
        )
        of = as_rows({"connection": each.connection, "invoice": each.id} for each in invoices)
        orders = {(each.client_id, line.client_po) for each in contracts for line in each.lines} | {
            (draft.client_id, draft.client_po) for draft in drafts
        }
        named = as_rows(
            {"client_id": client, "number": number} for client, number in sorted(orders) if number
        )
        return {
            "drafts": drafts,
            "invoices": invoices,
            "applied": await self._all(ThreadApplied, sql.APPLIED, {"rows": of}),
            "credits": await self._all(ThreadCredit, sql.CREDITS, {"rows": of}),
            "mirrors": await self._all(ThreadMirror, sql.MIRRORS, {"rows": of}),
            "client_pos": await self._all(ThreadPo, sql.CLIENT_POS, {"rows": named}),
        }

    async def _sagas(self, found: Mapping[str, Any]) -> dict[str, Any]:
        deals = [f"{DEAL_SAGA}{each}" for each in self.scope.engagements]
        drafts: tuple[ThreadDraft, ...] = found["drafts"]
        invoices: tuple[ThreadInvoice, ...] = found["invoices"]
        ids = {
            *deals,
            *(run.run_key for run in found["runs"]),
            *(fee.run for fee in found["fees"] if fee.run),
            *(posting_id(each.id, n) for each in drafts for n in range(1, each.posting + 1)),
            *(credit.id for credit in found["credits"]),
        }
        waiting = {
            *ids,
            *(draft.id for draft in drafts),
            *(f"invoice/{each.connection}/{each.id}" for each in invoices),
            *(f"{each.connection}/{each.id}" for each in invoices),
        }
        sagas = await self._all(ThreadSaga, sql.SAGAS, {"ids": sorted(ids), "planned": deals})
        return {
            "sagas": {saga.workflow_id: saga for saga in sagas},
            "records": await self._all(ThreadRecord, sql.RECORDS, {"ids": deals}),
            "work_items": await self._all(ThreadWorkItem, sql.WORK_ITEMS, {"ids": sorted(waiting)}),
        }

    def _entry(self, row: Mapping[Any, Any]) -> ThreadEntry:
        entry = ThreadEntry.model_validate(dict(row))
        if row["record"] is None:
            return entry
        record = self.evidence.open(row["record"], row["encrypted"])
        return entry.model_copy(
            update={
                "person": record.person_email or record.person_id,
                "approved_by": record.approved_by,
            }
        )

    async def _rows(self, statement: TextClause, values: Mapping[str, object]) -> Sequence[Any]:
        named = {name: values[name] for name in sql.names_of(statement)}
        return (await self.session.execute(statement, named)).all()

    async def _all(
        self, model: type[M], statement: TextClause, values: Mapping[str, object]
    ) -> tuple[M, ...]:
        rows = await self._rows(statement, values)
        return tuple(model.model_validate(dict(row._mapping)) for row in rows)

    async def _count(self, statement: TextClause, values: Mapping[str, object]) -> int:
        return int((await self._rows(statement, values))[0][0])


def spans_of(versions: Iterable[ThreadContract], own: Collection[str]) -> list[ThreadSpan]:
    """Return when each project's work belongs to contracts of `own`; versions come by their date.

    Work from before the first contract is taken to be the first one's.
    """
    by_project: dict[tuple[str, str], list[ThreadContract]] = {}
    for version in versions:
        by_project.setdefault((version.psa, version.project_id), []).append(version)
    found: list[ThreadSpan] = []
    for (psa, project), each in by_project.items():
        ends = [*(version.effective_from for version in each[1:]), None]
        for place, (version, after) in enumerate(zip(each, ends, strict=True)):
            if version.id not in own:
                continue
            first = version.effective_from if place else None
            last = found[-1] if found else None
            if last and (last.psa, last.project_id, last.after) == (psa, project, first) and first:
                found[-1] = last.model_copy(update={"after": after})
                continue
            found.append(ThreadSpan(psa=psa, project_id=project, first=first, after=after))
    return found


def _is_whole(span: ThreadSpan) -> bool:
    return span.first is None and span.after is None


def _loose(projects: Iterable[str]) -> list[ThreadSpan]:
    split = (each.partition("/") for each in projects)
    return [ThreadSpan(psa=psa, project_id=project) for psa, _, project in split]
