"""The scenarios of approved time: many projects with 500 entries each, or 20.

All is made at once, without the rules for single requests, but as those would have it. The feed
has the submissions, made and approved by people; entries have no rows in it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from simulators.kantata import participations
from simulators.kantata.approvals import APPROVED, SHEETS
from simulators.kantata.catalog import CATALOG
from simulators.kantata.expenses import Expenses
from simulators.kantata.references import put_inline
from simulators.kantata.scene import Scene
from simulators.kantata.seed import CATEGORIES, PEOPLE, RATE_CARDS, RATES
from simulators.kantata.stories import story_fields
from simulators.kantata.submissions import sheet_fields
from simulators.kantata.time_entries import TimeEntries
from simulators.kantata.values import CURRENCIES, Fields
from simulators.kantata.workspaces import Workspaces
from simulators.kit import Account, JsonValue, Record

SIZES = {"time": 500, "time-small": 20}
"""Scenario -> time entries and expenses together in each project."""
FIRST_WORKSPACE, FIRST_JOB, FIRST_STORY = 5001, 7001, 100_000
SHAPES = ("tm", "fixed", "retainer", "managed", "mixed")
"""Contract shapes, the words after `shape=` in a project's description."""
TASKS = ("Consulting", "Fixed scope", "Travel", "Non-billable")
APPROVER = "3"

_CURRENCIES = ("USD", "EUR", "GBP", "JPY")
_STAFF = {"USD": ("3", "6", "8"), "EUR": ("4", "7"), "GBP": ("4", "7"), "JPY": ("5",)}
_FIRST_DAY = date(2026, 11, 2)
_WEEKS = 4
_WORKDAYS = 5
_MINUTES = (7, 13, 15, 30, 45, 60, 90, 120, 240, 450, 480)
_AWAY_EVERY = 33
_ACTIVE_STATUS = 300


@dataclass(slots=True)
class _Project:
    """A project while it is filled."""

    scene: Scene
    number: int
    record: Record
    currency: str
    dice: random.Random
    sheets: dict[tuple[str, str, int], list[Record]] = field(default_factory=dict)

    def story(self, task: int) -> str:
        return str(FIRST_STORY + 10 * self.number + task)


