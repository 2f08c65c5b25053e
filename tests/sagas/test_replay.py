"""Recorded histories of every path, replayed by today's workflows and read by today's models.

`python -m tests.sagas.record_histories` records them anew.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.workflow import NondeterminismError

from canonical import activities as references
from canonical.activities import ActivityRef
from canonical.backfill import BackfillInput, BackfillView, ChangeRate, Steer
from canonical.bill_schedules import BilledSchedules, BillSchedulesInput
from canonical.credit_invoice import CreditAnswer, CreditInput, DecideCredit
from canonical.draft_acts import ActOnDraft, DraftAnswer
from canonical.draft_to_invoice import (
    Assembled,
    AssembleDrafts,
    DraftInput,
    DraftResult,
    PostingEnded,
    PostingInput,
    ReadBack,
    ReadyCharges,
)
from canonical.failures import FailureDetail
from canonical.invoice_lifecycle import LifecycleInput, LookAgain, LookEnded, LookInput
from canonical.invoicing import Billee
from canonical.milestone_to_invoice import MilestoneInput
from canonical.model import CanonicalModel
from canonical.opportunity import OpportunityToProjectInput
from canonical.reconciliation import ListDue, Reconciled, ReconciledNightly, ReconcileInput
from canonical.records import RecordRef
from canonical.saga import Resolve, Resolved, SagaResult, StepCall, UndoCall
from canonical.time_to_billing import (
    BillingRunInput,
    EntriesChanged,
    RunEnded,
    RunNow,
    TimeToBillingInput,
)
from operations.workers import workflow_runner
from tests.sagas.backfill_scenes import BACKFILLS
from tests.sagas.invoicing_scenes import INVOICING
from tests.sagas.reconciling_scenes import RECONCILING
from tests.sagas.record_histories import BILLING, HISTORIES, KEPT, SCENES, SIZE_MAX
from workflows.alerting import JudgeServiceLevels, TellPeople
from workflows.housekeeping import SealAuditTrail, SweepTerminated
from workflows.opportunity_to_project import OpportunityToProject
from workflows.post_invoice import READ_BACK, READY_CHARGES, PostInvoice
from workflows.reconcile import WatchConservation
from workflows.registry import SAGAS, WORKFLOWS
from workflows.watch import WatchRuns

pytestmark = [pytest.mark.replay]

FILES = sorted(HISTORIES.parent.glob("*/*.json"))
INPUTS: dict[str, type[CanonicalModel]] = {
    "OpportunityToProject": OpportunityToProjectInput,
    "BillingRun": BillingRunInput,
    "ApprovedTimeToBilling": TimeToBillingInput,
    "MilestoneToInvoice": MilestoneInput,
    "PostInvoice": PostingInput,
    "TellInvoice": LookInput,
    "CreditInvoice": CreditInput,
    "DraftToInvoice": DraftInput,
    "InvoiceLifecycle": LifecycleInput,
    "AssembleInvoiceDrafts": AssembleDrafts,
    "BillSchedules": BillSchedulesInput,
    "Backfill": BackfillInput,
    "Reconcile": ReconcileInput,
    "ReconcileNightly": ListDue,
}
RESULTS: dict[str, type[CanonicalModel]] = {
    **{saga.__name__: SagaResult for saga in SAGAS},
    "DraftToInvoice": DraftResult,
    "InvoiceLifecycle": LookEnded,
    "AssembleInvoiceDrafts": Assembled,
    "BillSchedules": BilledSchedules,
    "Backfill": BackfillView,
    "Reconcile": Reconciled,
    "ReconcileNightly": ReconciledNightly,
}
SIGNALS: dict[str, type[CanonicalModel]] = {
    "changed": EntriesChanged,
    "run_now": RunNow,
    "run_ended": RunEnded,
    "posting_ended": PostingEnded,
    "look": LookAgain,
    "look_ended": LookEnded,
}
UPDATES: dict[str, tuple[type[CanonicalModel], type[CanonicalModel]]] = {
    "resolve": (Resolve, Resolved),
    "act": (ActOnDraft, DraftAnswer),
    "decide": (DecideCredit, CreditAnswer),
    "asked": (DecideCredit, CreditAnswer),
    "pause": (Steer, BackfillView),
    "resume": (Steer, BackfillView),
    "cancel": (Steer, BackfillView),
    "change_rate": (ChangeRate, BackfillView),
}
"""What an update is sent, and what it answers; `asked` is sent nothing."""
SHORT = {
    "backfill_continued": 5,
    "backfill_refused_by_the_source": 5,
    "compared_at_night": 7,
    "drafts_assembled": 5,
    "milestone_approved_while_it_is_read": 7,
    "milestone_not_approved": 5,
    "milestone_taken_back": 7,
    "milestone_taken_off_its_draft": 7,
    "nothing_to_draft": 4,
    "opened_again": 6,
    "schedule_billed": 5,
}
"""Paths that say less than the others, and how many payloads they have at least."""
UNMET: set[Any] = {StepCall[Billee], UndoCall[Billee]}
"""Steps at a billing engine, which no recorded path has."""
REFERENCES = {ref.name: ref for ref in vars(references).values() if isinstance(ref, ActivityRef)}


def read(file: Path) -> WorkflowHistory:
    """Return a recorded history."""
    document = json.loads(file.read_text(encoding="utf-8"))
    return WorkflowHistory.from_json(document.pop("workflow_id"), document)


async def replay(
    history: WorkflowHistory, *workflows: type, runner: WorkflowRunner | None = None
) -> None:
    """Replay a history; raise where today's workflow would do something else."""
    replayer = Replayer(
        workflows=workflows or WORKFLOWS,
        workflow_runner=runner or workflow_runner(),
        data_converter=pydantic_data_converter,
    )
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    await replay(read(file))


