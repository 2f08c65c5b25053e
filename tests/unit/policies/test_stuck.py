"""When a run counts as stuck: each cause at its limit, and nothing just below it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canonical.worklist import PendingActivity, PendingTask, RunSeen, StuckCause
from policies.bundle import load_bundle
from policies.stuck import StuckRules, stuck_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULES = StuckRules()


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def run(**changes: Any) -> RunSeen:
    values: dict[str, Any] = {
        "workflow_id": "opportunity-to-project/salesforce/006",
        "run_id": "r",
        "saga": "OpportunityToProject",
        "status": "running",
        "unchanged_since": NOW,
        "is_saga": True,
        "unfinished": True,
    }
    return RunSeen.model_validate({**values, **changes})


def activity(**changes: Any) -> RunSeen:
    values: dict[str, Any] = {
        "name": "provision_client",
        "attempt": 2,
        "started": False,
        "scheduled_at": ago(1),
        "first_scheduled_at": ago(60),
        "failure": "the ERP is away",
    }
    return run(activities=(PendingActivity.model_validate({**values, **changes}),))


def task(**changes: Any) -> RunSeen:
    values: dict[str, Any] = {"attempt": 1, "scheduled_at": ago(1), "first_scheduled_at": ago(1)}
    return run(task=PendingTask.model_validate({**values, **changes}))


def causes(seen: RunSeen) -> list[StuckCause]:
    return [each.cause for each in stuck_of(seen, RULES, NOW)]


QUIET = {"unchanged_since": ago(3_601)}
STUCK = {
    "attempts": (activity(attempt=21), StuckCause.ACTIVITY_RETRYING),
    "failing": (activity(first_scheduled_at=ago(901)), StuckCause.ACTIVITY_RETRYING),
    "no worker": (
        activity(attempt=1, failure="", scheduled_at=ago(601)),
        StuckCause.NOT_PICKED_UP,
    ),
    "task fails": (task(attempt=4), StuckCause.WORKFLOW_TASK_FAILING),
    "task not taken": (task(scheduled_at=ago(601)), StuckCause.NOT_PICKED_UP),
    "store": (task(started=True, first_scheduled_at=ago(901)), StuckCause.STORE_RETRYING),
    "quiet": (run(**QUIET), StuckCause.QUIET),
    "undo": (run(undoing_since=ago(1_801)), StuckCause.UNDO_UNFINISHED),
    "terminated": (
        run(status="terminated", closed_at=ago(901)),
        StuckCause.ENDED_WITHOUT_OUTCOME,
    ),
    "gone": (run(status="gone", closed_at=ago(901)), StuckCause.ENDED_WITHOUT_OUTCOME),
}
WELL = {
    "at work": run(),
    "few attempts": activity(attempt=20, first_scheduled_at=ago(899)),
    "failing, unknown for how long": activity(attempt=20, first_scheduled_at=None),
    "just put on the queue": activity(attempt=1, failure="", scheduled_at=ago(599)),
    "backing off": activity(attempt=3, scheduled_at=NOW + timedelta(seconds=60)),
    "long, and at its first attempt": activity(
        attempt=1, failure="", started=True, scheduled_at=None, first_scheduled_at=ago(90_000)
    ),
    "task retried": task(attempt=3),
    "task at work": task(started=True, scheduled_at=ago(10)),
    "nearly quiet": run(unchanged_since=ago(3_599)),
    "quiet, but no saga": run(is_saga=False, **QUIET),
    "quiet, for a child": run(children=1, **QUIET),
    "quiet, for a person": run(waits_for_person=True, **QUIET),
    "undo blocked": run(waits_for_person=True, undoing_since=ago(90_000)),
    "undoing": run(undoing_since=ago(1_799)),
    "just terminated": run(status="terminated", closed_at=ago(899)),
    "terminated with an outcome": run(status="terminated", closed_at=ago(9_000), unfinished=False),
    "completed": run(status="completed", closed_at=ago(9_000)),
}


@pytest.mark.parametrize(("seen", "cause"), STUCK.values(), ids=STUCK)
def test_a_cause_is_found_and_told_in_words(seen: RunSeen, cause: StuckCause) -> None:
    (found,) = stuck_of(seen, RULES, NOW)
    assert found.cause is cause
    assert found.where
    assert found.message
    assert found.since <= NOW


@pytest.mark.parametrize("seen", WELL.values(), ids=WELL)
def test_a_run_that_is_well_or_waits_for_somebody_is_left_alone(seen: RunSeen) -> None:
    assert causes(seen) == []


def test_a_run_that_waits_for_a_person_may_be_stuck_at_another_branch() -> None:
    seen = activity(attempt=21).model_copy(update={"waits_for_person": True})
    assert causes(seen) == [StuckCause.ACTIVITY_RETRYING]


def test_several_activities_that_fail_are_one_cause() -> None:
    one = activity(attempt=21).activities[0]
    seen = run(activities=(one, one.model_copy(update={"name": "provision_tasks"})))
    (found,) = stuck_of(seen, RULES, NOW)
    assert found.where == "provision_client"


def test_the_default_bundle_names_every_limit_as_it_is() -> None:
    assert load_bundle().policies.stuck == RULES
