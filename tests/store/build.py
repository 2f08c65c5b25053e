"""Values for the tests of the store."""

from datetime import UTC, datetime, timedelta

from canonical.failures import FailureDetail, FailureKind
from canonical.records import Receipt, RecordRef, WriteOutcome
from canonical.saga import (
    Begin,
    Decision,
    Outcome,
    Resolve,
    SagaResult,
    TakeDecision,
    Verb,
    WorkItem,
    WorkItemKind,
)
from store.ledger import StepAttempt

SAGA = "opportunity-to-project/salesforce/006DT0000000001AAA"
OPENED = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def begin(workflow_id: str = SAGA, run_id: str = "run-1") -> Begin:
    return Begin(
        workflow_id=workflow_id,
        run_id=run_id,
        saga="OpportunityToProject",
        business_key="006DT0000000001AAA",
    )


def ended(outcome: Outcome, generation: int = 1, workflow_id: str = SAGA) -> SagaResult:
    return SagaResult(workflow_id=workflow_id, generation=generation, outcome=outcome)


def attempt(
    step: str = "provision_client",
    number: int = 1,
    *,
    round_: int = 0,
    generation: int = 1,
    workflow_id: str = SAGA,
    request_json: str = '{"request": {}}',
) -> StepAttempt:
    return StepAttempt(
        key=f"{workflow_id}/{generation}:{step}",
        attempt=number,
        round=round_,
        workflow_id=workflow_id,
        generation=generation,
        step=step,
        connection="netsuite",
        request_json=request_json,
    )


def record(record_id: str = "501", type_: str = "client", system: str = "netsuite") -> RecordRef:
    return RecordRef(system=system, type=type_, id=record_id)


def receipt(record_id: str = "501", *parts: str) -> Receipt:
    return Receipt(
        record=record(record_id),
        outcome=WriteOutcome.CREATED,
        parts=tuple(record(part, "task") for part in parts),
    )


def work_item(item_id: str = "WI-1", park: int = 1, workflow_id: str = SAGA) -> WorkItem:
    return WorkItem(
        id=item_id,
        workflow_id=workflow_id,
        generation=1,
        step="provision_client",
        key=f"{workflow_id}/1:provision_client",
        park=park,
        kind=WorkItemKind.STEP,
        failure=FailureDetail(kind=FailureKind.REJECTED, reason="invalid", message="No tax id."),
        verbs=(Verb.RETRY, Verb.ROLL_BACK),
        opened_at=OPENED,
        respond_by=OPENED + timedelta(days=1),
    )


def decision(
    decision_id: str = "D-1", verb: Verb = Verb.RETRY, by: str = "maya@example.com", park: int = 1
) -> Decision:
    return Decision(id=decision_id, work_item_id="WI-1", park=park, verb=verb, decided_by=by)


def take(
    decision_id: str = "D-1",
    verb: Verb = Verb.RETRY,
    park: int = 1,
    work_item_id: str = "WI-1",
    workflow_id: str = SAGA,
) -> TakeDecision:
    resolve = Resolve(decision_id=decision_id, work_item_id=work_item_id, park=park, verb=verb)
    return TakeDecision(resolve=resolve, workflow_id=workflow_id)
