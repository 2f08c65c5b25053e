"""The fault matrix (DESIGN 13), generated from the saga registry: cases, and the oracle.

A case is a step, a class of failure and a decision. Which request a step sends is not written down
here: a clean run is observed first, and a fault is aimed by the step's key, which travels in the
header `X-Correlation-Id`. So a new saga or step is in the matrix by itself.
"""

import itertools
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

from canonical.saga import Verb
from simulators.kit.calls import CallView
from tests.sagas.subjects import OpportunitySubject, Subject
from tests.support.world import SETTLE_SECONDS, VENDORS, World
from workflows.engine import Saga
from workflows.registry import SAGAS

Snapshot = dict[tuple[str, str, str], JsonValue]


class FaultClass(StrEnum):
    """What becomes of the request that the fault meets."""

    REJECTED = "rejected"
    FAILED_WITHOUT_EFFECT = "failed_without_effect"
    UNKNOWN_WITHOUT_EFFECT = "unknown_without_effect"
    UNKNOWN_WITH_EFFECT = "unknown_with_effect"
    LANDS_LATE = "lands_late"


FAULTS: dict[FaultClass, dict[str, JsonValue]] = {
    FaultClass.REJECTED: {"kind": "reject"},
    FaultClass.FAILED_WITHOUT_EFFECT: {"kind": "fail_before"},
    FaultClass.UNKNOWN_WITHOUT_EFFECT: {"kind": "drop_before"},
    FaultClass.UNKNOWN_WITH_EFFECT: {"kind": "drop_after"},
    FaultClass.LANDS_LATE: {
        "kind": "hold",
        "effect": "after",
        "release_after_seconds": 5.0 + SETTLE_SECONDS / 2,
    },
}


class Answer(StrEnum):
    """What a person does about the parked step."""

    RETRY = "retry"
    ROLL_BACK = "roll_back"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    saga: str
    step: str
    fault: FaultClass
    answer: Answer
    undo: bool = False
    """The fault meets the step's undo; the saga is made to roll back at its last step."""
    subject: str = ""
    """What it runs over; empty: the first whose clean run has the step."""

    def __str__(self) -> str:
        what = "undo " if self.undo else ""
        where = f" of {self.subject}" if self.subject else ""
        return f"{what}{self.step}-{self.fault}-{self.answer}{where}"


def do_cases() -> list[Case]:
    """Return cases in which every step meets every class, and every decision both of them."""
    cases = []
    for saga in SAGAS:
        for row, step in enumerate(saga.STEPS):
            for column, fault in enumerate(FaultClass):
                answer = list(Answer)[(row + column) % len(Answer)]
                if step.own:
                    continue  # no vendor call to meet: kills and terminations meet it
                cases.append(Case(saga.__name__, step.name, fault, answer))
    return cases


def full_cases() -> list[Case]:
    """Return the whole product, for the soak."""
    return [
        Case(saga.__name__, step.name, fault, answer)
        for saga in SAGAS
        for step, fault, answer in itertools.product(saga.STEPS, FaultClass, Answer)
        if not step.own
    ]


def undo_cases() -> list[Case]:
    """Return the same classes once on every undo."""
    return [
        Case(saga.__name__, step.name, fault, Answer.RETRY, undo=True)
        for saga in SAGAS
        for step in saga.STEPS
        if step.undo is not None and not step.own
        for fault in FaultClass
    ]


def saga_named(name: str) -> type[Saga[Any]]:
    """Return a saga class by its name."""
    return next(saga for saga in SAGAS if saga.__name__ == name)


@dataclass
class Clean:
    """What a run without faults sends and leaves behind."""

    subject: Subject
    created: Counter[tuple[str, str]]
    """New live records by (vendor, type)."""
    steps: dict[str, str]
    """Step to the vendor it talks to."""
    changed: set[str]
    """Fields of records that were there before and that the saga may change."""

    @property
    def slug(self) -> str:
        """The seeded deal, where it is one."""
        return self.subject.name


def correlation(step: str, *, undo: bool = False) -> str:
    """Return the expression that finds a step's requests by their correlation id."""
    return rf"/\d+:{step}(:[^#]*)?{'#undo' if undo else ''}$"


def step_of(call: CallView) -> str:
    """Return the step, with `#undo` for its undo, that sent a request."""
    text = call["correlation_id"] or ""
    local = text.rpartition("/")[2].partition(":")[2]
    step, hash_, _ = local.partition("#")
    return step.partition(":")[0] + ("#undo" if hash_ else "")


async def effects(world: World, account: str) -> list[str]:
    """Return the steps (`#undo` for undos) that had effects in an account, in their order."""
    found = [
        (call["at"], vendor, effect["order"], step_of(call))
        for vendor in VENDORS
        for call in await world.control.calls(vendor, account)
        for effect in call["effects"]
    ]
    return [step for *_, step in sorted(found)]


async def observe(world: World, what: Subject | str) -> Clean:
    """Run a subject, or a deal by its slug, without faults; note what it sends and leaves."""
    subject = OpportunitySubject(what) if isinstance(what, str) else what
    account = await subject.account(world)
    before = await world.live(account)
    result = await world.finished(await subject.start(world, account))
    assert result.outcome == "completed", result
    steps: dict[str, str] = {}
    for vendor in VENDORS:
        for call in await world.control.calls(vendor, account):
            if step := step_of(call):
                steps.setdefault(step, vendor)
    after = await world.live(account)
    return Clean(subject, created(before, after), steps, changed(before, after))


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the names of the fields that differ in records that were there before."""
    names: set[str] = set()
    for key in before.keys() & after.keys():
        old, new = fields_of(before[key]), fields_of(after[key])
        names |= {name for name in {*old, *new} if old.get(name) != new.get(name)}
    return names


def created(before: Snapshot, after: Snapshot) -> Counter[tuple[str, str]]:
    """Count the records that are new, by vendor and type."""
    return Counter((vendor, type_) for vendor, type_, _ in after.keys() - before.keys())


def assert_untouched(before: Snapshot, after: Snapshot, *, but: set[str]) -> None:
    """Assert that what was there before is there as it was; fields named in `but` may differ."""
    for key, fields in before.items():
        assert key in after, f"{key} was there before and is gone"
        old, new = fields_of(fields), fields_of(after[key])
        differs = {
            name: (old.get(name), new.get(name))
            for name in ({*old, *new} - but - STAMPS)
            if old.get(name) != new.get(name)
        }
        assert not differs, f"{key} was changed: {differs}"


STAMPS = {"SystemModstamp", "LastModifiedDate", "lastModifiedDate", "updated_at"}
"""When a record was touched: the one trace that a restored record keeps."""


def fields_of(value: JsonValue) -> dict[str, JsonValue]:
    """Return a record's fields."""
    return value if isinstance(value, dict) else {}


def assert_undone_in_reverse(subject: Subject, log: list[str]) -> None:
    """Assert that undos took effect in reverse order of dependency."""
    done = list(dict.fromkeys(step for step in log if step and not step.endswith("#undo")))
    undone = dict.fromkeys(step.removesuffix("#undo") for step in log if step.endswith("#undo"))
    order = [step for step in undone if step in done]
    for i, earlier in enumerate(order):
        for later in order[i + 1 :]:
            if not subject.independent(earlier, later):
                assert done.index(earlier) > done.index(later), f"{earlier} undone before {later}"


VERBS = {Answer.RETRY: Verb.RETRY, Answer.ROLL_BACK: Verb.ROLL_BACK}
