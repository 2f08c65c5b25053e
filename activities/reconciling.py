"""What Reconcile does beside the connected systems: compare, judge, mend, and the conservation."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from activities.beating import beating
from activities.failures import final
from activities.registration import implements
from canonical import activities as ref
from canonical.entries import EntryKind, EntryRef
from canonical.failures import FailureDetail, FailureKind
from canonical.ids import Role, reconcile_id
from canonical.reconciliation import (
    CONSERVATION,
    Candidate,
    CheckConservation,
    Compared,
    ComparedRows,
    CompareRows,
    ConservationChecked,
    DueReconciliations,
    Finding,
    Healed,
    HealFindings,
    Healing,
    JudgeCandidates,
    Judged,
    ListDue,
    ReconcileInput,
    ReconcilePlan,
    ScopedConnection,
)
from canonical.saga import Route, WorkItem, WorkItemKind
from policies.bundle import Bundle
from policies.periods import billing_period
from policies.reconciling import judge, period_days, periods_back
from policies.reconciling_schema import Reconciling
from store import Store
from store.conserving import OURS
from store.reconciliation import PARK, Judgement, Scope
from store.reconciling_staging import ScratchLost

PAGE: Final = 500
"""Candidates judged, or findings mended, between two heartbeats."""
STEP: Final = "reconcile"


class HealingRefused(Exception):
    """A finding can't be mended now; the message says why."""


@dataclass(frozen=True)
class Healer:
    """Drives the product's own sagas; nothing here writes to a connected system."""

    tell: Callable[[str, str, Sequence[EntryRef]], Awaitable[None]]
    """Tells a PSA's project that entries changed, as the drain does; HealingRefused."""
    look: Callable[[str, str], Awaitable[None]]
    """Has an invoice of a system looked at, as poll and webhooks do; HealingRefused."""