def test_every_saga_and_scene_is_recorded() -> None:
    recorded = {file.parent.name for file in FILES}
    # Each run of these is one activity, and over.
    brief = {
        SweepTerminated,
        SealAuditTrail,
        WatchConservation,
        WatchRuns,
        JudgeServiceLevels,
        TellPeople,
    }
    assert recorded == {each.__name__ for each in WORKFLOWS if each not in brief}
    scenes = {*SCENES, *BILLING, *INVOICING, *BACKFILLS, *RECONCILING}
    assert {file.stem for file in FILES} == scenes | KEPT
    assert all(file.stat().st_size < SIZE_MAX for file in FILES)


# Payloads.

Found = tuple[type[CanonicalModel], Payload]


def payloads(history: WorkflowHistory) -> Iterator[Found]:
    """Return every payload of a history that a model of ours was written to, with the model."""
    scheduled: dict[int, ActivityRef[Any, Any]] = {}
    begun = history.events[0].workflow_execution_started_event_attributes
    name = begun.workflow_type.name
    given = INPUTS[name]
    updates: dict[int, str] = {}
    yield from ((given, each) for each in begun.input.payloads)
    for event in history.events:
        ended = event.workflow_execution_completed_event_attributes
        yield from ((RESULTS[name], each) for each in ended.result.payloads)
        anew = event.workflow_execution_continued_as_new_event_attributes
        yield from ((given, each) for each in anew.input.payloads)
        told = event.workflow_execution_signaled_event_attributes
        yield from ((SIGNALS[told.signal_name], each) for each in told.input.payloads)
        sent = event.signal_external_workflow_execution_initiated_event_attributes
        yield from ((SIGNALS[sent.signal_name], each) for each in sent.input.payloads)
        child = event.start_child_workflow_execution_initiated_event_attributes
        yield from ((INPUTS[child.workflow_type.name], each) for each in child.input.payloads)
        over = event.child_workflow_execution_completed_event_attributes
        yield from ((RESULTS[over.workflow_type.name], each) for each in over.result.payloads)
        yield from _of_activity(event, scheduled)
        yield from _of_local_activity(event)
        yield from _of_update(event, updates)


