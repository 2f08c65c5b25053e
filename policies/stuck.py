"""Whether a run is stuck: what Temporal's own search does not find (DESIGN 3.5, 3.9, 11).

`policies.stuck` judges one run by what Temporal and the store tell of it; who looks is
`activities.watching`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from canonical.worklist import PendingActivity, RunSeen, Stuck, StuckCause
from policies.schema_types import Strict

MESSAGE_MAX = 1_000
Wait = Annotated[float, Field(gt=0, le=366 * 86_400)]
"""Seconds; a hold may be left alone for months."""
ENDED = frozenset({"terminated", "failed", "timed_out", "canceled", "gone"})
"""How a run ends without an outcome."""


class StuckRules(Strict):
    """The file `stuck.yaml`: when a run counts as stuck, and how much a round looks at."""

    attempts: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Failed attempts of one activity, or"""
    failing_seconds: Wait = 900.0
    """the time since it was first put on its queue, while it fails."""
    pickup_seconds: Wait = 600.0
    """How long nobody takes an activity or workflow task off its queue."""
    task_attempts: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Failed attempts of one workflow task: the code no longer fits the history, or a defect."""
    quiet_seconds: Wait = 3_600.0
    """How long a saga's history stays as it is while it waits for nobody."""
    ended_seconds: Wait = 900.0
    """How long a run that ended without an outcome waits for the sweep."""
    undo_seconds: Wait = 1_800.0
    """How long a rollback takes at most, while it waits for nobody."""
    hold_seconds: Wait = 1_209_600.0
    """How long an entry is held before somebody else hears of it."""
    respond_seconds: Wait = 86_400.0
    """Time a person has for what the watch found, and for residue."""
    young_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Runs that began less long ago are left alone."""
    looks: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Runs asked in one round; those not asked for the longest come first."""
    pages: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Pages of 1,000 running workflows listed in one round."""


def stuck_of(run: RunSeen, rules: StuckRules, now: datetime) -> tuple[Stuck, ...]:
    """Return why a run is stuck, each cause once; nothing where it is well, or waits for somebody.

    A run that a person has been asked about is not quiet, and its rollback is not late: but an
    activity of another branch may still keep failing.
    """
    found = {each.cause: each for each in reversed([*_causes(run, rules, now)])}
    return tuple(found[cause] for cause in StuckCause if cause in found)


def _causes(run: RunSeen, rules: StuckRules, now: datetime) -> Iterator[Stuck]:
    if run.status in ENDED:
        if run.unfinished and _over(run.closed_at, rules.ended_seconds, now):
            yield _ended(run, now)
        return
    if run.status != "running":
        return
    for each in run.activities:
        yield from _activity(each, rules, now)
    yield from _task(run, rules, now)
    if run.waits_for_person:
        return
    if run.undoing_since is not None and _over(run.undoing_since, rules.undo_seconds, now):
        yield Stuck(
            cause=StuckCause.UNDO_UNFINISHED,
            where="rollback",
            message=f"Its rollback began {_ago(run.undoing_since, now)} ago and is not finished.",
            since=run.undoing_since,
        )
    idle = not run.activities and run.task is None and not run.children
    if run.is_saga and idle and _over(run.unchanged_since, rules.quiet_seconds, now):
        yield Stuck(
            cause=StuckCause.QUIET,
            where=run.saga,
            message=f"Nothing has happened for {_ago(run.unchanged_since, now)}, and it waits for "
            "no activity and for nobody.",
            since=run.unchanged_since,
        )


def _activity(each: PendingActivity, rules: StuckRules, now: datetime) -> Iterator[Stuck]:
    since = each.first_scheduled_at or each.scheduled_at or now
    failing = each.attempt > 1 and bool(each.failure)
    if failing and (
        each.attempt > rules.attempts or _over(each.first_scheduled_at, rules.failing_seconds, now)
    ):
        yield Stuck(
            cause=StuckCause.ACTIVITY_RETRYING,
            where=each.name,
            message=f"{each.name} is at attempt {each.attempt}: {each.failure}"[:MESSAGE_MAX],
            since=since,
        )
    elif not each.started and _over(each.scheduled_at, rules.pickup_seconds, now):
        yield _not_picked_up(each.name, each.queue, each.scheduled_at or now, now)


def _task(run: RunSeen, rules: StuckRules, now: datetime) -> Iterator[Stuck]:
    task = run.task
    if task is None:
        return
    since = task.first_scheduled_at or task.scheduled_at or now
    if task.attempt > rules.task_attempts:
        yield Stuck(
            cause=StuckCause.WORKFLOW_TASK_FAILING,
            where=run.saga,
            message=f"Its workflow task is at attempt {task.attempt}: the code that runs does not "
            "fit the run's history, or fails; the Web UI shows the error.",
            since=since,
        )
    elif not task.started and _over(task.scheduled_at, rules.pickup_seconds, now):
        yield _not_picked_up(run.saga, run.queue, task.scheduled_at or now, now)
    elif _over(task.first_scheduled_at, rules.failing_seconds, now):
        yield Stuck(
            cause=StuckCause.STORE_RETRYING,
            where=run.saga,
            message=f"An act on Dealthread's own store has been tried for {_ago(since, now)}: see "
            "the worker's log.",
            since=since,
        )


def _not_picked_up(what: str, queue: str, since: datetime, now: datetime) -> Stuck:
    place = f" off the task queue {queue}" if queue else " off its task queue"
    return Stuck(
        cause=StuckCause.NOT_PICKED_UP,
        where=what,
        message=f"Nobody has taken {what}{place} for {_ago(since, now)}: is a worker running that "
        "serves it?",
        since=since,
    )


def _ended(run: RunSeen, now: datetime) -> Stuck:
    since = run.closed_at or run.unchanged_since
    how = "is gone from Temporal" if run.status == "gone" else f"was {run.status.replace('_', ' ')}"
    return Stuck(
        cause=StuckCause.ENDED_WITHOUT_OUTCOME,
        where=run.saga,
        message=f"Its run {how} {_ago(since, now)} ago with steps that may be open, and no sweep "
        "has started it again.",
        since=since,
    )


def _over(since: datetime | None, seconds: float, now: datetime) -> bool:
    return since is not None and now - since > timedelta(seconds=seconds)


def _ago(since: datetime, now: datetime) -> str:
    """Return a span of time as people say it."""
    minutes = max(int((now - since).total_seconds() // 60), 0)
    if minutes < 120:
        return f"{minutes} minutes"
    hours = minutes // 60
    return f"{hours} hours" if hours < 48 else f"{hours // 24} days"
