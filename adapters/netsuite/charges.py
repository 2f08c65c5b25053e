"""Charges: what a project owes, posted on hold, until billing makes them ready.

Source: vendor page section 5.6. They are upserted by external id, so a batch that is repeated or
lands late makes none twice.
"""

from collections.abc import Mapping, Sequence

from adapters.errors import AdapterError, OutcomeUnknown, RateLimited, Rejected, Transient
from adapters.netsuite import billing_mapping as mapping
from adapters.netsuite.batch import ITEMS_MAX, Batches
from adapters.netsuite.client import VENDOR
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.periods import Periods
from adapters.netsuite.posting import Post, chunks, post_all, refuse_too_many
from adapters.netsuite.records import RecordService, checked_external_id, refused
from canonical.billing import ChargeBatch, ChargeStage, PostedCharge
from canonical.ids import ExternalId
from canonical.records import UndoReceipt, UndoResult

TYPE = "charge"


class Charges:
    """The charges of one account."""

    def __init__(
        self, records: RecordService, batches: Batches, periods: Periods, config: NetSuiteConfig
    ) -> None:
        """Use the account's records, batches and books."""
        self._records = records
        self._batches = batches
        self._periods = periods
        self._config = config

    async def find(self, external_ids: Sequence[ExternalId]) -> tuple[PostedCharge, ...]:
        """Return those that exist, in the order asked for; one query for each 500."""
        found: dict[str, PostedCharge] = {}
        for chunk in chunks([checked_external_id(each) for each in external_ids]):
            for row in await self._records.query(mapping.charge_query(chunk), "look for charges"):
                posted = PostedCharge(
                    record=self._records.record(TYPE, row.get("id")),
                    external_id=str(row.get("externalid")),
                    amount=mapping.money_from(row, "amount", "currency", self._config),
                    stage=mapping.stage_from(row),
                    invoice_id=str(row.get("invoice") or ""),
                )
                found[posted.external_id] = posted
        return tuple(found[each] for each in external_ids if each in found)

    async def post(
        self, external_ids: Sequence[ExternalId], batch: ChargeBatch
    ) -> tuple[PostedCharge, ...]:
        """Post the charges on hold, 100 a batch; the periods are looked at once."""
        act = "post charges"
        refuse_too_many(external_ids, act)
        bodies: dict[ExternalId, Mapping[str, object]] = {
            external_id: mapping.charge_body(external_id, charge, batch, self._config)
            for external_id, charge in zip(external_ids, batch.charges, strict=True)
        }
        if not bodies:
            return ()
        names = {id_: charge.item for id_, charge in zip(external_ids, batch.charges, strict=True)}
        await self._periods.refuse_closed((charge.on for charge in batch.charges), act)
        return await post_all(self._batches, Post("PUT", TYPE, act, bodies, names), self.find)

    async def set_ready(
        self, external_ids: Sequence[ExternalId], ready: bool
    ) -> tuple[PostedCharge, ...]:
        """Move charges between on hold and ready, as batches; those that are there are left.

        Raises:
            Rejected: one is gone, non-billable or on an invoice, or NetSuite refuses it.
            ClosedPeriod: NetSuite refuses one for its date.
            OutcomeUnknown: it is not known what became of one.
        """
        act = "make charges ready" if ready else "put charges on hold"
        wanted = ChargeStage.READY if ready else ChargeStage.HOLD
        found = {each.external_id: each for each in await self.find(external_ids)}
        for id_ in external_ids:
            _check_movable(id_, found.get(id_), act)
        waiting = [found[each] for each in external_ids if found[each].stage is not wanted]
        refusals: list[AdapterError] = []
        for chunk in chunks(waiting, ITEMS_MAX):
            refusals += await self._move(chunk, wanted, act)
        there = await self._after(external_ids, act) if waiting else tuple(found.values())
        settled = {each.external_id: each for each in there if each.stage is wanted}
        if any(each not in settled for each in external_ids):
            raise refusals[0] if refusals else _not_seen(act)
        return tuple(settled[each] for each in external_ids)

    async def _move(
        self, charges: Sequence[PostedCharge], stage: ChargeStage, act: str
    ) -> list[AdapterError]:
        items = [
            {"id": each.record.id, "stage": {"id": mapping.STAGE_NAMES[stage]}} for each in charges
        ]
        # Anew: the same charges may have gone this way before, and back since.
        job = await self._batches.write("PATCH", TYPE, items, act, anew=True)
        refusals = await self._batches.refusals(job, act) if job.failed else []
        for refusal in refusals:
            name = charges[refusal.place].external_id if refusal.place < len(charges) else ""
            refusal.error.message = f"{name}: {refusal.error.message}"
        return [refusal.error for refusal in refusals]

    async def _after(
        self, external_ids: Sequence[ExternalId], act: str
    ) -> tuple[PostedCharge, ...]:
        try:
            return await self.find(external_ids)
        except (Transient, RateLimited) as error:
            text = f"It was written, but cannot be read back: {error.message}"
            raise OutcomeUnknown(text, vendor=VENDOR, operation=act) from error

    async def remove(self, external_ids: Sequence[ExternalId]) -> UndoReceipt:
        """Delete the charges; what cannot be deleted is never billed.

        Raises:
            UndoRefused: one of them is on an invoice; it has to be credited instead.
        """
        found = await self._free(external_ids)
        if not found:
            return UndoReceipt(result=UndoResult.ABSENT)
        ids = [charge.record.id for charge in found]
        for chunk in chunks(ids, 100):
            await self._batches.delete(TYPE, chunk, "remove charges")
        left = await self._free(external_ids)
        if not left:
            return UndoReceipt(result=UndoResult.REMOVED, record=found[0].record)
        await self._never_bill(
            [each for each in left if each.stage is not ChargeStage.NON_BILLABLE]
        )
        return UndoReceipt(
            result=UndoResult.DEACTIVATED,
            record=left[0].record,
            residue=f"{len(left)} charges are in use: made non-billable instead of deleted",
        )

    async def _free(self, external_ids: Sequence[ExternalId]) -> tuple[PostedCharge, ...]:
        found = await self.find(external_ids)
        for charge in found:
            if charge.invoice_id:
                text = f"Charge {charge.record.id} is on invoice {charge.invoice_id}."
                raise refused(Rejected(text), TYPE, charge.record.id)
        return found

    async def _never_bill(self, charges: Sequence[PostedCharge]) -> None:
        items = [{"id": each.record.id, "stage": {"id": "NON_BILLABLE"}} for each in charges]
        act = "make charges non-billable"
        for chunk in chunks(items, 100):
            job = await self._batches.write("PATCH", TYPE, chunk, act, anew=True)
            for refusal in await self._batches.refusals(job, act) if job.failed else ():
                raise refused(refusal.error, TYPE, charges[refusal.place].record.id)


def _check_movable(external_id: ExternalId, charge: PostedCharge | None, act: str) -> None:
    if charge is None:
        text = f"Charge {external_id} is gone from NetSuite."
    elif charge.invoice_id:
        text = f"Charge {external_id} is on invoice {charge.invoice_id}."
    elif charge.stage is ChargeStage.NON_BILLABLE:
        text = f"Charge {external_id} was made non-billable."
    else:
        return
    raise Rejected(text, vendor=VENDOR, operation=act)


def _not_seen(act: str) -> OutcomeUnknown:
    text = "NetSuite is done with the batch, and not all of it is as asked."
    return OutcomeUnknown(text, vendor=VENDOR, operation=act)
