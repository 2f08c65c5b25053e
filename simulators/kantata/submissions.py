"""Timesheets and expense reports (sections 8.2 and 9): one project each, never re-opened."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from simulators.kantata import amounts, approvals
from simulators.kantata.approvals import ACTIVE, ITEMS_OF, PENDING, SHEETS, STATUS_OF
from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.errors import ApiError, Problem, invalid, not_found, problem, syntax
from simulators.kantata.filters import Filter, Predicate, by_id
from simulators.kantata.permissions import is_manager
from simulators.kantata.scene import Scene
from simulators.kantata.values import (
    CURRENCIES,
    Field,
    Fields,
    Kind,
    formatted,
    ids_in,
    integer_in,
    text_in,
    wire_datetime,
)
from simulators.kit import JsonValue, Record

BULK = {
    "timesheet_approvals": ("timesheet_submissions", "approve"),
    "timesheet_rejections": ("timesheet_submissions", "reject"),
    "timesheet_cancellations": ("timesheet_submissions", "cancel"),
    "expense_report_approvals": ("expense_report_submissions", "approve"),
    "expense_report_rejections": ("expense_report_submissions", "reject"),
    "expense_report_cancellations": ("expense_report_submissions", "cancel"),
}
"""Path of a bulk form -> what it resolves, and how."""
BULK_MAX = 100
"""Submissions in one bulk request; unverified."""

_ACTION_OF = {status: action for action, status in STATUS_OF.items()}


class Resolutions(Collection):
    """Approvals, rejections and cancellations; they are read on their submission."""

    name = "resolutions"
    singular = "resolution"
    noun = "Resolution"
    can = frozenset[str]()
    fields: ClassVar[Mapping[str, Field]] = {
        "submission_id": Field(),
        "status": Field(),
        "description": Field(length_max=None),
        "creator_id": Field(),
    }


def _by_status(_scene: Scene, value: str) -> Predicate:
    """Make `new` and `pending` one, as the object and the filter name it differently."""
    wanted = {PENDING if each == "new" else each for each in value.split(",")}
    return lambda record: record.fields["status"] in wanted


class _Submissions(Collection):
    """What timesheets and expense reports share; they are created, then resolved, never changed."""

    noun = "Submission"
    can = READ | {"create"}
    fields: ClassVar[Mapping[str, Field]] = {
        "title": Field(),
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces"),
        "user_id": Field(Kind.REFERENCE, target="users"),
        "comment": Field(length_max=None),
        "line_item_ids": Field(Kind.REFERENCES, required=True, kept=False),
    }
    one: ClassVar[Links] = {
        "workspace": ("workspace_id", "workspaces"),
        "user": ("user_id", "users"),
        "current_resolution_creator": ("current_resolution_creator_id", "users"),
    }
    many: ClassVar[Links] = {"resolutions": ("resolution_ids", "resolutions")}
    always_shown = frozenset({"resolution_ids", "time_entry_ids", "expense_ids"})
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "user_id": by_id("user_id"),
        "status": _by_status,
    }
    orders = frozenset({"title", "start_date", "end_date", "status"})
    search_fields = ("title",)

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        del record
        ids = ids_in(fields, "line_item_ids")
        items = scene.find_all(ITEMS_OF[self.name], ids)
        if not ids or len(items) != len(set(ids)):
            words = "do not exist" if ids else "can't be blank"
            problems.append(problem("line_item_ids", words))
            return
        if given.get("user_id") is None:
            given["user_id"] = items[0].fields["user_id"]
        if given["user_id"] != scene.user_id and not is_manager(scene):
            problems.append(problem("user_id", "is somebody else"))
        for item in items:
            self._check_item(item, fields, given, problems)

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        sheets = SHEETS[ITEMS_OF[self.name]]
        ids = list(dict.fromkeys(ids_in(values, "line_item_ids")))
        items = scene.find_all(ITEMS_OF[self.name], ids)
        return sheet_fields(items, sheets.items_attribute, sheets.date_field, scene.user_id)

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        del body
        if not values.get("title"):
            period = f"{record.fields['start_date']} - {record.fields['end_date']}"
            scene.store.update(record, {"title": period})
        held: Fields = {"active_submission_id": record.id, "recent_submission_id": record.id}
        for item in approvals.items_of(scene, record):
            scene.store.update(item, held)

    def derived(self, scene: Scene, record: Record) -> Fields:
        fields = record.fields
        workspace = scene.store.get("workspaces", text_in(fields, "workspace_id"), dead=True)
        currency = "USD" if workspace is None else text_in(workspace.fields, "currency")
        symbol, unit = CURRENCIES[currency]
        total = integer_in(fields, "total")
        resolutions = scene.find_all("resolutions", ids_in(fields, "resolution_ids"))
        last = resolutions[-1] if resolutions else None
        words = None if last is None else last.fields["description"]
        made = None if last is None else wire_datetime(last.created_at)[:10]
        return {
            "status": fields["status"],
            "type": _class_name(self.singular),
            "start_date": fields["start_date"],
            "end_date": fields["end_date"],
            "line_item_total_in_cents": total,
            "line_item_total_formatted": formatted(total, currency),
            "currency": currency,
            "currency_symbol": symbol,
            "currency_base_unit": unit,
            "resolution_description": words,
            "current_resolution_description": words,
            "current_resolution_creator_id": None if last is None else last.fields["creator_id"],
            "current_resolution_created_at_date": made,
            "permissions": approvals.permissions_of(scene, record),
        }

    def linked(self, scene: Scene, record: Record, include: str) -> Sequence[str]:
        if include == "current_resolution_creator":
            ids = ids_in(record.fields, "resolution_ids")[-1:]
            return [text_in(row.fields, "creator_id") for row in scene.find_all("resolutions", ids)]
        return super().linked(scene, record, include)

    def check_delete(self, scene: Scene, record: Record) -> None:
        del scene, record
        raise invalid("Submissions can't be deleted")

    def changed_by_hand(self, scene: Scene, record: Record, changes: Fields) -> Fields:
        """Resolve as the page's buttons do: a new `status`, and a `description` if wanted."""
        left = dict(changes)
        status, words = left.pop("status", None), left.pop("description", "")
        if status is not None:
            action = _ACTION_OF.get(str(status))
            if action is None:
                raise invalid(f"Status is one of {', '.join(_ACTION_OF)}", "status")
            approvals.resolve(scene, record, action, str(words))
        return left

    def _check_item(
        self, item: Record, fields: Fields, given: Fields, problems: list[Problem]
    ) -> None:
        name = "line_item_ids"
        if item.fields["workspace_id"] != fields["workspace_id"]:
            problems.append(problem(name, f"contain {item.id} of another workspace"))
        if item.fields["user_id"] != given["user_id"]:
            problems.append(problem(name, f"contain {item.id} of another user"))
        if item.fields.get("active_submission_id") is not None:
            problems.append(problem(name, f"contain {item.id}, which is submitted already"))


