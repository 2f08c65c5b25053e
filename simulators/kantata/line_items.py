"""What time entries, expenses and time adjustments share: whose they are, and what locks them."""

from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata import approvals
from simulators.kantata.approvals import REJECTED, SHEETS, is_invoiced
from simulators.kantata.collection import Collection, Links
from simulators.kantata.errors import Problem, invalid, problem
from simulators.kantata.filters import (
    Filter,
    Predicate,
    by_flag,
    by_id,
    hides_nothing,
    on_any_value,
    wanted_boolean,
)
from simulators.kantata.permissions import is_manager, may_approve
from simulators.kantata.scene import Scene
from simulators.kantata.values import ACCOUNT_ID, CURRENCIES, Fields, ids_in, text_in
from simulators.kit import Record


class BookedItems(Collection):
    """Whatever is booked in a project for a person and may go on an invoice."""

    one: ClassVar[Links] = {
        "workspace": ("workspace_id", "workspaces"),
        "user": ("user_id", "users"),
        "story": ("story_id", "stories"),
        "role": ("role_id", "roles"),
        "invoice": ("invoice_id", "invoices"),
        "active_invoice": ("invoice_id", "invoices"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        "workspace_id": by_id("workspace_id"),
        "user_id": by_id("user_id"),
        "story_id": by_id("story_id"),
        "invoiced": on_any_value(is_invoiced),
        "uninvoiced": on_any_value(lambda record: not is_invoiced(record)),
        "billable": by_flag("billable"),
        "in_active_invoice_id": by_id("invoice_id"),
    }
    always_shown = frozenset({"external_reference_ids"})

    def candidates(self, scene: Scene, query: Mapping[str, str]) -> list[Record] | None:
        invoice = scene.find("invoices", query.get("in_active_invoice_id", ""))
        if invoice is not None:
            return _in_order(scene.find_all(self.name, ids_in(invoice.fields, self._ids_attribute)))
        return super().candidates(scene, query)

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
        if record is not None and is_changed(record, given) and is_invoiced(record):
            problems.append(problem("base", "can't be changed once it is invoiced"))
        workspace_id = text_in(fields, "workspace_id")
        if record is None or "user_id" in given:
            # Whoever may not book for others books for himself; nothing says so (section 8.1).
            wanted = given.get("user_id")
            if wanted is None or not (is_manager(scene) or may_approve(scene, workspace_id)):
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

        users, workspaces = scene.store.list("users"), scene.store.list("workspaces")
        strangers = {row.id for row in users if row.fields["account_id"] != ACCOUNT_ID}
        archived = {row.id for row in workspaces if row.fields["archived"] is True}
        if not on_my_account:
            strangers.clear()
        if with_archived:
            archived.clear()

        def hides(record: Record) -> bool:
            fields = record.fields
            return fields["user_id"] in strangers or fields["workspace_id"] in archived

        return hides if strangers or archived else hides_nothing

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
            "taxable": record.fields.get("billable") is True,
        }

    @property
    def _ids_attribute(self) -> str:
        return f"{self.singular}_ids"


class LineItems(BookedItems):
    """Time entries and expenses, which are submitted and approved."""

    one: ClassVar[Links] = {
        **BookedItems.one,
        "active_submission": ("active_submission_id", ""),
        "recent_submission": ("recent_submission_id", ""),
    }

    def __init_subclass__(cls) -> None:
        """Point the links to the collection of the submissions."""
        super().__init_subclass__()
        target = SHEETS[cls.name].submissions
        cls.one = {**cls.one, **{name: (f"{name}_id", target) for name in _SUBMISSIONS}}

    def candidates(self, scene: Scene, query: Mapping[str, str]) -> list[Record] | None:
        sheets = SHEETS[self.name]
        submission = scene.find(sheets.submissions, query.get("with_timesheet_id", ""))
        if submission is not None:
            return _in_order(approvals.items_of(scene, submission))
        return super().candidates(scene, query)

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        none: Fields = {"active_submission_id": None, "recent_submission_id": None}
        return {**super().defaults(scene, values), **none}

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
        if record is None and workspace is not None and workspace.fields["archived"] is True:
            problems.append(problem("workspace_id", "is archived"))
        if record is None or not is_changed(record, given):
            return
        if approvals.is_pending(scene, record):
            problems.append(problem("base", "can't be changed while it is submitted"))
        elif approvals.is_on_approved(scene, record) and not self._may_edit(scene, record):
            problems.append(problem("base", "can't be changed once it is approved"))

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        """Take back the approval of the sheet, if what was approved is not what is there now."""
        del body
        changed = any(before.get(name) != value for name, value in values.items())
        sheet = approvals.active_submission(scene, record)
        if changed and sheet is not None:
            approvals.settle(scene, sheet, REJECTED, f"{self.noun} {record.id} was changed")

    def check_delete(self, scene: Scene, record: Record) -> None:
        super().check_delete(scene, record)
        if approvals.active_submission(scene, record) is not None:
            raise invalid(f"{self.noun} can't be deleted while it is submitted or approved")

    def derived(self, scene: Scene, record: Record) -> Fields:
        is_free = not is_invoiced(record) and not approvals.is_pending(scene, record)
        return {
            **super().derived(scene, record),
            "user_can_edit": is_free and self._may_edit(scene, record),
            "active_submission_id": record.fields.get("active_submission_id"),
            "recent_submission_id": record.fields.get("recent_submission_id"),
        }

    def _may_edit(self, scene: Scene, record: Record) -> bool:
        if may_approve(scene, text_in(record.fields, "workspace_id")):
            return True
        is_own = record.fields["user_id"] == scene.user_id
        return is_own and not approvals.is_on_approved(scene, record)


def is_changed(record: Record, given: Fields) -> bool:
    """Whether an update gives another value to any field."""
    return any(record.fields.get(name) != value for name, value in given.items())


def approved_only(scene: Scene, _value: str) -> Predicate:
    """Rows that are approved, whatever value the parameter has."""
    return lambda record: approvals.is_approved(scene, record)


def submitted_only(scene: Scene, value: str) -> Predicate:
    """Rows that are on a pending or approved submission, or those that are on none."""
    del scene
    wanted = value.lower() not in ("false", "0", "f")
    return lambda record: (record.fields.get("active_submission_id") is not None) == wanted


def within_sheet(scene: Scene, value: str) -> Predicate:
    """Rows that were submitted with one of these submissions."""
    wanted = value.split(",")

    def test(record: Record) -> bool:
        sheets = SHEETS[record.type]
        return any(
            record.id in ids_in(sheet.fields, sheets.items_attribute)
            for sheet in scene.find_all(sheets.submissions, wanted)
        )

    return test


SHEET_FILTERS: Mapping[str, Filter] = {
    "approved": approved_only,
    "in_active_submission": submitted_only,
    "with_timesheet_id": within_sheet,
}
_SUBMISSIONS = ("active_submission", "recent_submission")


def _in_order(rows: list[Record]) -> list[Record]:
    return sorted(rows, key=lambda row: row.seq)
