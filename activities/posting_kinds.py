"""The two kinds of lines that a billing run posts, described once each: charges and cost."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from adapters.ports import Erp
from canonical.activities import POST_CHARGES, POST_COSTS
from canonical.billing import (
    Charge,
    ChargeBatch,
    ChargeStage,
    CostBatch,
    CostItem,
    PostedCharge,
    PostedCost,
    charge_id,
)
from canonical.ids import ExternalId, external_id
from canonical.money import Money
from canonical.records import UndoReceipt
from store.runs import RunStore
from store.tracks import Kind

Batch = TypeVar("Batch", ChargeBatch, CostBatch)
Line = TypeVar("Line", Charge, CostItem)
Posted = TypeVar("Posted", PostedCharge, PostedCost)

Ids = tuple[ExternalId, ...]


@dataclass(frozen=True)
class Wanted:
    """One line of a batch: its external id, and what it must come to."""

    id: ExternalId
    item: str
    amount: Money


@dataclass(frozen=True)
class LineKind(Generic[Batch, Line, Posted]):
    """How lines of one kind are kept, posted, found and taken back."""

    name: Kind
    step: str
    """The step that posts them: its key is the root of their external ids."""
    batch: type[Batch]
    lines: Callable[[Batch], Sequence[Line]]
    only: Callable[[Batch, tuple[Line, ...]], Batch]
    """Returns a batch with these lines alone."""
    amount: Callable[[Line], Money]
    found: Callable[[Posted], Money]
    """What the ERP has of a line."""
    invoice: Callable[[Posted], str]
    """The ERP's invoice that a line is on; empty where it is free."""
    loose: Callable[[Posted], bool]
    """Whether the ERP may bill a line before drafting has released it."""
    find: Callable[[Erp, Ids], Awaitable[tuple[Posted, ...]]]
    post: Callable[[Erp, Ids, Batch], Awaitable[tuple[Posted, ...]]]
    remove: Callable[[Erp, Ids], Awaitable[UndoReceipt]]
    put_down: Callable[[RunStore, str, Mapping[str, str]], Awaitable[None]]
    take_off: Callable[[RunStore, str, Ids], Awaitable[int]]

    async def load(self, runs: RunStore, run: str, number: int) -> Batch:
        """Return a batch as it was prepared.

        Raises:
            NotFound: the run has no such batch.
        """
        return await runs.batch(run, self.name, number, self.batch)

    def wanted(self, key: str, batch: Batch) -> list[Wanted]:
        """Return what a batch's lines must come to, by the key of the step that posts them."""
        return [
            Wanted(external_id(charge_id(key, line.item)), line.item, self.amount(line))
            for line in self.lines(batch)
        ]


CHARGES: Final = LineKind[ChargeBatch, Charge, PostedCharge](
    name="charges",
    step=POST_CHARGES.name,
    batch=ChargeBatch,
    lines=lambda batch: batch.charges,
    only=lambda batch, lines: batch.model_copy(update={"charges": lines}),
    amount=lambda line: line.amount,
    found=lambda posted: posted.amount,
    invoice=lambda posted: posted.invoice_id,
    loose=lambda posted: posted.stage is not ChargeStage.HOLD,
    find=lambda erp, ids: erp.find_charges(ids),
    post=lambda erp, ids, batch: erp.post_charges(ids, batch),
    remove=lambda erp, ids: erp.remove_charges(ids),
    put_down=lambda runs, run, ids: runs.charges_posted(run, ids),
    take_off=lambda runs, run, ids: runs.charges_removed(run, ids),
)
COSTS: Final = LineKind[CostBatch, CostItem, PostedCost](
    name="costs",
    step=POST_COSTS.name,
    batch=CostBatch,
    lines=lambda batch: batch.items,
    only=lambda batch, lines: batch.model_copy(update={"items": lines}),
    amount=lambda line: line.expected_cost,
    found=lambda posted: posted.cost,
    invoice=lambda _posted: "",
    loose=lambda _posted: False,
    find=lambda erp, ids: erp.find_costs(ids),
    post=lambda erp, ids, batch: erp.post_costs(ids, batch),
    remove=lambda erp, ids: erp.remove_costs(ids),
    put_down=lambda runs, run, ids: runs.costs_posted(run, ids),
    take_off=lambda runs, run, ids: runs.costs_reversed(run, ids),
)
