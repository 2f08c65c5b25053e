"""Projects (section 6): created from templates, archived, deleted while nothing was booked."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from simulators.kantata import amounts, submissions, templates
from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import (
    Filter,
    Predicate,
    by_id,
    by_ids,
    by_text,
    containing,
    hides_nothing,
    wanted_boolean,
)
from simulators.kantata.participations import join
from simulators.kantata.scene import Scene
from simulators.kantata.values import (
    ACCOUNT_ID,
    CURRENCIES,
    Field,
    Fields,
    Kind,
    formatted,
    ids_in,
    integer_in,
    objects_in,
    text_in,
    to_cents,
)
from simulators.kit import JsonValue, Record

DEFAULT_CURRENCY = "USD"
STATUSES = {
    200: ("Prospect", "grey"),
    250: ("In Setup", "light-green"),
    300: ("Active", "green"),
    400: ("On Hold", "yellow"),
    500: ("Completed", "grey"),
}
"""The account's own statuses; 250 is the page's example."""
DEFAULT_STATUS = 200

_FLAG = Field(Kind.BOOLEAN, default=False)
_TEMPLATE = "project_tracker_template_id"
_SHEETS = ("timesheet_submissions", "expense_report_submissions")
_USED_BY = {
    "time_entries": "time entries",
    "expenses": "expenses",
    "time_adjustments": "time adjustments",
    "invoices": "invoices",
}


class Workspaces(Collection):
    """`GET`, `POST` (one, or 100 in bulk), `PUT`, `DELETE /workspaces`."""

    name = "workspaces"
    singular = "workspace"
    noun = "Workspace"
    bulk_max = 100
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(required=True),
        "creator_role": Field(
            Kind.CHOICE, choices=("maven", "buyer"), default="maven", on_update=False, shown=False
        ),
        "description": Field(length_max=None),
        "budgeted": _FLAG,
        "price": Field(Kind.MONEY),
        "currency": Field(Kind.CHOICE, choices=tuple(CURRENCIES), default=DEFAULT_CURRENCY),
        "start_date": Field(Kind.DATE),
        "due_date": Field(Kind.DATE),
        "access_level": Field(
            Kind.CHOICE, choices=("invitation", "open", "admins"), default="invitation"
        ),
        "rate_card_id": Field(Kind.REFERENCE, target="rate_cards"),
        "require_time_approvals": _FLAG,
        "require_expense_approvals": _FLAG,
        "approver_ids": Field(Kind.REFERENCES, target="users", shown=False),
        "primary_maven_id": Field(Kind.REFERENCE, target="users"),
        "primary_workspace_group_id": Field(Kind.REFERENCE, target="workspace_groups"),
        "workspace_group_ids": Field(Kind.REFERENCES, target="workspace_groups", shown=False),
        "stage": Field(Kind.CHOICE, choices=("estimate", "project"), default="project"),
        "status_key": Field(Kind.INTEGER, default=DEFAULT_STATUS),
        "target_margin": Field(Kind.NUMBER),
        "change_orders_enabled": _FLAG,
        "tasks_default_non_billable": _FLAG,
        "stories_are_fixed_fee_by_default": _FLAG,
        "expenses_in_burn_rate": _FLAG,
        "time_trackable": Field(Kind.BOOLEAN, default=True),
        "require_notes_on_time_entries": _FLAG,
        "archived": Field(Kind.BOOLEAN, default=False, on_create=False),
        _TEMPLATE: Field(Kind.REFERENCE, target=templates.NAME, kept=False),
        "project_template_start_date": Field(Kind.DATE, kept=False),
        "project_template_assignment_mappings": Field(Kind.LIST, kept=False),
        "project_template_weekends_as_workdays": Field(Kind.BOOLEAN, kept=False),
        "participations": Field(Kind.LIST, kept=False, on_update=False),
    }
    one: ClassVar[Links] = {
        "primary_maven": ("primary_maven_id", "users"),
        "primary_counterpart": ("primary_counterpart_id", "users"),
        "creator": ("creator_id", "users"),
        "primary_workspace_group": ("primary_workspace_group_id", "workspace_groups"),
        "rate_card": ("rate_card_id", "rate_cards"),
    }
    many: ClassVar[Links] = {
        "approvers": ("approver_ids", "users"),
        "participants": ("participant_ids", "users"),
        "participations": ("participation_ids", "participations"),
        "workspace_groups": ("workspace_group_ids", "workspace_groups"),
        **{name: (f"{name.removesuffix('s')}_ids", name) for name in _SHEETS},
    }
    optional = frozenset({"budget_remaining"})  # which attributes are optional is unverified
    filters: ClassVar[Mapping[str, Filter]] = {
        "matching": containing("title"),
        "workspace_groups": by_ids("workspace_group_ids"),
        "primary_workspace_group": by_id("primary_workspace_group_id"),
        "status_key": by_id("status_key"),
        "stage": by_text("stage"),
    }
    orders = frozenset({"due_date", "title", "start_date"})
    search_fields = ("title",)

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        del values
        return {"creator_id": scene.user_id, "primary_counterpart_id": None}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        if fields["budgeted"] is True and fields.get("price") is None:
            problems.append(problem("price", "can't be blank"))
        if fields.get("status_key") not in STATUSES:
            problems.append(problem("status_key", "is not included in the list"))
        self._settle_currency(scene, fields, given)
        changed = record is not None and given.get("currency", "") not in (
            "",
            record.fields["currency"],
        )
        if changed and record is not None and has_financial_data(scene, record.id):
            problems.append(problem("currency", "can't be changed once financial data exists"))
        group = fields.get("primary_workspace_group_id")
        if group is not None and group not in ids_in(fields, "workspace_group_ids"):
            given["workspace_group_ids"] = [*ids_in(fields, "workspace_group_ids"), group]
        if record is None and given.get("primary_maven_id") is None:
            given["primary_maven_id"] = scene.user_id
        for row in objects_in(given.get("participations")):
            if scene.find("users", text_in(row, "user_id")) is None:
                problems.append(problem("participations", "user does not exist"))

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        del body
        join(scene, record.id, scene.user_id, {})
        join(scene, record.id, text_in(values, "primary_maven_id"), {})
        for row in objects_in(values["participations"]):
            join(scene, record.id, text_in(row, "user_id"), row)
        _apply(scene, record, values)

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        del before, body
        if values.get("primary_maven_id") is not None:
            join(scene, record.id, text_in(values, "primary_maven_id"), {})
        _apply(scene, record, values)

    def check_delete(self, scene: Scene, record: Record) -> None:
        """Refuse once anything was booked; the page has this as unverified."""
        for collection, words in _USED_BY.items():
            if scene.of_workspace(collection, record.id):
                raise invalid(f"Workspace can't be deleted because it has {words}")

    def deleting(self, scene: Scene, record: Record) -> None:
        for collection in ("stories", "billing_milestones", "participations", *_SHEETS):
            for row in scene.of_workspace(collection, record.id):
                self.drop(scene, row)

    def hidden(self, scene: Scene, query: Mapping[str, str]) -> Predicate:
        """Hide archived projects, also from `GET /{id}`, unless they are asked for."""
        del scene
        only_archived = wanted_boolean(query, "archived")
        if only_archived is not None:
            return lambda record: (record.fields["archived"] is True) != only_archived
        if wanted_boolean(query, "include_archived"):
            return hides_nothing
        return lambda record: record.fields["archived"] is True

    def linked(self, scene: Scene, record: Record, include: str) -> Sequence[str]:
        if include in _SHEETS:
            return [row.id for row in scene.of_workspace(include, record.id)]
        if include in ("participants", "participations"):
            rows = scene.of_workspace("participations", record.id)
            if include == "participations":
                return [row.id for row in rows]
            return [text_in(row.fields, "user_id") for row in rows]
        return super().linked(scene, record, include)

    def derived(self, scene: Scene, record: Record) -> Fields:
        fields = record.fields
        currency = text_in(fields, "currency")
        symbol, unit = CURRENCIES[currency]
        used = sum(
            amounts.of_record(entry) for entry in scene.of_workspace("time_entries", record.id)
        )
        spent = sum(
            integer_in(row.fields, "amount_in_cents")
            for row in scene.of_workspace("expenses", record.id)
        )
        price = fields.get("price")
        cents = None if price is None else to_cents(str(price), currency)
        message, color = STATUSES[integer_in(fields, "status_key")]
        status: JsonValue = {"key": fields["status_key"], "message": message, "color": color}
        return {
            "account_id": ACCOUNT_ID,
            "creator_id": fields.get("creator_id"),
            "primary_counterpart_id": fields.get("primary_counterpart_id"),
            "effective_due_date": fields.get("due_date"),
            "currency_symbol": symbol,
            "currency_base_unit": unit,
            "price": "TBD" if cents is None else formatted(cents, currency),
            "price_in_cents": cents,
            "budget_used": formatted(used, currency),
            "budget_used_in_cents": used,
            "budget_remaining": None if cents is None else formatted(cents - used, currency),
            "over_budget": cents is not None and used > cents,
            "percent_of_budget_used": round(100 * used / cents) if cents else 0,
            "total_expenses_in_cents": spent,
            "percentage_complete": 0,
            **{
                f"has_active_{name}": submissions.has_active(scene, name, record.id)
                for name in _SHEETS
            },
            "status": status,
        }

    def _settle_currency(self, scene: Scene, fields: Fields, given: Fields) -> None:
        """Let the rate card's currency rule, as section 6.2 says."""
        card = scene.find("rate_cards", text_in(fields, "rate_card_id"))
        if card is not None:
            given["currency"] = card.fields["currency"]


def apply_template(scene: Scene, record: Record, body: Fields) -> None:
    """`PUT /workspaces/{id}/apply_template`: a second call adds the stories again.

    Raises:
        ApiError: 422, no template is named, or an unknown one.
    """
    values = Workspaces().parse(scene, {_TEMPLATE: None, **body}, record)
    if values.get(_TEMPLATE) is None:
        raise invalid("Project tracker template can't be blank", _TEMPLATE)
    _apply(scene, record, values)


def has_financial_data(scene: Scene, workspace_id: str) -> bool:
    """Whether the project's currency is fixed."""
    kinds = (*_USED_BY, "billing_milestones")
    return any(scene.of_workspace(kind, workspace_id) for kind in kinds)


def _apply(scene: Scene, record: Record, values: Fields) -> None:
    template = scene.find(templates.NAME, text_in(values, _TEMPLATE))
    if template is None:
        return
    start = values.get("project_template_start_date") or record.fields.get("start_date")
    works_weekends = values.get("project_template_weekends_as_workdays") is True
    templates.copy_stories(scene, template, record, start, works_weekends)