@dataclass(frozen=True)
class ReconcileActivities:
    """The store's side of reconciliation."""

    store: Store
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    route: Callable[[str], Route]
    """How calls to a connection are made, by its name."""
    now: Callable[[], datetime]
    healer: Healer
    psa: str = ""
    """Whose bundle is asked where no PSA is named."""
    crm: str = ""
    """Where deals are sold, unless the bundle says so."""
    connected: frozenset[str] | None = None
    """The connections that there are; None: all that the policies name."""

    @implements(ref.LIST_DUE_RECONCILIATIONS)
    async def list_due_reconciliations(self, wanted: ListDue) -> DueReconciliations:
        """Return what the nightly run compares: the open period of each entity, and some before."""
        bundle = self.bundle(wanted.psa or self.psa)
        back = bundle.policies.reconciling.months_back
        runs = [
            ReconcileInput(
                psa=wanted.psa or bundle.psa_connection,
                legal_entity=code,
                period=period,
                heal=True,
                asked_by="schedule",
            )
            for code, terms in sorted(bundle.policies.billing.entities.items())
            if code in (wanted.legal_entities or (code,))
            for period in periods_back(billing_period(self.now(), terms), back)
        ]
        return DueReconciliations(runs=tuple(runs))

    @implements(ref.OPEN_RECONCILIATION)
    async def open_reconciliation(self, wanted: ReconcileInput) -> ReconcilePlan:
        """Open a run, or resume the one of this scope; say which systems it asks.

        Idempotent: the scope's open run is the same one.
        """
        bundle = self.bundle(wanted.psa or self.psa)
        rules = bundle.policies.reconciling
        if wanted.legal_entity not in bundle.policies.legal_entities:
            raise _refused(f"There is no legal entity {wanted.legal_entity!r} in the policies.")
        try:
            since, until = period_days(wanted.period)
        except ValueError:
            raise _refused(f"{wanted.period!r} is no billing period: write 2026-11.") from None
        psa = wanted.psa or bundle.psa_connection
        connections = self._connections(bundle, psa, wanted)
        now = self.now()
        opened = await self.store.reconciliation.open(
            Scope(psa=psa, legal_entity=wanted.legal_entity, period=wanted.period),
            now=now,
            resume_since=now - timedelta(seconds=rules.resume_within_seconds),
            by=wanted.asked_by,
            heal=wanted.heal,
        )
        tolerance = wanted.tolerance_seconds
        return ReconcilePlan(
            run=opened.run,
            psa=psa,
            legal_entity=wanted.legal_entity,
            period=wanted.period,
            since=since,
            until=until,
            connections=connections,
            heal=wanted.heal,
            tolerance_seconds=-1.0 if tolerance is None else tolerance,
        )

    def _connections(
        self, bundle: Bundle, psa: str, wanted: ReconcileInput
    ) -> tuple[ScopedConnection, ...]:
        entity = bundle.policies.legal_entities[wanted.legal_entity]
        asked = [
            (bundle.crm or self.crm, Role.CRM, ""),
            (psa, Role.PSA, ""),
            (bundle.erp_connection(wanted.legal_entity), Role.ERP, entity.subsidiary),
            (bundle.billing_engine_connection, Role.BILLING_ENGINE, ""),
        ]
        known = {name for name, _, _ in asked if name}
        known &= known if self.connected is None else self.connected
        strange = sorted(set(wanted.connections) - known)
        if strange:
            names = ", ".join(sorted(known))
            raise _refused(f"{strange[0]!r} takes no part for {wanted.legal_entity}: {names} do.")
        return tuple(
            ScopedConnection(
                connection=name, role=role, queue=self.route(name).queue, subsidiary=subsidiary
            )
            for name, role, subsidiary in asked
            if name in known and (not wanted.connections or name in wanted.connections)
        )

    @implements(ref.COMPARE_ROWS)
    async def compare_rows(self, wanted: CompareRows) -> ComparedRows:
        """Compare everything that was listed with the store, kind by kind.

        Idempotent: each comparison replaces what it came to before.
        """
        plan, staging = wanted.plan, self.store.staging
        by_name = {each.connection: each for each in plan.connections}
        wanted_kinds = [
            (by_name[system.connection], each) for system in wanted.listed for each in system.kinds
        ]
        compared: list[Compared] = []
        try:
            async with beating():
                await staging.analyze()
                for of, each in wanted_kinds:
                    done = await staging.compare(plan, of, each.kind, each.rows)
                    compared += [done] if done is not None else []
        except ScratchLost:
            return ComparedRows(lost=True)
        return ComparedRows(compared=tuple(compared))

    @implements(ref.JUDGE_CANDIDATES)
    async def judge_candidates(self, wanted: JudgeCandidates) -> Judged:
        """Turn the run's candidates into findings, close what is no more, and end the run.

        Idempotent: a finding has one key for good.
        """
        plan = wanted.plan
        scope = Scope(psa=plan.psa, legal_entity=plan.legal_entity, period=plan.period)
        async with beating():
            return await self._judge(plan.run, scope, plan, wanted.compared, wanted.failed)

    @implements(ref.HEAL_FINDINGS)
    async def heal_findings(self, wanted: HealFindings) -> Healed:
        """Give what can be mended to the product's own sagas; the next run sees whether it helped.

        Idempotent: telling, or looking, twice is as good as once.
        """
        rules = self.bundle(wanted.plan.psa).policies.reconciling
        done, after = Counter[bool](), 0
        async with beating():
            while page := await self.store.reconciliation.healable(wanted.plan.run, after, PAGE):
                after = page[-1].id
                for finding in page:
                    if finding.code in rules.heal:
                        done[await self._try(finding)] += 1
        return Healed(healed=done[True], refused=done[False])

    async def _try(self, finding: Finding) -> bool:
        """Mend a finding and put down how; return whether it was taken."""
        try:
            how, taken = await self._heal(finding), True
        except HealingRefused as error:
            how, taken = f"refused: {error}", False
        await self.store.reconciliation.healed(finding.id, how)
        return taken

    async def _heal(self, finding: Finding) -> str:
        if finding.healing is Healing.TELL:
            kind, _, id_ = finding.record_id.partition("/")
            entry = EntryRef(kind=EntryKind(kind), id=id_)
            await self.healer.tell(finding.psa, finding.project_id, (entry,))
            return f"told project {finding.project_id}"
        system, invoice = _invoice_of(finding)
        await self.healer.look(system, invoice)
        return f"had invoice {system}/{invoice} looked at"

    @implements(ref.CHECK_CONSERVATION)
    async def check_conservation(self, _wanted: CheckConservation) -> ConservationChecked:
        """Compare the store with itself, and open a work item for each break.

        Idempotent: as for every run.
        """
        now = self.now()
        opened = await self.store.reconciliation.open(
            Scope(), now=now, resume_since=now, by=CONSERVATION, heal=False
        )
        async with beating():
            found = await self.store.conserving.check(opened.run)
            compared = Compared(connection=OURS, kind=CONSERVATION, rows=0, differences=found)
            judged = await self._judge(opened.run, Scope(), None, (compared,), {})
        return ConservationChecked(run=opened.run, findings=judged.findings, closed=judged.closed)

    async def _judge(
        self,
        run: int,
        scope: Scope,
        plan: ReconcilePlan | None,
        compared: Sequence[Compared],
        failed: dict[str, str],
    ) -> Judged:
        rules = self.bundle(scope.psa or self.psa).policies.reconciling
        reconciliation, now = self.store.reconciliation, self.now()
        findings, queued, after = 0, 0, 0

        def item(finding: Finding) -> WorkItem:
            return _work_item(finding, rules, now)

        while page := await self.store.staging.candidates(run, after, PAGE):
            after = page[-1].id
            judged = [(each, _judgement(each, rules, now, plan)) for each in page]
            left = rules.queued_at_most - queued
            queued += await reconciliation.put(run, scope, judged, item, now=now, may_queue=left)
            findings += len(judged)
        closed = await reconciliation.close_gone(run, scope, compared, now=now)
        await reconciliation.end(run, compared, failed, now=now)
        await self.store.staging.clear(run)
        return Judged(findings=findings, queued=queued, closed=closed)


