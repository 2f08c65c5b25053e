"""The fault matrix can fail: undos dropped, re-ordered or made to count twice turn it red.

Each mutation is laid over the running code for one case that is green without it.
"""

from collections.abc import Callable
from typing import Any

import pytest

from activities.steps import StepRunner
from canonical.records import UndoReceipt, UndoResult
from tests.sagas.matrix import Answer, Case, FaultClass
from tests.sagas.test_fault_matrix import run_case
from tests.support.world import World
from workflows.engine import Saga

pytestmark = [pytest.mark.fault_matrix]

SAGA = "OpportunityToProject"
ROLLED_BACK = Case(SAGA, "open_for_time", FaultClass.REJECTED, Answer.ROLL_BACK)
"""Everything is there when it is decided to roll back."""
IN_DOUBT = Case(SAGA, "provision_psa_project", FaultClass.UNKNOWN_WITH_EFFECT, Answer.ROLL_BACK)
UNDONE_TWICE = Case(SAGA, "write_back", FaultClass.UNKNOWN_WITH_EFFECT, Answer.RETRY, undo=True)
"""The undo took effect, its answer is lost, so it runs again."""
BILLED_BACK = Case("BillingRun", "post_costs", FaultClass.REJECTED, Answer.ROLL_BACK)
"""A billing run with reservation and charges there, that rolls back."""
COSTS_IN_DOUBT = Case("BillingRun", "post_costs", FaultClass.UNKNOWN_WITH_EFFECT, Answer.ROLL_BACK)


async def _dropped(self: StepRunner, call: Any, remove: Any) -> UndoReceipt:
    return UndoReceipt(result=UndoResult.REMOVED)


async def _not_restored(
    self: StepRunner, call: Any, wanted: str, read: Any, put: Any
) -> UndoReceipt:
    return UndoReceipt(result=UndoResult.RESTORED)


async def _kept_for_ever(self: StepRunner, call: Any, shared_key: str, remove: Any) -> UndoReceipt:
    return UndoReceipt(result=UndoResult.KEPT)


async def _toggled(self: StepRunner, call: Any, wanted: str, read: Any, put: Any) -> UndoReceipt:
    """Swap old and new: right once, wrong twice."""
    real = _real_undo_update
    seen = await self.store.ledger.recall(call.key, call.round)
    if seen is not None and seen.before_image is not None and await read() == seen.before_image:
        await put(wanted)
        return UndoReceipt(result=UndoResult.RESTORED)
    return await real(self, call, wanted, read, put)


_real_undo_update = StepRunner.undo_update


async def _forgotten(self: StepRunner, call: Any, remove: Any) -> UndoReceipt:
    """Undo only what there is a receipt for: what the older saga frameworks do."""
    if call.receipt is None:
        return UndoReceipt(result=UndoResult.ABSENT)
    return await _real_undo_create(self, call, remove)


_real_undo_create = StepRunner.undo_create


def _swapped(self: Any, row: Any) -> None:
    """Let the links be undone before the ids in the CRM: each undo works, only their order not."""
    _real_register(self, row)
    names = [undo.step.name for undo in self._undos]
    if row.step.name == "write_back" == names[-1]:
        self._undos.insert(names.index("link_psa_project"), self._undos.pop())


def _freed_first(self: Any, row: Any) -> None:
    """Let the PSA's reservation be undone before the ERP's charges."""
    _real_register(self, row)
    for undo in [each for each in self._undos if each.step.name == "reserve_entries"]:
        self._undos.remove(undo)
        self._undos.append(undo)


_real_register = Saga._register_undo


MUTATIONS: dict[str, tuple[Case, type, str, Callable[..., Any], str]] = {
    "an undo of a new record is dropped": (
        ROLLED_BACK, StepRunner, "undo_create", _dropped, "assert",
    ),
    "an undo of a changed field is dropped": (
        ROLLED_BACK, StepRunner, "undo_update", _not_restored, "was changed",
    ),
    "an undo of a shared record is dropped": (
        ROLLED_BACK, StepRunner, "unshare", _kept_for_ever, "assert",
    ),
    "a write in doubt is not undone": (
        IN_DOUBT, StepRunner, "undo_create", _forgotten, "assert",
    ),
    "undos run in another order": (
        ROLLED_BACK, Saga, "_register_undo", _swapped, "undone before",
    ),
    "an undo counts twice": (
        UNDONE_TWICE, StepRunner, "undo_update", _toggled, "was changed",
    ),
    "an undo of a billing run is dropped": (
        BILLED_BACK, StepRunner, "undo_create", _dropped, "assert",
    ),
    "postings in doubt are not undone": (
        COSTS_IN_DOUBT, StepRunner, "undo_create", _forgotten, "assert",
    ),
    "a reservation is freed before the charges are gone": (
        BILLED_BACK, Saga, "_register_undo", _freed_first, "undone before",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [ROLLED_BACK, IN_DOUBT, UNDONE_TWICE, BILLED_BACK, COSTS_IN_DOUBT], ids=str
)
async def test_without_a_mutation_the_case_is_green(world: World, case: Case) -> None:
    await run_case(world, case)


@pytest.mark.parametrize("what", MUTATIONS)
async def test_the_matrix_sees_that(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    case, holder, name, mutation, says = MUTATIONS[what]
    monkeypatch.setattr(holder, name, mutation)
    with pytest.raises(AssertionError, match=says):
        await run_case(world, case)
