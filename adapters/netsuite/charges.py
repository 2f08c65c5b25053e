"""Charges: what a project owes, posted on hold, until billing makes them ready.

Source: vendor page section 5.6. They are upserted by external id, so a batch that is repeated or
lands late makes none twice.
"""

from collections.abc import Mapping, Sequence

from adapters.errors import Rejected
from adapters.netsuite import billing_mapping as mapping
from adapters.netsuite.batch import Batches
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.periods import Periods
from adapters.netsuite.posting import Post, chunks, post_batch
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
        """Post the charges on hold as one batch."""
        bodies: dict[ExternalId, Mapping[str, object]] = {
            external_id: mapping.charge_body(external_id, charge, batch, self._config)
            for external_id, charge in zip(external_ids, batch.charges, strict=True)
        }
        if not bodies:
            return ()
        act = "post charges"
        names = {id_: charge.item for id_, charge in zip(external_ids, batch.charges, strict=True)}
        await self._periods.refuse_closed((charge.on for charge in batch.charges), act)
        return await post_batch(
            self._batches, Post("PUT", TYPE, act, bodies, names), lambda: self.find(external_ids)
        )

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
