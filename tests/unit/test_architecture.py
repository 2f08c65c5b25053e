"""What holds the house together: who may import whom, one implementation per activity, purity."""

import ast
from collections import Counter
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from activities.alerting import AlertActivities
from activities.backfilling import BackfillActivities, SourceActivities
from activities.billing import BillingActivities
from activities.billing_calendar import CalendarActivities
from activities.credit_desk import CreditDeskActivities
from activities.crediting import CreditActivities
from activities.crm import CrmActivities
from activities.drafting import DraftActivities
from activities.engine import EngineActivities
from activities.erp import ErpActivities
from activities.extracting import ExtractActivities
from activities.following import FollowingActivities
from activities.issuing import IssuingActivities
from activities.milestones import MilestoneActivities
from activities.mirroring import MirrorActivities
from activities.people import HcmActivities
from activities.postings import PostingActivities
from activities.psa import PsaActivities
from activities.reconciling import ReconcileActivities
from activities.schedules import ScheduleActivities
from activities.sweep import SweepActivities
from activities.watching import WatchActivities
from canonical import activities as references
from canonical.activities import ActivityRef
from canonical.ids import Role
from canonical.model import CanonicalModel
from canonical.provisioning import MatchClient
from canonical.records import Receipt, UndoReceipt
from canonical.saga import StepCall, UndoCall
from workflows.engine import Saga
from workflows.registry import SAGAS, WORKFLOWS
from workflows.step import Step

ROOT = Path(__file__).resolve().parents[2]
HOLDERS = (
    AlertActivities,
    BackfillActivities,
    BillingActivities,
    CalendarActivities,
    CreditActivities,
    CreditDeskActivities,
    CrmActivities,
    DraftActivities,
    EngineActivities,
    ErpActivities,
    ExtractActivities,
    FollowingActivities,
    HcmActivities,
    IssuingActivities,
    MilestoneActivities,
    MirrorActivities,
    PostingActivities,
    PsaActivities,
    ReconcileActivities,
    ScheduleActivities,
    SourceActivities,
    SweepActivities,
    WatchActivities,
)
REFERENCES = {ref.name: ref for ref in vars(references).values() if isinstance(ref, ActivityRef)}


def test_everyone_imports_only_what_the_dependency_rule_allows() -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, "run `make check` to see which import breaks the rule"


# Activities.


def test_reference_names_are_unique() -> None:
    named = [ref.name for ref in vars(references).values() if isinstance(ref, ActivityRef)]
    assert len(named) == len(set(named))
    assert len(named) > 20, "the references were not found"


def bound() -> list[tuple[type, str, ActivityRef[Any, Any]]]:
    """Return every registered method of the holders, with its reference."""
    return [
        (holder, name, ref)
        for holder in HOLDERS
        for name, method in vars(holder).items()
        if isinstance(ref := getattr(method, "__dealthread_reference__", None), ActivityRef)
    ]


def test_every_reference_has_exactly_one_implementation() -> None:
    count = Counter(ref.name for _, _, ref in bound())
    assert count == Counter(REFERENCES.keys())


@pytest.mark.parametrize(
    ("holder", "name", "ref"), bound(), ids=lambda value: getattr(value, "name", None)
)
def test_an_implementation_has_the_types_of_its_reference(
    holder: type, name: str, ref: ActivityRef[CanonicalModel, CanonicalModel]
) -> None:
    hints = get_type_hints(getattr(holder, name))
    result = hints.pop("return")
    assert list(hints.values()) == [ref.request]
    assert result is ref.result
    assert name == ref.name, "an activity is found by the name of its method"


def test_no_holder_of_activities_is_forgotten_here() -> None:
    files = {Path(file).stem for file in (ROOT / "activities").glob("*.py")}
    classes = {
        node.name
        for file in files
        for node in ast.walk(parsed(ROOT / "activities" / f"{file}.py"))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Activities")
    }
    assert classes == {holder.__name__ for holder in HOLDERS}


# Steps.


Steps = tuple[Step[Any, Any], ...]


def broken_rules(steps: Steps) -> list[str]:
    """Return what is wrong with a saga's table of steps, in words."""
    return [
        *(f"{step.name}: {why}" for step in steps for why in _of_step(step)),
        *_of_order(steps),
    ]


def _of_step(step: Step[Any, Any]) -> list[str]:
    wrong = []
    do: type[CanonicalModel] = step.do.request
    if not issubclass(do, StepCall):
        wrong.append("its `do` takes no StepCall")
    if step.undo is not None:
        if step.undo.name != f"undo_{step.name}":
            wrong.append(f"its undo is named {step.undo.name}")
        undo: type[CanonicalModel] = step.undo.request
        if not issubclass(undo, UndoCall):
            wrong.append("its undo takes no UndoCall")
        elif payload_of(undo) is not payload_of(do):
            wrong.append("its undo takes another request")
        if step.irreversible:
            wrong.append("it has an undo and says that it has none")
        if step.pivot:
            wrong.append("the pivot has an undo")
    if step.reads_only and step.do.result is Receipt:
        wrong.append("it writes, has no undo and does not say why")
    if step.irreversible and ";" not in step.irreversible:
        wrong.append("`irreversible` names no forward repair after its reason")
    return wrong