class TimesheetSubmissions(_Submissions):
    """`GET`, `POST /timesheet_submissions`, `PUT …/{id}/approve`, `reject`, `cancel`."""

    name = "timesheet_submissions"
    singular = "timesheet_submission"
    many: ClassVar[Links] = {
        **_Submissions.many,
        "time_entries": ("time_entry_ids", "time_entries"),
    }


class ExpenseReportSubmissions(_Submissions):
    """`GET`, `POST /expense_report_submissions`, `PUT …/{id}/approve`, `reject`, `cancel`."""

    name = "expense_report_submissions"
    singular = "expense_report_submission"
    many: ClassVar[Links] = {**_Submissions.many, "expenses": ("expense_ids", "expenses")}


def sheet_fields(items: list[Record], attribute: str, date: str, submitter_id: str) -> Fields:
    """Return the stored fields of a new submission which follow from its line items."""
    days = sorted(text_in(item.fields, date) for item in items)
    return {
        attribute: [item.id for item in items],
        "status": PENDING,
        "submitter_id": submitter_id,
        "start_date": days[0],
        "end_date": days[-1],
        "total": sum(amounts.full(item) for item in items),
        "resolution_ids": [],
    }


def resolve_several(scene: Scene, path: str, body: Fields) -> list[JsonValue]:
    """Resolve all or none of several submissions, and return the resolutions as they travel.

    Raises:
        ApiError: 400, the body is not whole; 403, 404 or 422 with the place of each refused one.
    """
    collection, action = BULK[path]
    ids = ids_in(body, "submission_ids")
    if not ids or len(ids) > BULK_MAX:
        raise syntax(f"submission_ids takes 1 to {BULK_MAX} values")
    found: list[JsonValue] = []
    for index, id_ in enumerate(ids):
        record = scene.find(collection, id_)
        if record is None:
            raise not_found("Submission", id_).at(index)
        try:
            made = approvals.resolve(scene, record, action, text_in(body, "description"))
        except ApiError as error:
            raise error.at(index) from error
        found.append(scene.catalog["resolutions"].show(scene, made, ()))
    return found


def has_active(scene: Scene, collection: str, workspace_id: str) -> bool:
    """Whether a project has submissions which are pending or approved."""
    rows = scene.of_workspace(collection, workspace_id)
    return any(row.fields["status"] in ACTIVE for row in rows)


def _class_name(singular: str) -> str:
    return "".join(word.capitalize() for word in singular.split("_"))