def fill_time(account: Account, scenario: str, count: int, seed: int) -> Mapping[str, JsonValue]:
    """Add projects whose time and expenses are all approved; those there are stay as they are."""
    scene = Scene(account, CATALOG, APPROVER)
    made = {"projects": 0, "time_entries": 0, "expenses": 0}
    with scene.transaction():
        for number in range(count):
            if scene.store.get("workspaces", str(FIRST_WORKSPACE + number), dead=True) is None:
                project = _start(scene, number, seed)
                size = SIZES[scenario]
                made["projects"] += 1
                made["time_entries"] += _log_time(project, size - size // 20, size)
                made["expenses"] += _spend(project, size // 20)
                _approve(project)
    return {**made}


def _start(scene: Scene, number: int, seed: int) -> _Project:
    currency = _CURRENCIES[number % len(_CURRENCIES)]
    fields: Fields = {
        **{n: f.default for n, f in Workspaces.fields.items() if f.kept},
        "title": f"Time project {number + 1:04}",
        "description": f"shape={SHAPES[number % len(SHAPES)]}",
        "currency": currency,
        "rate_card_id": RATE_CARDS[currency],
        "require_time_approvals": True,
        "require_expense_approvals": True,
        "status_key": _ACTIVE_STATUS,
        "primary_maven_id": APPROVER,
        "approver_ids": [],
        "workspace_group_ids": [],
        "creator_id": APPROVER,
        "primary_counterpart_id": None,
    }
    record = scene.insert("workspaces", fields, id_=str(FIRST_WORKSPACE + number))
    reference: Fields = {
        "service_name": "dealthread-erp",
        "service_model": "job",
        "service_model_ref": str(FIRST_JOB + number),
        "status": "successful",
    }
    put_inline(scene, "Workspace", record, reference)
    for user_id in ("2", *PEOPLE):
        participations.join(scene, record.id, user_id, {})
    project = _Project(scene, number, record, currency, random.Random(f"{seed}/{number}"))
    for task, title in enumerate(TASKS):
        story: Fields = {
            **story_fields(scene, record, None),
            "title": title,
            "story_type": "task",
            "workspace_id": record.id,
            "billable": title != "Non-billable",
        }
        scene.insert("stories", story, id_=project.story(task))
    return project


def _log_time(project: _Project, count: int, size: int) -> int:
    staff = _STAFF[project.currency]
    away = [id_ for id_ in PEOPLE if id_ not in staff]
    known: Fields = {name: each.default for name, each in TimeEntries.fields.items()}
    for number in range(count):
        running = project.number * size + number
        is_away = running % _AWAY_EVERY == _AWAY_EVERY - 1
        user_id = project.dice.choice(away) if is_away else staff[number % len(staff)]
        billable = number % 10 != 9
        role = PEOPLE[user_id].role
        own = PEOPLE[user_id].currency == project.currency
        week, day = _day(project, number)
        fields: Fields = {
            "date_performed": day,
            "time_in_minutes": project.dice.choice(_MINUTES),
            "user_id": user_id,
            "story_id": project.story(_task(project, number) if billable else 3),
            "role_id": role,
            "billable": billable,
            "notes": f"Work {number + 1}",
            "rate_in_cents": RATES[project.currency][role],
            "cost_rate_in_cents": PEOPLE[user_id].cost if own else None,
        }
        _book(project, "time_entries", {**known, **fields}, user_id, week)
    return count


def _spend(project: _Project, count: int) -> int:
    staff = _STAFF[project.currency]
    unit = CURRENCIES[project.currency][1]
    known: Fields = {name: each.default for name, each in Expenses.fields.items()}
    for number in range(count):
        user_id = staff[number % len(staff)]
        category = project.dice.choice([*CATEGORIES])
        week, day = _day(project, number)
        worth = project.dice.randint(1000, 90_000)
        fields: Fields = {
            "date": day,
            "amount_in_cents": worth * 3 // 2 if unit == 1 else worth * unit // 100,
            "category": CATEGORIES[category],
            "expense_category_id": category,
            "user_id": user_id,
            "story_id": project.story(2),
            "reimbursable": True,
            "notes": f"Expense {number + 1}",
        }
        _book(project, "expenses", {**known, **fields}, user_id, week)
    return count


def _book(project: _Project, type_: str, fields: Fields, user_id: str, week: int) -> None:
    whole: Fields = {
        **fields,
        "workspace_id": project.record.id,
        "currency": project.currency,
        "invoice_id": None,
        "active_submission_id": None,
        "recent_submission_id": None,
    }
    made = project.scene.insert(type_, whole)
    project.sheets.setdefault((type_, user_id, week), []).append(made)


def _approve(project: _Project) -> None:
    """Make one submission per person and week, and have it approved."""
    scene = project.scene
    for (type_, user_id, week), items in project.sheets.items():
        sheets = SHEETS[type_]
        fields: Fields = {
            "title": f"{PEOPLE[user_id].full_name}, week {week + 1}",
            "workspace_id": project.record.id,
            "user_id": user_id,
            "comment": None,
            **sheet_fields(items, sheets.items_attribute, sheets.date_field, user_id),
        }
        sheet = scene.insert(sheets.submissions, fields)
        scene.tell("created", sheet)
        resolution: Fields = {
            "submission_id": sheet.id,
            "status": APPROVED,
            "description": "",
            "creator_id": APPROVER,
        }
        made = scene.insert("resolutions", resolution)
        before = sheet.fields
        scene.store.update(sheet, {"status": APPROVED, "resolution_ids": [made.id]})
        scene.tell("updated", sheet, before)
        held: Fields = {"active_submission_id": sheet.id, "recent_submission_id": sheet.id}
        for item in items:
            item.fields.update(held)


def _task(project: _Project, number: int) -> int:
    """Return the task of billable work: the fixed scope where there is nothing else, or in turn."""
    shape = SHAPES[project.number % len(SHAPES)]
    if shape == "mixed":
        return number % 2
    return 1 if shape == "fixed" else 0


def _day(project: _Project, number: int) -> tuple[int, str]:
    staff = len(_STAFF[project.currency])
    week = number // staff % _WEEKS
    day = _FIRST_DAY + timedelta(days=7 * week + project.dice.randrange(_WORKDAYS))
    return week, day.isoformat()
