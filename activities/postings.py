"""What BillingRun does in an ERP: read its terms, post charges and cost, take them back."""

from collections.abc import Sequence
from dataclasses import dataclass

from activities.attempt import attempt
from activities.ports import Ports
from activities.posting_kinds import CHARGES, COSTS, Batch, Line, LineKind, Posted, Wanted
from activities.registration import implements
from activities.steps import StepRunner
from adapters.errors import OutcomeUnknown
from canonical import activities as ref
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import step_key
from canonical.money import Money
from canonical.records import Receipt, RecordRef, UndoReceipt, WriteOutcome
from canonical.saga import StepCall, UndoCall
from canonical.time_to_billing import (
    CheckPostings,
    Counted,
    PostBatch,
    ReadErpTerms,
    RunRequest,
)

NAMED_MAX = 3
"""Invoices that a message names."""


@dataclass(frozen=True)
class PostingActivities:
    """The ERP side of a billing run. A batch is what the store keeps; each line has its own id."""

    runner: StepRunner
    ports: Ports

    @implements(ref.READ_ERP_TERMS)
    async def read_erp_terms(self, call: StepCall[ReadErpTerms]) -> Counted:
        """Read exchange rates and posting periods for the run's entries into the store.

        Key: none needed, the last reading stands.
        """
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            erp = self.ports.erp(request.connection)
            wanted = await store.runs.wanted_terms(request.run)
            periods = []
            for subsidiary in request.subsidiaries:
                for on in wanted.days:
                    period = await erp.read_period(subsidiary, on)
                    if period is not None and not period.open:
                        periods.append((subsidiary, period))
                        period = await erp.read_open_period(subsidiary, on)
                    if period is not None:
                        periods.append((subsidiary, period))
            await store.periods.put(request.run, request.connection, periods)
            rates = (
                await erp.read_exchange_rates(wanted.currencies, wanted.since, wanted.until)
                if len(wanted.currencies) > 1
                else ()
            )
            await store.master.put_exchange_rates(rates)
            return Counted(count=len(rates) + len(periods))

    @implements(ref.POST_CHARGES)
    async def post_charges(self, call: StepCall[PostBatch]) -> Receipt:
        """Post the batch's charges on hold. Key: the step, and each charge's own beneath it.

        What an earlier attempt left is looked up first, and only the others are posted.
        """
        return await self._post(call, CHARGES)

    @implements(ref.UNDO_POST_CHARGES)
    async def undo_post_charges(self, call: UndoCall[PostBatch]) -> UndoReceipt:
        """Delete the batch's charges, or make non-billable what cannot be deleted any more.

        One that is on an invoice is refused: nothing is, once this is done.
        """
        receipt, wanted = await self._take_back(call, CHARGES)
        if not receipt.look_again:
            items = [each.item for each in wanted]
            await self.runner.store.runs.billed_here(call.request.run, items)
        return receipt

    @implements(ref.POST_COSTS)
    async def post_costs(self, call: StepCall[PostBatch]) -> Receipt:
        """Post the batch's hours and expenses as project cost; keys as for charges."""
        return await self._post(call, COSTS)

    @implements(ref.UNDO_POST_COSTS)
    async def undo_post_costs(self, call: UndoCall[PostBatch]) -> UndoReceipt:
        """Take the batch's cost postings back: deleted, or reversed once they are posted."""
        receipt, _ = await self._take_back(call, COSTS)
        return receipt

    @implements(ref.CHECK_POSTINGS)
    async def check_postings(self, call: StepCall[CheckPostings]) -> Counted:
        """Read back every line of the run in this ERP, just before the pivot.

        Key: none needed. A line that somebody deleted or changed parks here, and a charge that the
        ERP's own billing job or a person put on an invoice: while it can all still be mended.
        """
        count = 0
        async with attempt(self.runner.store, call):
            for told in call.request.batches:
                if told.kind == CHARGES.name:
                    count += await self._check(call, CHARGES, told.number)
                else:
                    count += await self._check(call, COSTS, told.number)
        return Counted(count=count)

    async def _check(
        self, call: StepCall[CheckPostings], kind: LineKind[Batch, Line, Posted], number: int
    ) -> int:
        """Return how many lines a batch has, all of them there, equal and free."""
        store, request = self.runner.store, call.request
        batch = await kind.load(store.runs, request.run, number)
        key = step_key(call.workflow_id, call.generation, kind.step, str(number))
        wanted = kind.wanted(key, batch)
        found = await kind.find(
            self.ports.erp(request.connection), tuple(want.id for want in wanted)
        )
        there: dict[str, Posted] = {each.external_id: each for each in found}
        items: dict[str, str] = {want.id: want.item for want in wanted}
        taken = {items[id_]: on for id_, each in there.items() if (on := kind.invoice(each))}
        if taken:
            # Before any other difference: an invoice changes what a person should do about it.
            await store.runs.billed_outside(request.run, request.connection, taken)
            raise StepFailed(_billed_outside(request, taken))
        for want in wanted:
            stands = there.get(want.id)
            amount = None if stands is None else kind.found(stands)
            if stands is None or amount != want.amount:
                raise StepFailed(_differs(request, want, amount))
            if kind.loose(stands):
                raise StepFailed(_not_on_hold(request, want))
        if kind.name == CHARGES.name:
            await store.runs.billed_here(request.run, list(items.values()))
        return len(wanted)

    async def _post(
        self, call: StepCall[PostBatch], kind: LineKind[Batch, Line, Posted]
    ) -> Receipt:
        """Bring the whole batch about, whatever earlier attempts left of it."""
        runs, run = self.runner.store.runs, call.request.run
        erp = self.ports.erp(call.request.connection)
        batch = await kind.load(runs, run, call.request.number)
        lines, wanted = kind.lines(batch), kind.wanted(call.key, batch)
        there: dict[str, Posted] = {}

        async def look() -> Receipt | None:
            found = await kind.find(erp, tuple(want.id for want in wanted))
            there.update({each.external_id: each for each in found})
            return _whole(call, wanted, there, kind)

        async def write() -> Receipt:
            missing = [place for place, want in enumerate(wanted) if want.id not in there]
            part = kind.only(batch, tuple(lines[place] for place in missing))
            posted = await kind.post(erp, tuple(wanted[place].id for place in missing), part)
            there.update({each.external_id: each for each in posted})
            receipt = _whole(call, wanted, there, kind)
            if receipt is None:
                # Looked up again after the settle time, like any write without a whole answer.
                system = call.request.connection
                raise OutcomeUnknown(f"{system} confirmed {len(there)} of {len(wanted)} lines.")
            return receipt

        receipt = await self.runner.create(call, look, write)
        await kind.put_down(runs, run, {want.item: want.id for want in wanted})
        return receipt

    async def _take_back(
        self, call: UndoCall[PostBatch], kind: LineKind[Batch, Line, Posted]
    ) -> tuple[UndoReceipt, list[Wanted]]:
        runs, run = self.runner.store.runs, call.request.run
        erp = self.ports.erp(call.request.connection)
        wanted = kind.wanted(call.key, await kind.load(runs, run, call.request.number))
        ids = tuple(want.id for want in wanted)
        receipt = await self.runner.undo_create(call, lambda _record: kind.remove(erp, ids))
        if not receipt.look_again:
            await kind.take_off(runs, run, ids)
        return receipt, wanted