def _judgement(
    candidate: Candidate, rules: Reconciling, now: datetime, plan: ReconcilePlan | None
) -> Judgement:
    given = plan.tolerance_seconds if plan is not None else 0.0
    verdict = judge(
        candidate,
        rules,
        now,
        tolerance_seconds=None if given < 0 else given,
        heal=plan is not None and plan.heal,
    )
    return Judgement(
        class_=verdict.class_,
        explanation=verdict.explanation,
        remedy=verdict.remedy,
        healing=verdict.healing,
        queue=verdict.queue,
    )


def _work_item(finding: Finding, rules: Reconciling, now: datetime) -> WorkItem:
    """Return the work item of a finding; each opening of it has one of its own."""
    amount = "" if finding.amount is None else f"{finding.amount:f} {finding.currency}".strip()
    return WorkItem(
        id=f"finding-{finding.id}-{finding.opens}",
        workflow_id=reconcile_id(finding.psa, finding.legal_entity, finding.period),
        generation=1,
        step=STEP,
        key=finding.key[:400],
        park=PARK,
        kind=WorkItemKind.FINDING,
        failure=FailureDetail(
            kind=FailureKind.REJECTED,
            reason=finding.code.value,
            message=f"{finding.explanation} {finding.remedy}".strip(),
            system=finding.system,
            owner=finding.system,
        ),
        title=f"{finding.name}: {finding.code} in {finding.system}",
        client_id=finding.client_id,
        project_code=finding.project_id,
        legal_entities=(finding.legal_entity,) if finding.legal_entity else (),
        amount=amount,
        connection=finding.system,
        opened_at=now,
        respond_by=now + timedelta(seconds=rules.respond_seconds),
    )


def _invoice_of(finding: Finding) -> tuple[str, str]:
    """Return the issued invoice that a finding is about: itself, or what a mirror mirrors."""
    for row in finding.rows:
        if row.type == "invoice" and row.system not in {OURS, finding.psa}:
            return row.system, row.id
    if finding.record_type == "invoice" and finding.system != finding.psa:
        return finding.system, finding.record_id
    raise HealingRefused("it names no invoice that is followed here")


def _refused(message: str) -> Exception:
    detail = FailureDetail(kind=FailureKind.REJECTED, reason="invalid", message=message)
    return final(detail)
