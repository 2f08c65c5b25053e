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
from canonical.failures import FailureDetail
from canonical.model import CanonicalModel
from canonical.opportunity import OpportunityToProjectInput
from canonical.records import RecordRef
from canonical.saga import Resolve, Resolved, SagaResult
from canonical.time_to_billing import (
    BillingRunInput,
    EntriesChanged,
    RunEnded,
    RunNow,
    TimeToBillingInput,
)
from operations.workers import workflow_runner
from tests.sagas.record_histories import BILLING, HISTORIES, KEPT, SCENES, SIZE_MAX
from workflows.opportunity_to_project import OpportunityToProject
from workflows.registry import SAGAS, WORKFLOWS
from workflows.time_to_billing import ApprovedTimeToBilling

pytestmark = [pytest.mark.replay]

FILES = sorted(HISTORIES.parent.glob("*/*.json"))
INPUTS: dict[str, type[CanonicalModel]] = {
    "OpportunityToProject": OpportunityToProjectInput,
    "BillingRun": BillingRunInput,
    "ApprovedTimeToBilling": TimeToBillingInput,
}
SIGNALS: dict[str, type[CanonicalModel]] = {
    "changed": EntriesChanged,
    "run_now": RunNow,
    "run_ended": RunEnded,
}
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
    assert recorded == {*(saga.__name__ for saga in SAGAS), ApprovedTimeToBilling.__name__}
    assert {file.stem for file in FILES} == {*SCENES, *BILLING, *KEPT}
    assert all(file.stat().st_size < SIZE_MAX for file in FILES)


# Payloads.

Found = tuple[type[CanonicalModel], Payload]


def payloads(history: WorkflowHistory) -> Iterator[Found]:
    """Return every payload of a history that a model of ours was written to, with the model."""
    scheduled: dict[int, ActivityRef[Any, Any]] = {}
    begun = history.events[0].workflow_execution_started_event_attributes
    given = INPUTS[begun.workflow_type.name]
    yield from ((given, each) for each in begun.input.payloads)
    for event in history.events:
        ended = event.workflow_execution_completed_event_attributes
        yield from ((SagaResult, each) for each in ended.result.payloads)
        told = event.workflow_execution_signaled_event_attributes
        yield from ((SIGNALS[told.signal_name], each) for each in told.input.payloads)
        sent = event.signal_external_workflow_execution_initiated_event_attributes
        yield from ((SIGNALS[sent.signal_name], each) for each in sent.input.payloads)
        child = event.start_child_workflow_execution_initiated_event_attributes
        yield from ((INPUTS[child.workflow_type.name], each) for each in child.input.payloads)
        yield from _of_activity(event, scheduled)
        yield from _of_local_activity(event)
        yield from _of_update(event)


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


def _of_update(event: HistoryEvent) -> Iterator[Found]:
    accepted = event.workflow_execution_update_accepted_event_attributes
    yield from ((Resolve, each) for each in accepted.accepted_request.input.args.payloads)
    outcome = event.workflow_execution_update_completed_event_attributes.outcome
    yield from ((Resolved, each) for each in outcome.success.payloads)


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
    count = 0
    for model, payload in payloads(read(file)):
        decoded = model.model_validate_json(payload.data)
        back: JsonValue = json.loads(decoded.model_dump_json())
        assert lost(json.loads(payload.data), back) == [], model.__name__
        count += 1
    assert count >= 10


def test_all_models_of_messages_are_met_somewhere() -> None:
    met = {model for file in FILES for model, _ in payloads(read(file))}
    all_steps = [step for saga in SAGAS for step in saga.STEPS]
    steps = {step.do.request for step in all_steps}
    undos = {step.undo.request for step in all_steps if step.undo is not None}
    messages = {*INPUTS.values(), SagaResult, Resolve, Resolved, FailureDetail}
    messages |= {EntriesChanged, RunEnded}
    assert (steps | undos | messages) - met == set()


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
