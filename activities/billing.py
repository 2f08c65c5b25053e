"""What BillingRun does in the PSA and in the subledger: take in, claim, rate, reserve, place.

Steps that only work in the store run on the PSA's queue: they come between its calls anyway.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from activities.attempt import attempt
from activities.batches import batches_of
from activities.engaging import engaged
from activities.leads import note_lead
from activities.ports import Ports
from activities.registration import implements
from activities.retainers import schedules_of
from activities.steps import StepRunner, own_id
from adapters.errors import Invalid
from canonical import activities as ref
from canonical.billing import AccountingPeriod, Reservation, ReserveEntries
from canonical.entries import Entry, EntryRef
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import external_id, step_key
from canonical.rating import Rated
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult, WriteOutcome
from canonical.saga import Route, StepCall, UndoCall
from canonical.time_to_billing import (
    BillingRunPlan,
    CheckReservation,
    ClaimEntries,
    Counted,
    HandOver,
    PlaceParts,
    PlanBillingRun,
    Postings,
    PreparePostings,
    ProjectPeriod,
    RatedRun,
    RateEntries,
    ReserveRun,
    TakeIn,
    TakenIn,
    Verified,
    VerifyEntries,
)
from policies.allocation import allocate
from policies.bundle import Bundle
from policies.periods import held_if_closed
from policies.rating import Before, MasterData, rate
from policies.run_plan import plan_billing_run
from store.placing import RatedRef

SUBLEDGER = "subledger"
"""The system of what Dealthread itself keeps, in receipts."""
_AS_CLAIMED = (
    "Every entry is approved and as it was claimed, and on no invoice: retry, or roll the run back."
)
TAKE_IN_MAX = 5_000
"""Entries that one run reads at most; what is left waits for the next."""


@dataclass(frozen=True)
class BillingActivities:
    """The PSA's and the subledger's side of a billing run."""

    runner: StepRunner
    ports: Ports
    bundle: Callable[[str], Bundle]
    """By PSA connection: the approved policy bundle."""
    now: Callable[[], datetime]
    routed: Callable[[Route], Route] = lambda route: route

    @implements(ref.PLAN_BILLING_RUN)
    async def plan_billing_run(self, call: StepCall[PlanBillingRun]) -> BillingRunPlan:
        """Find the engagement that bills the project, and say who is asked for what.

        Key: none needed, the last plan stands. A project without an engagement parks here.
        """
        store, of = self.runner.store, call.request.of
        async with attempt(store, call):
            bundle = self.bundle(of.psa)
            versions = await engaged(store, of.psa, of.project_id, bundle)
            plan = plan_billing_run(of, versions, bundle, self.now())
            routes = {name: self.routed(route) for name, route in plan.routes.items()}
            plan = plan.model_copy(update={"routes": routes})
            await store.sagas.save_plan(
                call.workflow_id, call.generation, plan.model_dump_json(), plan.bundle
            )
            return plan

    @implements(ref.TAKE_IN)
    async def take_in(self, call: StepCall[TakeIn]) -> TakenIn:
        """Read what changed in the PSA and put it into the subledger as it is now.

        Key: none needed. The same reading twice changes nothing; what is noted again while it is
        read stays on the list.
        """
        store, of = self.runner.store, call.request.of
        async with attempt(store, call):
            noted = await store.changes.noted(of.psa, of.project_id, TAKE_IN_MAX)
            if not noted.entries:
                return TakenIn()
            seen_at = self.now()
            entries = await self.ports.psa(of.psa).read_entries(noted.entries)
            mine = [entry for entry in entries if entry.project_id == of.project_id]
            taken = await store.entries.take_in(mine, seen_at)
            gone = tuple(set(noted.entries) - {entry.ref for entry in mine})
            if gone:
                lost = await store.entries.vanished(of.psa, gone, seen_at, of.project_id)
                taken = _sum(taken, lost)
            await store.changes.forget(of.psa, of.project_id, noted.until)
            await note_lead(store, self.ports.psa(of.psa), of.psa, of.project_id, seen_at)
            return taken.model_copy(update={"read": len(noted.entries)})

    @implements(ref.CLAIM_ENTRIES)
    async def claim_entries(self, call: StepCall[ClaimEntries]) -> Receipt:
        """Take every approved entry that nothing holds. Key: the run. Undo: gives them back."""
        store, request = self.runner.store, call.request

        async def claim() -> RecordRef:
            await store.runs.claim(
                request.run,
                request.of.psa,
                request.of.project_id,
                request.of.period,
                generation=call.generation,
            )
            return _of_run(request.run)

        return await self.runner.create(call, _nothing, claim)

    @implements(ref.UNDO_CLAIM_ENTRIES)
    async def undo_claim_entries(self, call: UndoCall[ClaimEntries]) -> UndoReceipt:
        """Give the entries back: approved again, or what the PSA made of them meanwhile."""

        async def release(_record: RecordRef | None) -> UndoReceipt:
            await self.runner.store.runs.release(call.request.run, call.generation)
            return UndoReceipt(result=UndoResult.RESTORED, record=_of_run(call.request.run))

        return await self.runner.undo_create(call, release)

    @implements(ref.RATE_ENTRIES)
    async def rate_entries(self, call: StepCall[RateEntries]) -> RatedRun:
        """Rate what was claimed; what lacks something leaves the run, held with the reason.

        Key: the run; rated once, the same answer again.
        """
        store, request = self.runner.store, call.request
        run, of = request.run, request.of
        async with attempt(store, call):
            claimed = await store.runs.claim(
                run, of.psa, of.project_id, of.period, generation=call.generation
            )
            found = await store.runs.rated(run)
            if not found and claimed.count:
                found = await self._rated(run, await store.runs.load(run), of)
            rated = await store.runs.store_rated(run, found)
            return rated.model_copy(update={"left": claimed.left})

    async def _rated(
        self, run: str, entries: Sequence[Entry], of: ProjectPeriod
    ) -> tuple[Rated, ...]:
        """Rate entries by what the store knows of contract, people, exchange and earlier runs."""
        store, policies = self.runner.store, self.bundle(of.psa).policies
        versions = await store.engagements.of_project(of.psa, of.project_id)
        currencies = {line.currency for version in versions for line in version.lines}
        currencies |= {entity.currency for entity in policies.legal_entities.values()}
        master = MasterData(
            engagements=versions,
            workers=await store.master.workers(
                [entry.person_email for entry in entries], self.bundle(of.psa).hcm_connection
            ),
            exchange_rates=await store.master.rates(sorted(currencies)),
        )
        before = Before(
            known_expenses=await store.entries.known_expenses(of.psa, of.project_id),
            corrected=await store.corrections.entries(of.psa, entries),
            accepted=await store.corrections.accepted(of.psa, [entry.ref for entry in entries]),
        )
        days = {entry.ref: entry.service_date for entry in entries}
        periods = await self._periods(run, of)
        return tuple(
            held_if_closed(each, days[each.ref], policies, periods)
            for each in rate(entries, master, policies, of.period, before)
        )

    async def _periods(
        self, run: str, of: ProjectPeriod
    ) -> dict[str, tuple[AccountingPeriod, ...]]:
        """Return the posting periods that the run read, by legal entity."""
        bundle, read = self.bundle(of.psa), await self.runner.store.periods.of_run(run)
        return {
            code: read.get((bundle.erp_connection(code), entity.subsidiary), ())
            for code, entity in bundle.policies.legal_entities.items()
        }

    @implements(ref.RESERVE_ENTRIES)
    async def reserve_entries(self, call: StepCall[ReserveRun]) -> Receipt:
        """Reserve the run's entries in the PSA, in one write. Key: the step. Undo: frees them.

        Refused because somebody changed them since the claim, nothing is reserved: `verify_entries`
        says which, and the run rolls back without asking anybody. Refused although all is as
        claimed again, it is tried once more.
        """
        store, request, ours = self.runner.store, call.request, own_id(call)
        psa = self.ports.psa(request.connection)
        rated = await store.runs.rated_refs(request.run)

        async def find() -> RecordRef | None:
            found = await psa.find_reservation(ours)
            return None if found is None else found.record

        async def reserve() -> RecordRef | Receipt:
            wanted = ReserveEntries(
                connection=request.connection,
                project=request.project,
                entries=tuple(each.ref for each in rated),
                on=request.on,
                title=request.title,
            )
            try:
                made: Reservation = await psa.reserve_entries(ours, wanted)
            except Invalid:
                if await self._differing(rated, request.connection, reservation=""):
                    return _not_reserved(request.connection)
                # By now all is as claimed: un-approved, say, and approved again in between.
                try:
                    made = await psa.reserve_entries(ours, wanted)
                except Invalid as error:
                    error.message = f"{error.message} {_AS_CLAIMED}"
                    raise
            return made.record

        receipt = await self.runner.create(call, find, reserve)
        await store.runs.reserved(request.run, receipt.record.id)
        return receipt

    @implements(ref.UNDO_RESERVE_ENTRIES)
    async def undo_reserve_entries(self, call: UndoCall[ReserveRun]) -> UndoReceipt:
        """Free the entries in the PSA."""
        psa, ours = self.ports.psa(call.request.connection), own_id(call)
        receipt = await self.runner.undo_create(
            call, lambda record: psa.remove_reservation(ours, record)
        )
        if not receipt.look_again:
            await self.runner.store.runs.reserved(call.request.run, "")
        return receipt

    @implements(ref.VERIFY_ENTRIES)
    async def verify_entries(self, call: StepCall[VerifyEntries]) -> Verified:
        """Read the reserved entries again; from here on nobody else can change them.

        Key: none needed. Says which are not what was claimed: changed, un-approved, gone, held, or
        on another reservation.
        """
        store, request, of = self.runner.store, call.request, call.request.of
        async with attempt(store, call):
            wanted = await store.runs.rated_refs(request.run)
            rated = {each.ref for each in wanted}
            reservation = await store.runs.reservation(request.run)
            changed = (
                await self._differing(wanted, of.psa, reservation) if reservation else {*rated}
            )
            changed |= {*await store.runs.changed(request.run)} & rated
            if changed:
                await store.changes.note(of.psa, of.project_id, tuple(changed))
            return Verified(changed=_in_order(changed))

    async def _differing(
        self, rated: Sequence[RatedRef], psa: str, reservation: str
    ) -> set[EntryRef]:
        """Return which rated entries the PSA has otherwise: changed, not approved, elsewhere."""
        read = await self.ports.psa(psa).read_entries(tuple(each.ref for each in rated))
        now = {entry.ref: entry for entry in read}
        return {
            each.ref
            for each in rated
            if (entry := now.get(each.ref)) is None
            or not entry.approved
            or entry.version != each.version
            or entry.reservation_id != reservation
        }

    @implements(ref.PLACE_PARTS)
    async def place_parts(self, call: StepCall[PlaceParts]) -> Receipt:
        """Give every part its disposition under the locks of caps and retainers.

        Key: the run. Undo: gives back what they consumed.
        """
        store, run, of = self.runner.store, call.request.run, call.request.of
        origins = await store.corrections.origins(of.psa, await store.runs.corrected(run))
        schedules = schedules_of(self.bundle(of.psa), self.now())

        async def place() -> RecordRef:
            await store.runs.place(
                run, partial(allocate, origins=origins), call.request.on, schedules
            )
            return _of_run(run)

        return await self.runner.create(call, _nothing, place)

    @implements(ref.UNDO_PLACE_PARTS)
    async def undo_place_parts(self, call: UndoCall[PlaceParts]) -> UndoReceipt:
        """Take the parts back, with all that they consumed."""

        async def unplace(_record: RecordRef | None) -> UndoReceipt:
            await self.runner.store.runs.unplace(call.request.run)
            return UndoReceipt(result=UndoResult.REMOVED, record=_of_run(call.request.run))

        return await self.runner.undo_create(call, unplace)

    @implements(ref.PREPARE_POSTINGS)
    async def prepare_postings(self, call: StepCall[PreparePostings]) -> Postings:
        """Make the batches that the ERPs get, once: a retry sends the same.

        Key: the run and its generation.
        """
        store, request = self.runner.store, call.request
        run, of = request.run, request.of
        async with attempt(store, call):
            bundle = self.bundle(of.psa)
            versions = await store.engagements.of_project(of.psa, of.project_id)
            batches = batches_of(
                await store.runs.load(run),
                await store.runs.placed(run),
                versions,
                bundle,
                await self._periods(run, of),
            )
            await store.runs.prepare(run, [batch.prepared for batch in batches])
            return Postings(batches=tuple(batch.told for batch in batches))

    @implements(ref.CHECK_RESERVATION)
    async def check_reservation(self, call: StepCall[CheckReservation]) -> Counted:
        """Look at the reservation again, just before the pivot, by one call.

        Key: none needed. The draft may have been deleted since `verify_entries`, or entries taken
        off it; what is on it nobody can change.
        """
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            rated = {each.ref for each in await store.runs.rated_refs(request.run)}
            key = step_key(call.workflow_id, call.generation, ref.RESERVE_ENTRIES.name)
            ours = external_id(key)
            found = await self.ports.psa(request.connection).find_reservation(ours)
            known = await store.runs.reservation(request.run)
            on_it = found.entries if found is not None and found.record.id == known else ()
            gone = rated - {*on_it}
            if gone:
                raise StepFailed(_reservation_gone(request.connection, len(gone)))
            return Counted(count=len(rated))

    @implements(ref.HAND_OVER)
    async def hand_over(self, call: StepCall[HandOver]) -> Receipt:
        """Let drafting take the run's lines: the pivot. Key: the run. No undo."""
        store, run = self.runner.store, call.request.run

        async def hand_over() -> RecordRef:
            await store.runs.hand_over(run)
            return _of_run(run)

        return await self.runner.create(call, _nothing, hand_over)


async def _nothing() -> None:
    """Acts on the subledger are idempotent by themselves: there is nothing to look for."""


def _of_run(run: str) -> RecordRef:
    return RecordRef(system=SUBLEDGER, type="billing_run", id=run)


def _not_reserved(connection: str) -> Receipt:
    record = RecordRef(system=connection, type="reservation", id="")
    return Receipt(record=record, outcome=WriteOutcome.SKIPPED)


def _reservation_gone(connection: str, count: int) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="reservation_gone",
        message=(
            f"{count} entries are no longer reserved for this run in {connection}: somebody took "
            "them off the draft invoice, or deleted it. Roll back; the next run reserves anew."
        ),
        system=connection,
    )


def _in_order(refs: set[EntryRef]) -> tuple[EntryRef, ...]:
    return tuple(sorted(refs, key=str))


def _sum(one: TakenIn, other: TakenIn) -> TakenIn:
    fields = TakenIn.model_fields
    return TakenIn(**{name: getattr(one, name) + getattr(other, name) for name in fields})
