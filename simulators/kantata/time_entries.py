"""Time (section 8): entries, adjustments of what is closed, and the lock of a period."""

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

from simulators.kantata import approvals, rates
from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import Filter, by_flag, within_dates
from simulators.kantata.line_items import SHEET_FILTERS, BookedItems, LineItems, is_changed
from simulators.kantata.scene import Scene
from simulators.kantata.values import Field, Fields, Kind, integer_in, text_in
from simulators.kit import Record

_SATURDAY = 5


class TimeEntries(LineItems):
    """`GET`, `POST` (one, or 100 in bulk), `PUT`, `DELETE /time_entries`."""

    name = "time_entries"
    singular = "time_entry"
    noun = "TimeEntry"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "date_performed": Field(Kind.DATE, required=True),
        "time_in_minutes": Field(Kind.INTEGER, required=True),
        "user_id": Field(Kind.REFERENCE, target="users"),
        "story_id": Field(Kind.REFERENCE, target="stories"),
        "role_id": Field(Kind.REFERENCE, target="roles"),
        "billable": Field(Kind.BOOLEAN, default=True),
        "notes": Field(length_max=None),
        "location": Field(),
        "rate_in_cents": Field(Kind.INTEGER),
        "cost_rate_in_cents": Field(Kind.INTEGER),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        **LineItems.filters,
        **SHEET_FILTERS,
        "date_performed_between": within_dates("date_performed"),
    }
    orders = frozenset({"date_performed"})

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        super().check(scene, fields, given, record, problems)
        if integer_in(fields, "time_in_minutes") < 0:
            problems.append(problem("time_in_minutes", "must be greater than or equal to 0"))
        workspace = scene.find("workspaces", text_in(fields, "workspace_id"))
        story = scene.find("stories", text_in(fields, "story_id"))
        if record is None and workspace is not None:
            _settle_rates(scene, workspace, given)
            if workspace.fields["time_trackable"] is not True:
                problems.append(problem("workspace_id", "does not allow time tracking"))
            needs_notes = workspace.fields["require_notes_on_time_entries"] is True
            if needs_notes and not fields.get("notes"):
                problems.append(problem("notes", "can't be blank"))
        if record is None and story is not None and story.fields["time_trackable"] is not True:
            problems.append(problem("story_id", "does not allow time tracking"))
        if record is None or is_changed(record, given):
            _check_closed(scene, fields, record, problems)

    def check_delete(self, scene: Scene, record: Record) -> None:
        super().check_delete(scene, record)
        problems: list[Problem] = []
        _check_closed(scene, record.fields, record, problems)
        if problems:
            raise invalid(problems[0].message)

    def derived(self, scene: Scene, record: Record) -> Fields:
        approved = approvals.is_approved(scene, record)
        return {**super().derived(scene, record), "approved": approved}


class TimeAdjustments(BookedItems):
    """Corrections of time that is locked or approved; they need no approval (section 8.3)."""

    name = "time_adjustments"
    singular = "time_adjustment"
    noun = "TimeAdjustment"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "user_id": Field(Kind.REFERENCE, target="users"),
        "story_id": Field(Kind.REFERENCE, target="stories"),
        "role_id": Field(Kind.REFERENCE, target="roles"),
        "original_date": Field(Kind.DATE, required=True),
        "posted_on_date": Field(Kind.DATE),
        "time": Field(Kind.INTEGER, required=True),
        "bill_rate_in_cents": Field(Kind.INTEGER),
        "cost_rate_in_cents": Field(Kind.INTEGER),
        "billable": Field(Kind.BOOLEAN, default=True),
        "notes": Field(length_max=None),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        **BookedItems.filters,
        "original_date_between": within_dates("original_date"),
        "posted_on_date_between": within_dates("posted_on_date"),
        "billable": by_flag("billable"),
    }
    orders = frozenset({"original_date", "posted_on_date"})

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        super().check(scene, fields, given, record, problems)
        workspace = scene.find("workspaces", text_in(fields, "workspace_id"))
        if record is None and workspace is not None:
            _settle_rates(scene, workspace, given, "bill_rate_in_cents")
            if given.get("posted_on_date") is None:
                given["posted_on_date"] = scene.account.clock.now().date().isoformat()

    def derived(self, scene: Scene, record: Record) -> Fields:
        shown = super().derived(scene, record)
        return {**shown, "active_invoice_id": record.fields.get("invoice_id")}


class LineItemLocks(Collection):
    """`GET`, `POST /line_item_locks`: no time up to a Saturday changes any more, for good."""

    name = "line_item_locks"
    singular = "line_item_lock"
    noun = "LineItemLock"
    can = READ | {"create"}
    fields: ClassVar[Mapping[str, Field]] = {
        "locked_to": Field(Kind.DATE, required=True),
    }
    one: ClassVar[Links] = {"creator": ("creator_id", "users")}
    orders = frozenset({"locked_to"})

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del values
        return {"creator_id": scene.user_id}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        del given, record
        wanted = text_in(fields, "locked_to")
        if date.fromisoformat(wanted).weekday() != _SATURDAY:
            problems.append(problem("locked_to", "must be a Saturday"))
        if wanted <= locked_to(scene):
            problems.append(problem("locked_to", "must be later than the last lock"))
        is_open = any(
            text_in(entry.fields, "date_performed") <= wanted
            and not approvals.is_approved(scene, entry)
            for entry in scene.store.list("time_entries")
        )
        if is_open:
            problems.append(problem("locked_to", "has unapproved time before it"))

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene, record
        raise invalid("A lock can't be taken back")

    def derived(self, scene: Scene, record: Record) -> Fields:
        del scene
        return {"creator_id": record.fields["creator_id"]}


def locked_to(scene: Scene) -> str:
    """Return the last day on which time is locked, empty where none is."""
    days = (text_in(row.fields, "locked_to") for row in scene.store.list("line_item_locks"))
    return max(days, default="")


def _check_closed(
    scene: Scene, fields: Fields, record: Record | None, problems: list[Problem]
) -> None:
    """Refuse what is locked, or what an adjustment hangs on: same project, person, task, day."""
    days = [fields.get("date_performed"), record and record.fields["date_performed"]]
    if any(isinstance(day, str) and day <= locked_to(scene) for day in days):
        problems.append(problem("date_performed", "is locked"))
    if record is None:
        return
    held = record.fields
    for row in scene.of_workspace("time_adjustments", text_in(held, "workspace_id")):
        same = all(row.fields[name] == held[name] for name in ("user_id", "story_id"))
        if same and row.fields["original_date"] == held["date_performed"]:
            problems.append(problem("base", "can't be changed because it was adjusted"))
            return


def _settle_rates(
    scene: Scene, workspace: Record, given: Fields, rate: str = "rate_in_cents"
) -> None:
    """Fill in role and rates that are not given (section 8.1)."""
    user_id = text_in(given, "user_id")
    role_id = given.get("role_id") or rates.role_of(scene, workspace.id, user_id)
    given["role_id"] = role_id
    if given.get(rate) is None:
        given[rate] = rates.bill_rate(scene, workspace, user_id, text_in(given, "role_id") or None)
    if given.get("cost_rate_in_cents") is None:
        given["cost_rate_in_cents"] = rates.cost_rate(scene, workspace, user_id)
