"""Time and expenses (sections 8 and 9): what makes a project undeletable."""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import (
    Filter,
    Predicate,
    by_flag,
    by_id,
    on_any_value,
    wanted_boolean,
    within_dates,
)
from simulators.kantata.participations import find as find_participation
from simulators.kantata.scene import Scene
from simulators.kantata.values import (
    ACCOUNT_ID,
    CURRENCIES,
    Field,
    Fields,
    Kind,
    integer_in,
    text_in,
)
from simulators.kit import Record


def is_invoiced(record: Record) -> bool:
    """Whether an entry is on an invoice which is not cancelled."""
    return record.fields.get("invoice_id") is not None


class _LineItems(Collection):
    """What time entries and expenses share."""

    one: ClassVar[Links] = {
        "workspace": ("workspace_id", "workspaces"),
        "user": ("user_id", "users"),
        "story": ("story_id", "stories"),
        "role": ("role_id", "roles"),
        "invoice": ("invoice_id", "invoices"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "user_id": by_id("user_id"),
        "story_id": by_id("story_id"),
        "invoiced": on_any_value(is_invoiced),
        "uninvoiced": on_any_value(lambda record: not is_invoiced(record)),
        "billable": by_flag("billable"),
        "in_active_invoice_id": by_id("invoice_id"),
        "date_performed_between": within_dates("date_performed"),
        "date_between": within_dates("date"),
    }

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        workspace = scene.find("workspaces", text_in(values, "workspace_id"))
        currency = None if workspace is None else workspace.fields["currency"]
        return {"invoice_id": None, "currency": currency}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        if record is not None and is_invoiced(record):
            problems.append(problem("base", "can't be changed once it is invoiced"))
        if given.get("user_id") is None and fields.get("user_id") is None:
            given["user_id"] = scene.user_id
        story = scene.find("stories", text_in(fields, "story_id"))
        if story is not None and story.fields["workspace_id"] != fields["workspace_id"]:
            problems.append(problem("story_id", "belongs to another workspace"))

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene
        if is_invoiced(record):
            raise invalid(f"{self.noun} can't be deleted once it is invoiced")

    def hidden(self, scene: Scene, query: Mapping[str, str]) -> Predicate:
        """Hide what other accounts' people entered, and what lies in archived projects."""
        on_my_account = wanted_boolean(query, "on_my_account") is not False
        with_archived = wanted_boolean(query, "from_archived_workspaces") is True

        def hides(record: Record) -> bool:
            user = scene.find("users", text_in(record.fields, "user_id"))
            if on_my_account and user is not None and user.fields["account_id"] != ACCOUNT_ID:
                return True
            workspace = scene.find("workspaces", text_in(record.fields, "workspace_id"))
            is_archived = workspace is not None and workspace.fields["archived"] is True
            return is_archived and not with_archived

        return hides

    def derived(self, scene: Scene, record: Record) -> Fields:
        del scene
        currency = text_in(record.fields, "currency")
        symbol, unit = CURRENCIES[currency]
        return {
            "currency": currency,
            "currency_symbol": symbol,
            "currency_base_unit": unit,
            "invoice_id": record.fields.get("invoice_id"),
            "is_invoiced": is_invoiced(record),
            "taxable": False,
            "user_can_edit": not is_invoiced(record),
            "active_submission_id": None,
            "recent_submission_id": None,
        }


class TimeEntries(_LineItems):
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
    orders = frozenset({"date_performed"})

    def __init__(self) -> None:
        self.filters = {**_LineItems.filters, "approved": _approved_only}  # type: ignore[misc]

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
        story = scene.find("stories", text_in(fields, "story_id"))
        if record is None and workspace is not None:
            if workspace.fields["time_trackable"] is not True:
                problems.append(problem("workspace_id", "does not allow time tracking"))
            if workspace.fields["archived"] is True:
                problems.append(problem("workspace_id", "is archived"))
            if given.get("rate_in_cents") is None:
                member = find_participation(scene, workspace.id, given["user_id"])
                given["rate_in_cents"] = integer_in(member.fields, "rate_in_cents") if member else 0
        if record is None and story is not None and story.fields["time_trackable"] is not True:
            problems.append(problem("story_id", "does not allow time tracking"))
        if integer_in(fields, "time_in_minutes") < 0:
            problems.append(problem("time_in_minutes", "must be greater than or equal to 0"))

    def derived(self, scene: Scene, record: Record) -> Fields:
        return {**super().derived(scene, record), "approved": _is_approved(scene, record)}


class Expenses(_LineItems):
    """`GET`, `POST`, `PUT`, `DELETE /expenses`: written as `billable`, read as `is_billable`."""

    name = "expenses"
    singular = "expense"
    noun = "Expense"
    fields: ClassVar[Mapping[str, Field]] = {
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "date": Field(Kind.DATE, required=True),
        "amount_in_cents": Field(Kind.INTEGER, required=True),
        "category": Field(required=True),
        "notes": Field(length_max=None),
        "billable": Field(Kind.BOOLEAN, default=True, shown=False),
        "reimbursable": Field(Kind.BOOLEAN, default=False),
        "user_id": Field(Kind.REFERENCE, target="users"),
        "story_id": Field(Kind.REFERENCE, target="stories"),
    }
    always_shown = frozenset({"external_reference_ids"})
    orders = frozenset({"date"})

    def derived(self, scene: Scene, record: Record) -> Fields:
        billable = record.fields.get("billable")
        return {**super().derived(scene, record), "is_billable": billable}


def _is_approved(scene: Scene, record: Record) -> bool:
    """Tell whether the project needs no approval; timesheets are not simulated."""
    workspace = scene.find("workspaces", text_in(record.fields, "workspace_id"))
    return workspace is not None and workspace.fields["require_time_approvals"] is not True


def _approved_only(scene: Scene, _value: str) -> Predicate:
    return lambda record: _is_approved(scene, record)