def _of_order(steps: Steps) -> list[str]:
    pivots = [place for place, step in enumerate(steps) if step.pivot]
    # Several are alternatives of one another, and stand side by side.
    if not pivots or pivots != list(range(pivots[0], pivots[0] + len(pivots))):
        return [f"{len(pivots)} pivots"]
    wrong = []
    for place, step in enumerate(steps):
        if step.irreversible and place < pivots[0]:
            wrong.append(f"{step.name}: irreversible before the pivot")
        if step.undo is not None and place > pivots[0]:
            wrong.append(f"{step.name}: an undo after the pivot would never run")
    names = Counter(step.name for step in steps)
    return wrong + [f"{name}: twice in the table" for name, n in names.items() if n > 1]


def payload_of(envelope: type[CanonicalModel]) -> object:
    """Return the type of the request in an envelope."""
    return envelope.model_fields["request"].annotation


@pytest.mark.parametrize("saga", SAGAS)
def test_a_saga_follows_the_rules_of_steps(saga: type[Saga[Any]]) -> None:
    assert broken_rules(saga.STEPS) == []
    assert {step.do.name for step in saga.STEPS} <= REFERENCES.keys()


def test_the_rules_of_steps_can_be_broken() -> None:
    call, undo_call = StepCall[MatchClient], UndoCall[MatchClient]

    def ref(name: str) -> ActivityRef[StepCall[MatchClient], Receipt]:
        return ActivityRef(name, call, Receipt)

    undo = ActivityRef("undo_other", undo_call, UndoReceipt)

    broken: Steps = (
        Step(ref("write"), "Write", Role.ERP),
        Step(ref("make"), "Make", Role.ERP, undo=undo),
        Step(ref("send"), "Send", Role.ERP, irreversible="it is sent; send another"),
        Step(ref("open"), "Open", Role.PSA, irreversible="for no reason", pivot=True),
        Step(ref("late"), "Late", Role.PSA, undo=ActivityRef("undo_late", undo_call, UndoReceipt)),
    )

    assert broken_rules(broken) == [
        "write: it writes, has no undo and does not say why",
        "make: its undo is named undo_other",
        "open: `irreversible` names no forward repair after its reason",
        "send: irreversible before the pivot",
        "late: an undo after the pivot would never run",
    ]


def test_workflows_are_registered_once() -> None:
    assert len({workflow.__name__ for workflow in WORKFLOWS}) == len(WORKFLOWS)


# Determinism.

FORBIDDEN_CALLS = {
    "float": "money and rates are Decimal",
    "open": "files are read in activities",
    "print": "it repeats at replay; use workflow.logger",
    "input": "nobody sits there",
    "asyncio.wait": "its order differs per worker; use workflow.wait",
    "asyncio.as_completed": "its order differs per worker; use workflow.as_completed",
    "asyncio.sleep": "use workflow.sleep, with a summary",
    "asyncio.wait_for": "use workflow.wait_condition",
}
FORBIDDEN_MODULES = {"random", "time", "os", "uuid", "secrets", "socket", "threading", "subprocess"}
FORBIDDEN_ATTRIBUTES = {"now", "utcnow", "today", "environ", "getenv", "fromtimestamp"}
ALLOWED = {"workflow.now"}


def impurities(tree: ast.AST) -> list[str]:
    """Return what in workflow code could differ at replay: clocks, chance, environment, files."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            found += [f"{node.lineno}: import {name}" for name in sorted(names & FORBIDDEN_MODULES)]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
                found.append(f"{node.lineno}: from {node.module} import")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS:
            name = ast.unparse(node.func)
            found.append(f"{node.lineno}: {name}: {FORBIDDEN_CALLS[name]}")
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_ATTRIBUTES:
            found += [f"{node.lineno}: {ast.unparse(node)}"] * (ast.unparse(node) not in ALLOWED)
    return found


def parsed(file: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@pytest.mark.parametrize("file", sorted((ROOT / "workflows").rglob("*.py")), ids=lambda f: f.stem)
def test_a_workflow_does_nothing_that_differs_at_replay(file: Path) -> None:
    assert impurities(parsed(file)) == []


@pytest.mark.parametrize(
    "code",
    [
        "float('1.5')",
        "datetime.now()",
        "datetime.datetime.now(UTC)",
        "date.today()",
        "import random",
        "from random import choice",
        "import os.path",
        "x.environ['HOME']",
        "open('file')",
        "asyncio.wait(tasks)",
        "import time",
    ],
)
def test_what_differs_at_replay_is_seen(code: str) -> None:
    assert impurities(ast.parse(code))


def test_the_workflow_clock_is_allowed() -> None:
    assert impurities(ast.parse("workflow.now(); workflow.random().random()")) == []
