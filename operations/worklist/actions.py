"""What a person can do about a piece of work, as commands to copy.

Words in capitals are for the person to fill in.
"""

from collections.abc import Iterator
from typing import Final

from canonical.failures import FailureKind
from canonical.saga import Verb, WorkItem, WorkItemKind
from canonical.worklist import StuckCause, Work, money_of
from policies.corrections import CORRECTABLE
from store.inbox import event_of

NEEDS: Final = {
    Verb.ADOPT: " --record ID",
    Verb.SKIP: " --because EVIDENCE",
    Verb.ACCEPT_RESIDUE: " --because EVIDENCE",
    Verb.ABANDON: " --because REASON",
}
"""What a verb wants beside who decides."""
SERVED_BY: Final = "python worker.py"


def actions(work: Work, as_: str = "NAME") -> tuple[str, ...]:
    """Return the commands that make sense, the likeliest first."""
    return tuple(dict.fromkeys(_actions(work, as_)))


def likely(work: Work, as_: str = "NAME") -> str:
    """Return the command that most likely helps."""
    return actions(work, as_)[0]


def work_of(item: WorkItem) -> Work:
    """Return a work item as the list shows it; owner and comments are not known here."""
    failure = item.failure
    return Work(
        id=item.id,
        kind=item.kind,
        reason=failure.reason,
        message=failure.message,
        title=item.title,
        workflow_id=item.workflow_id,
        generation=item.generation,
        park=item.park,
        step=item.step,
        key=item.key,
        connection=item.connection,
        client_id=item.client_id,
        project_code=item.project_code,
        legal_entities=item.legal_entities,
        amount=money_of(item.amount),
        candidates=failure.candidates,
        field=failure.field,
        field_owner=failure.owner,
        failure=failure.kind,
        verbs=item.verbs,
        opened_at=item.opened_at,
        respond_by=item.respond_by,
    )


def _actions(work: Work, as_: str) -> Iterator[str]:
    yield from _OF_KIND.get(work.kind, _of_failure)(work, as_)
    for verb in work.verbs:
        if verb is not Verb.APPROVE:
            yield f"starter.py resolve {work.id} {verb}{NEEDS.get(verb, '')} --as {as_}"
    yield f"starter.py work comment {work.id} TEXT --as {as_}"


def _of_gate(work: Work, as_: str) -> Iterator[str]:
    yield f"starter.py approve {work.id} --as {as_}"


def _of_dead_letter(work: Work, _as: str) -> Iterator[str]:
    yield f"starter.py events replay {event_of(work.id)}"


def _of_native_credit(work: Work, as_: str) -> Iterator[str]:
    invoice, credit = work.key.removeprefix("invoice/").rsplit("/", 1)
    yield f"starter.py invoice explain {invoice} {credit} --reason REASON --as {as_}"


def _of_difference(work: Work, as_: str) -> Iterator[str]:
    invoice = work.workflow_id.removeprefix("invoice/")
    yield f"starter.py invoice accept-tax {invoice} --because REASON --as {as_}"


def _of_delivery(work: Work, as_: str) -> Iterator[str]:
    invoice = work.workflow_id.removeprefix("invoice/")
    yield f"starter.py invoice transmitted {invoice} --because HOW --as {as_}"


def _of_held(work: Work, as_: str) -> Iterator[str]:
    yield f"starter.py billing status {work.project_code}"
    yield f"starter.py billing unhold {work.project_code} --entry ENTRY --as {as_}"


def _of_residue(work: Work, as_: str) -> Iterator[str]:
    yield f"starter.py work acknowledge {work.id} --because REASON --as {as_}"
    yield f"starter.py status {work.workflow_id}"


def _of_schedule(work: Work, _as: str) -> Iterator[str]:
    engagement = work.workflow_id.removeprefix("schedule/")
    yield f"starter.py schedule show {work.project_code}"
    yield f"starter.py schedule run --engagement {engagement}"


def _of_finding(work: Work, _as: str) -> Iterator[str]:
    yield f"starter.py work show {work.id}"


def _of_failure(work: Work, as_: str) -> Iterator[str]:
    start = f"starter.py resolve {work.id}"
    for candidate in work.candidates:
        yield f"{start} adopt --record {candidate.record.id} --as {as_}"
    if work.field in CORRECTABLE and work.failure is FailureKind.REJECTED:
        yield f"{start} retry --set {work.field}=VALUE --as {as_}"
    yield f"{start} retry --as {as_}"


def _of_stuck(work: Work, _as: str) -> Iterator[str]:
    if work.reason == StuckCause.HOLD_AGED:
        yield f"starter.py work show {work.workflow_id}"
        return
    if work.reason == StuckCause.ENDED_WITHOUT_OUTCOME:
        yield "starter.py sweep"
    if work.reason == StuckCause.NOT_PICKED_UP:
        yield SERVED_BY
    yield f"starter.py status {work.workflow_id}"


_OF_KIND: Final = {
    WorkItemKind.GATE: _of_gate,
    WorkItemKind.DEAD_LETTER: _of_dead_letter,
    WorkItemKind.NATIVE_CREDIT: _of_native_credit,
    WorkItemKind.DIFFERENCE: _of_difference,
    WorkItemKind.DELIVERY: _of_delivery,
    WorkItemKind.HELD: _of_held,
    WorkItemKind.RESIDUE: _of_residue,
    WorkItemKind.STUCK: _of_stuck,
    WorkItemKind.SCHEDULE: _of_schedule,
    WorkItemKind.FINDING: _of_finding,
}