def _of_activity(
    event: HistoryEvent, scheduled: dict[int, ActivityRef[Any, Any]]
) -> Iterator[Found]:
    if event.HasField("activity_task_scheduled_event_attributes"):
        asked = event.activity_task_scheduled_event_attributes
        ref = scheduled[event.event_id] = REFERENCES[asked.activity_type.name]
        yield from ((ref.request, each) for each in asked.input.payloads)
    elif event.HasField("activity_task_completed_event_attributes"):
        done = event.activity_task_completed_event_attributes
        result = scheduled[done.scheduled_event_id].result
        yield from ((result, each) for each in done.result.payloads)
    elif event.HasField("activity_task_failed_event_attributes"):
        yield from _of_failure(event.activity_task_failed_event_attributes.failure)


def _of_local_activity(event: HistoryEvent) -> Iterator[Found]:
    marker = event.marker_recorded_event_attributes
    if marker.marker_name == "core_local_activity":
        name = json.loads(marker.details["data"].payloads[0].data)["activity_type"]
        if (result := REFERENCES[name].result) is not type(None):
            yield from ((result, each) for each in marker.details["result"].payloads)
        yield from _of_failure(marker.failure)


def _of_update(event: HistoryEvent, updates: dict[int, str]) -> Iterator[Found]:
    if event.HasField("workflow_execution_update_accepted_event_attributes"):
        asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
        updates[event.event_id] = asked.name
        sent, _ = UPDATES[asked.name]
        yield from ((sent, each) for each in asked.args.payloads)
    elif event.HasField("workflow_execution_update_completed_event_attributes"):
        done = event.workflow_execution_update_completed_event_attributes
        _, answered = UPDATES[updates[done.accepted_event_id]]
        yield from ((answered, each) for each in done.outcome.success.payloads)


def _of_failure(failure: Failure) -> Iterator[Found]:
    details = failure.application_failure_info.details
    yield from ((FailureDetail, each) for each in details.payloads)


