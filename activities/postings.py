"""What BillingRun does in an ERP: read its terms, post charges and cost, take them back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from activities.attempt import attempt
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner
from adapters.errors import OutcomeUnknown
from canonical import activities as ref
from canonical.billing import ChargeBatch, CostBatch, PostedCharge, PostedCost, charge_id
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import ExternalId, external_id, step_key
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

Posted = TypeVar("Posted", PostedCharge, PostedCost)

CHARGES: Final = "charges"
COSTS: Final = "costs"
PORTION: Final = 100
"""Lines of one call to the ERP: what NetSuite takes in a batch (decision 0010)."""


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
        store, erp = self.runner.store, self.ports.erp(call.request.connection)
        batch = await store.runs.batch(call.request.run, CHARGES, call.request.number, ChargeBatch)
        wanted = _wanted(call.key, [(charge.item, charge.amount) for charge in batch.charges])

        async def post(missing: Sequence[int]) -> tuple[PostedCharge, ...]:
            part = batch.model_copy(
                update={"charges": tuple(batch.charges[index] for index in missing)}
            )
            return await erp.post_charges(tuple(wanted[index].id for index in missing), part)

        receipt = await self._post(call, wanted, erp.find_charges, post, lambda found: found.amount)
        await store.runs.charges_posted(
            call.request.run,
            {charge.item: want.id for charge, want in zip(batch.charges, wanted, strict=True)},
        )
        return receipt

    @implements(ref.UNDO_POST_CHARGES)
    async def undo_post_charges(self, call: UndoCall[PostBatch]) -> UndoReceipt:
        """Delete the batch's charges, or make non-billable what cannot be deleted any more."""
        store, erp = self.runner.store, self.ports.erp(call.request.connection)
        batch = await store.runs.batch(call.request.run, CHARGES, call.request.number, ChargeBatch)
        ids = tuple(external_id(charge_id(call.key, charge.item)) for charge in batch.charges)
        receipt = await self.runner.undo_create(call, lambda _record: erp.remove_charges(ids))
        if not receipt.look_again:
            await store.runs.charges_removed(call.request.run, ids)
        return receipt

    @implements(ref.POST_COSTS)
    async def post_costs(self, call: StepCall[PostBatch]) -> Receipt:
        """Post the batch's hours and expenses as project cost; keys as for charges."""
        store, erp = self.runner.store, self.ports.erp(call.request.connection)
        batch = await store.runs.batch(call.request.run, COSTS, call.request.number, CostBatch)
        wanted = _wanted(call.key, [(item.item, item.expected_cost) for item in batch.items])

        async def post(missing: Sequence[int]) -> tuple[PostedCost, ...]:
            part = batch.model_copy(
                update={"items": tuple(batch.items[index] for index in missing)}
            )
            return await erp.post_costs(tuple(wanted[index].id for index in missing), part)

        receipt = await self._post(call, wanted, erp.find_costs, post, lambda found: found.cost)
        await store.runs.costs_posted(
            call.request.run,
            {item.item: want.id for item, want in zip(batch.items, wanted, strict=True)},
        )
        return receipt

    @implements(ref.UNDO_POST_COSTS)
    async def undo_post_costs(self, call: UndoCall[PostBatch]) -> UndoReceipt:
        """Take the batch's cost postings back: deleted, or reversed once they are posted."""
        store, erp = self.runner.store, self.ports.erp(call.request.connection)
        batch = await store.runs.batch(call.request.run, COSTS, call.request.number, CostBatch)
        ids = tuple(external_id(charge_id(call.key, item.item)) for item in batch.items)
        receipt = await self.runner.undo_create(call, lambda _record: erp.remove_costs(ids))
        if not receipt.look_again:
            await store.runs.costs_reversed(call.request.run, ids)
        return receipt

    @implements(ref.CHECK_POSTINGS)
    async def check_postings(self, call: StepCall[CheckPostings]) -> Counted:
        """Read back every line of the run in this ERP, just before the pivot.

        Key: none needed. A line that somebody deleted or changed parks here: while it can all
        still be rolled back.
        """
        store, request = self.runner.store, call.request
        erp = self.ports.erp(request.connection)
        count = 0
        async with attempt(store, call):
            for told in request.batches:
                key = step_key(
                    call.workflow_id, call.generation, f"post_{told.kind}", str(told.number)
                )
                there: dict[str, Money]
                if told.kind == CHARGES:
                    batch = await store.runs.batch(request.run, CHARGES, told.number, ChargeBatch)
                    wanted = _wanted(key, [(each.item, each.amount) for each in batch.charges])
                    charges = await erp.find_charges(tuple(want.id for want in wanted))
                    there = {found.external_id: found.amount for found in charges}
                else:
                    costs = await store.runs.batch(request.run, COSTS, told.number, CostBatch)
                    wanted = _wanted(key, [(each.item, each.expected_cost) for each in costs.items])
                    posted = await erp.find_costs(tuple(want.id for want in wanted))
                    there = {found.external_id: found.cost for found in posted}
                for want in wanted:
                    if there.get(want.id) != want.amount:
                        raise StepFailed(_differs(request, want, there.get(want.id)))
                count += len(wanted)
        return Counted(count=count)

    async def _post(
        self,
        call: StepCall[PostBatch],
        wanted: "Sequence[_Wanted]",
        find: Callable[[tuple[ExternalId, ...]], Awaitable[tuple[Posted, ...]]],
        post: Callable[[Sequence[int]], Awaitable[tuple[Posted, ...]]],
        amount: Callable[[Posted], Money],
    ) -> Receipt:
        """Bring the whole batch about, whatever earlier attempts left of it."""
        ids = tuple(want.id for want in wanted)
        there: dict[str, Posted] = {}

        async def look() -> Receipt | None:
            there.update({found.external_id: found for found in await find(ids)})
            return self._whole(call, wanted, there, amount)

        async def write() -> Receipt:
            missing = [index for index, want in enumerate(wanted) if want.id not in there]
            for first in range(0, len(missing), PORTION):
                portion = missing[first : first + PORTION]
                there.update({posted.external_id: posted for posted in await post(portion)})
            receipt = self._whole(call, wanted, there, amount)
            if receipt is None:
                # Looked up again after the settle time, like any write without a whole answer.
                system = call.request.connection
                raise OutcomeUnknown(f"{system} confirmed {len(there)} of {len(wanted)} lines.")
            return receipt

        return await self.runner.create(call, look, write)

    @staticmethod
    def _whole(
        call: StepCall[PostBatch],
        wanted: "Sequence[_Wanted]",
        there: dict[str, Posted],
        amount: Callable[[Posted], Money],
    ) -> Receipt | None:
        """Return the receipt once every line is there, and equal to the cent."""
        if not all(want.id in there for want in wanted):
            return None
        for want in wanted:
            found = amount(there[want.id])
            if found != want.amount:
                raise StepFailed(_differs(call.request, want, found))
        record = RecordRef(
            system=call.request.connection, type="posting_batch", id=str(call.request.number)
        )
        return Receipt(record=record, outcome=WriteOutcome.CREATED)


@dataclass(frozen=True)
class _Wanted:
    """One line of a batch: its external id, and what it must come to."""

    id: ExternalId
    item: str
    amount: Money


def _wanted(key: str, lines: Sequence[tuple[str, Money]]) -> list[_Wanted]:
    return [_Wanted(external_id(charge_id(key, item)), item, amount) for item, amount in lines]


def _differs(request: RunRequest, want: _Wanted, found: Money | None) -> FailureDetail:
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