def _whole(
    call: StepCall[PostBatch],
    wanted: Sequence[Wanted],
    there: dict[str, Posted],
    kind: LineKind[Batch, Line, Posted],
) -> Receipt | None:
    """Return the receipt once every line is there, and equal to the cent."""
    if not all(want.id in there for want in wanted):
        return None
    for want in wanted:
        found = kind.found(there[want.id])
        if found != want.amount:
            raise StepFailed(_differs(call.request, want, found))
    record = RecordRef(
        system=call.request.connection, type="posting_batch", id=str(call.request.number)
    )
    return Receipt(record=record, outcome=WriteOutcome.CREATED)


def _differs(request: RunRequest, want: Wanted, found: Money | None) -> FailureDetail:
    stands = f"stands in {request.connection} at {found}, and should be {want.amount}"
    gone = f"is gone from {request.connection}, where it stood at {want.amount}"
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="posting_gone" if found is None else "amount_differs",
        message=(
            f"Line {want.item} {gone if found is None else stands}: "
            "correct it there and retry, or roll the run back and bill anew."
        ),
        system=request.connection,
        field=want.item,
    )


def _not_on_hold(request: RunRequest, want: Wanted) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="not_on_hold",
        message=(
            f"Line {want.item} is no longer on hold in {request.connection}, where a billing job "
            "may take it before it is released: put it on hold again there, then retry."
        ),
        system=request.connection,
        field=want.item,
    )


def _billed_outside(request: RunRequest, taken: dict[str, str]) -> FailureDetail:
    invoices = sorted(set(taken.values()))
    more = f" and {len(invoices) - NAMED_MAX} more" if len(invoices) > NAMED_MAX else ""
    named = ", ".join(invoices[:NAMED_MAX]) + more
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="billed_outside",
        message=(
            f"{len(taken)} charges of this run are on invoice {named} of {request.connection} "
            "already, which Dealthread did not make. Finance deletes or voids it there, so that "
            "the charges are free, then retry or roll back; while it stands both are refused, "
            "and the entries are held so that nobody pays twice. Native billing jobs should be "
            "off for this project."
        ),
        system=request.connection,
        field=invoices[0],
    )