def lost(sent: JsonValue, read_back: JsonValue, path: str = "") -> list[str]:
    """Return what a payload says and the model that read it does not."""
    if isinstance(sent, dict) and isinstance(read_back, dict):
        gone = [f"{path}.{name}" for name in sent.keys() - read_back.keys()]
        both = sent.keys() & read_back.keys()
        return gone + [
            each for name in both for each in lost(sent[name], read_back[name], f"{path}.{name}")
        ]
    if isinstance(sent, list) and isinstance(read_back, list) and len(sent) == len(read_back):
        return [
            each
            for place, (one, other) in enumerate(zip(sent, read_back, strict=True))
            for each in lost(one, other, f"{path}[{place}]")
        ]
    return [] if sent == read_back else [f"{path}: {sent!r} became {read_back!r}"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_todays_models_read_every_payload_and_lose_nothing(file: Path) -> None:
    count, least = 0, SHORT.get(file.stem, 10)
    for model, payload in payloads(read(file)):
        decoded = model.model_validate_json(payload.data)
        back: JsonValue = json.loads(decoded.model_dump_json())
        assert lost(json.loads(payload.data), back) == [], model.__name__
        count += 1
    assert count >= least


def test_all_models_of_messages_are_met_somewhere() -> None:
    met = {model for file in FILES for model, _ in payloads(read(file))}
    all_steps = [step for saga in SAGAS for step in saga.STEPS]
    steps = {step.do.request for step in all_steps}
    undos = {step.undo.request for step in all_steps if step.undo is not None}
    messages = {*INPUTS.values(), *RESULTS.values(), FailureDetail}
    messages |= {each for both in UPDATES.values() for each in both}
    messages |= set(SIGNALS.values()) - {RunNow}
    assert (steps | undos | messages) - met == UNMET


def test_a_field_that_a_model_no_longer_knows_is_noticed() -> None:
    sent: JsonValue = {"system": "erp", "type": "client", "id": "1", "former": "x"}
    back = json.loads(RecordRef.model_validate(sent).model_dump_json())
    assert lost(sent, back) == [".former"]


# The gate can fail.


@workflow.defn(name="OpportunityToProject")
class Swapped(OpportunityToProject):
    """The saga with two steps in the other order."""

    @workflow.init
    def __init__(self, deal: OpportunityToProjectInput) -> None:
        super().__init__(deal)

    @workflow.run
    async def run(self, deal: OpportunityToProjectInput) -> SagaResult:
        return await super().run(deal)

    async def flow(self) -> None:
        """Write the ids back before the cross references are there."""
        clients, _ = await self._clients()
        erp_projects, psa_project = await self.both(
            self._erp_projects(clients), self._psa_project()
        )
        await self._ids_back_to_crm(clients, erp_projects, psa_project)
        await self._cross_references(erp_projects, psa_project)


@workflow.defn(name="OpportunityToProject")
class Unchanged(OpportunityToProject):
    """The saga as it is, through the same detour: what makes the other fail is the order."""

    @workflow.init
    def __init__(self, deal: OpportunityToProjectInput) -> None:
        super().__init__(deal)

    @workflow.run
    async def run(self, deal: OpportunityToProjectInput) -> SagaResult:
        return await super().run(deal)


async def test_steps_in_another_order_do_not_replay() -> None:
    history = read(HISTORIES / "clean.json")
    await replay(history, Unchanged, runner=UnsandboxedWorkflowRunner())
    with pytest.raises(NondeterminismError):
        await replay(history, Swapped, runner=UnsandboxedWorkflowRunner())


@workflow.defn(name="PostInvoice")
class ChargesFirst(PostInvoice):
    """The posting that makes charges ready before it has looked again."""

    @workflow.init
    def __init__(self, posting: PostingInput) -> None:
        super().__init__(posting)

    @workflow.run
    async def run(self, posting: PostingInput) -> SagaResult:
        return await super().run(posting)

    async def flow(self) -> None:
        """Let the ERP bill the charges, and only then look again at what is billed."""
        client = await self._client()
        await self.step(READY_CHARGES, lambda: self._ask(ReadyCharges, self.plan.erp))
        await self._verify()
        invoice = await self._issue(client)
        posted = await self.step(
            READ_BACK,
            lambda: self._ask(ReadBack, invoice=invoice, content_hash=self.plan.content_hash),
        )
        await self.parallel(*(self._confirm(share, posted) for share in self.plan.shares))


@workflow.defn(name="PostInvoice")
class SamePosting(PostInvoice):
    """The posting as it is, through the same detour."""

    @workflow.init
    def __init__(self, posting: PostingInput) -> None:
        super().__init__(posting)

    @workflow.run
    async def run(self, posting: PostingInput) -> SagaResult:
        return await super().run(posting)


async def test_a_posting_in_another_order_does_not_replay() -> None:
    history = read(HISTORIES.parent / "PostInvoice" / "charges_invoiced.json")
    await replay(history, SamePosting, runner=UnsandboxedWorkflowRunner())
    with pytest.raises(NondeterminismError):
        await replay(history, ChargesFirst, runner=UnsandboxedWorkflowRunner())


async def test_a_step_left_out_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(OpportunityToProject, "_ids_back_to_crm", nothing)
    with pytest.raises(NondeterminismError):
        await replay(read(HISTORIES / "clean.json"))


async def test_an_undo_in_another_order_does_not_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    history = read(HISTORIES / "undoing.json")
    await replay(history)
    monkeypatch.setattr(OpportunityToProject, "_register_undo", _register_first)
    with pytest.raises(NondeterminismError):
        await replay(history)


def _register_first(self: Any, row: Any) -> None:
    if row.step.undo is not None and row not in self._undos:
        self._undos.insert(0, row)
