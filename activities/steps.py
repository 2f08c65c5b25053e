"""How a `do` and an `undo` use the ledger (DESIGN 3.2-3.4), the same for every step.

do:    recall → look → claim (before-image first) → write → record
undo:  recall → (look and remove, or compare and restore) → record

A claim is refused once the generation is closed, so our own late attempt cannot write after its
undo. What a look finds under our key counts as created, whichever attempt made it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, overload

from activities.attempt import Attempt, attempt, ledger_attempt, undo_key
from activities.failures import again
from canonical.failures import FailureDetail, FailureKind
from canonical.ids import ExternalId, external_id
from canonical.provisioning import StepRequest
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult, WriteOutcome
from canonical.saga import StepCall, UndoCall
from store import Store
from store.ledger import Recalled
from store.shared import SharedRecord

R = TypeVar("R", bound=StepRequest)

LEASE_SECONDS = 90.0
LEASE_RETRY_SECONDS = 0.5

Find = Callable[[], Awaitable[Receipt | RecordRef | None]]
Write = Callable[[], Awaitable[Receipt | RecordRef]]
Read = Callable[[], Awaitable[str]]
Put = Callable[[str], Awaitable[RecordRef]]
Remove = Callable[[RecordRef | None], Awaitable[UndoReceipt]]

BUSY = FailureDetail(
    kind=FailureKind.RATE_LIMITED,
    reason="shared_record_busy",
    message="Another saga is working on the same shared record.",
)

SETTLING = FailureDetail(
    kind=FailureKind.UNKNOWN,
    reason="settling",
    message="An earlier write was not answered; its effect may still appear.",
    outcome_unknown=True,
)


@dataclass(frozen=True)
class StepRunner:
    """Runs the writes of steps and their undos over one store."""

    store: Store

    async def create(self, call: StepCall[R], find: Find, write: Write) -> Receipt:
        """Create what the request asks for, once, whatever earlier attempts did."""
        async with attempt(self.store, call) as this:
            seen = await self._recall(call.key, call.round, this)
            if seen is not None and seen.done is not None:
                return seen.done
            found = await find()
            if found is None:
                await self._nothing_there(call, this, seen)
                await self._claim(call, this, None)
                found = await write()
            return await self._done(call, this, as_receipt(found, WriteOutcome.CREATED))

    async def share(
        self,
        call: StepCall[R],
        shared_key: str,
        existing: RecordRef | None,
        find: Find,
        write: Write,
    ) -> Receipt:
        """Create a shared record unless it is there, and register this saga's use of it."""
        shared = self.store.shared
        connection = call.request.connection
        async with attempt(self.store, call) as this:
            seen = await self._recall(call.key, call.round, this)
            if seen is not None and seen.done is not None:
                return seen.done
            me = (call.workflow_id, call.generation)
            known = await shared.enter(shared_key, connection, call.key, me, LEASE_SECONDS)
            if known is None:
                raise again(BUSY, LEASE_RETRY_SECONDS)
            try:
                receipt = await self._shared(call, this, seen, known, existing, find, write)
            except BaseException:
                await shared.release(shared_key, connection, call.key)
                raise
            creator = me if receipt.outcome is WriteOutcome.CREATED else None
            await shared.record(shared_key, connection, receipt.record, creator, owner=call.key)
            return await self._done(call, this, receipt)

    async def _shared(
        self,
        call: StepCall[R],
        this: Attempt,
        seen: Recalled | None,
        known: SharedRecord,
        existing: RecordRef | None,
        find: Find,
        write: Write,
    ) -> Receipt:
        """Find or write a shared record, and tell whose it is.

        What carries our key was created by us: by this saga unless another is known for it.
        """
        creator = known.created_by
        mine = creator is not None and creator.workflow_id == call.workflow_id
        recorded = known.record is not None
        found = Receipt(record=existing, outcome=WriteOutcome.EXISTING) if existing else None
        found = found or as_receipt(await find(), WriteOutcome.CREATED)
        if found is None:
            await self._nothing_there(call, this, seen)
            await self._claim(call, this, None)
            return as_receipt(await write(), WriteOutcome.CREATED)
        foreign = found.outcome is WriteOutcome.EXISTING and not this.maybe_written
        if mine or not (foreign or recorded):
            return found.model_copy(update={"outcome": WriteOutcome.CREATED})
        return found.model_copy(update={"outcome": WriteOutcome.EXISTING})

    async def update(self, call: StepCall[R], wanted: str, read: Read, put: Put) -> Receipt:
        """Bring one value to `wanted`, keeping what stood there before."""
        async with attempt(self.store, call) as this:
            seen = await self._recall(call.key, call.round, this)
            if seen is not None and seen.done is not None:
                return seen.done
            current = await read()
            ours = seen is not None and seen.before_image is not None
            if current == wanted:
                outcome = WriteOutcome.UPDATED if ours else WriteOutcome.EXISTING
                record = RecordRef(system=call.request.connection, type="value", id=wanted)
                return await self._done(call, this, Receipt(record=record, outcome=outcome))
            await self._nothing_there(call, this, seen)
            await self._claim(call, this, current)
            record = await put(wanted)
            return await self._done(
                call, this, Receipt(record=record, outcome=WriteOutcome.UPDATED)
            )

    async def undo_create(self, call: UndoCall[R], remove: Remove) -> UndoReceipt:
        """Remove what the step created; what it did not create stays."""
        async with attempt(self.store, call, undo=True) as this:
            seen = await self._recall_undo(call, this)
            settled = await self._settled(call, seen)
            if settled is not None:
                return settled
            record = _record(call, seen)
            return await self._undone(call, seen, await remove(record))

    async def unshare(self, call: UndoCall[R], shared_key: str, remove: Remove) -> UndoReceipt:
        """Drop this saga's use of a shared record; remove it if it was ours and nobody's else."""
        shared = self.store.shared
        connection = call.request.connection
        async with attempt(self.store, call, undo=True) as this:
            seen = await self._recall_undo(call, this)
            if seen is not None and seen.undone is not None:
                return seen.undone
            if not await shared.lease(shared_key, connection, call.key, LEASE_SECONDS):
                raise again(BUSY, LEASE_RETRY_SECONDS)
            try:
                left = await shared.drop_use(
                    shared_key, connection, call.workflow_id, call.generation
                )
                perhaps_ours = seen is not None and seen.done is None
                if left.uses or not (left.created_by_dealthread or perhaps_ours):
                    return await self._undone(call, None, UndoReceipt(result=UndoResult.KEPT))
                known = await shared.get(shared_key, connection)
                record = (known.record if known else None) or _record(call, seen)
                removed = await self._undone(call, seen, await remove(record))
                if record is not None and not removed.look_again:
                    await shared.forget(shared_key, connection, record)
                return removed
            finally:
                await shared.release(shared_key, connection, call.key)

    async def undo_update(
        self, call: UndoCall[R], wanted: str, read: Read, put: Put
    ) -> UndoReceipt:
        """Put back what stood there before, unless someone else changed it since."""
        async with attempt(self.store, call, undo=True) as this:
            seen = await self._recall_undo(call, this)
            settled = await self._settled(call, seen)
            if settled is not None:
                return settled
            before = seen.before_image if seen is not None else None
            if before is None:
                return await self._undone(call, None, UndoReceipt(result=UndoResult.ABSENT))
            current = await read()
            if current == before:
                return await self._undone(call, seen, UndoReceipt(result=UndoResult.ABSENT))
            if current != wanted:
                kept = UndoReceipt(
                    result=UndoResult.KEPT, residue="someone else changed it since; left as it is"
                )
                return await self._undone(call, None, kept)
            record = await put(before)
            restored = UndoReceipt(result=UndoResult.RESTORED, record=record)
            return await self._undone(call, None, restored)

    async def _recall(self, key: str, round_: int, this: Attempt) -> Recalled | None:
        seen = await self.store.ledger.recall(key, round_)
        if seen is not None:
            this.number = seen.attempts + 1
            this.maybe_written = seen.outcome_unknown
        return seen

    async def _recall_undo(self, call: UndoCall[R], this: Attempt) -> Recalled | None:
        seen = await self.store.ledger.recall(call.key, call.round)
        tried = await self.store.ledger.recall(undo_key(call.key), call.round)
        this.number = tried.attempts + 1 if tried is not None else 1
        return seen

    async def _settled(self, call: UndoCall[R], seen: Recalled | None) -> UndoReceipt | None:
        """Return the undo's result where the ledger alone decides it."""
        if seen is None:
            return UndoReceipt(result=UndoResult.ABSENT)
        if seen.undone is not None:
            return seen.undone
        receipt = seen.done or call.receipt
        if receipt is not None and receipt.outcome in {
            WriteOutcome.EXISTING,
            WriteOutcome.SKIPPED,
        }:
            kept = UndoReceipt(result=UndoResult.KEPT, record=receipt.record)
            return await self._undone(call, None, kept)
        return None

    async def _nothing_there(self, call: StepCall[R], this: Attempt, seen: Recalled | None) -> None:
        """Before writing again: what was unanswered must have had its time to land.

        After that, nothing found means that nothing was done.
        """
        if seen is None or not seen.outcome_unknown:
            return
        rest = call.route.settle_seconds - (seen.unknown_seconds or 0.0)
        if rest > 0:
            raise again(SETTLING, rest)
        await self.store.ledger.record_absent(call.key, "not there after the settle time")
        this.maybe_written = False

    async def _claim(self, call: StepCall[R], this: Attempt, before: str | None) -> None:
        await self.store.ledger.claim(ledger_attempt(call, this), before)

    async def _done(self, call: StepCall[R], this: Attempt, receipt: Receipt) -> Receipt:
        await self.store.ledger.record_done(ledger_attempt(call, this), receipt)
        return receipt

    async def _undone(
        self, call: UndoCall[R], seen: Recalled | None, receipt: UndoReceipt
    ) -> UndoReceipt:
        unknown = call.outcome_unknown and seen is not None and seen.done is None
        if unknown and receipt.result is UndoResult.ABSENT:
            return receipt.model_copy(update={"look_again": True})
        await self.store.ledger.record_undone(call.key, receipt)
        return receipt


def own_id(call: StepCall[R] | UndoCall[R]) -> ExternalId:
    """Return the external id of what this step creates for this deal alone."""
    return external_id(call.key)


def known(record: RecordRef | None) -> RecordRef:
    """Return what the workflow filled in from an earlier step's receipt."""
    if record is None:
        raise RuntimeError("the workflow sent a request that an earlier step should have completed")
    return record


@overload
def as_receipt(found: None, outcome: WriteOutcome) -> None: ...
@overload
def as_receipt(found: Receipt | RecordRef, outcome: WriteOutcome) -> Receipt: ...
@overload
def as_receipt(found: Receipt | RecordRef | None, outcome: WriteOutcome) -> Receipt | None: ...
def as_receipt(found: Receipt | RecordRef | None, outcome: WriteOutcome) -> Receipt | None:
    """Return what a port answered as a receipt; one that it made itself is kept."""
    if isinstance(found, RecordRef):
        return Receipt(record=found, outcome=outcome)
    return found


def _record(call: UndoCall[R], seen: Recalled | None) -> RecordRef | None:
    receipt = call.receipt or (seen.done if seen else None)
    return receipt.record if receipt else None
