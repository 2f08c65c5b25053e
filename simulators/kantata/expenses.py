"""Expenses and their categories (section 9): written as `billable`, read as `is_billable`."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import ClassVar

from simulators.kantata import amounts
from simulators.kantata.collection import READ, Collection, Links
from simulators.kantata.errors import Problem, problem
from simulators.kantata.filters import Filter, by_text, within_dates
from simulators.kantata.line_items import SHEET_FILTERS, LineItems
from simulators.kantata.scene import Scene
from simulators.kantata.values import CURRENCIES, Field, Fields, Kind, text_in
from simulators.kit import JsonValue, Record

_FOREIGN = "foreign_exchange_amount"


class ExpenseCategories(Collection):
    """The account's own categories."""

    name = "expense_categories"
    singular = "expense_category"
    noun = "ExpenseCategory"
    can = READ
    fields: ClassVar[Mapping[str, Field]] = {"name": Field(required=True)}
    search_fields = ("name",)


class Expenses(LineItems):
    """`GET`, `POST`, `PUT`, `DELETE /expenses`."""

    name = "expenses"
    singular = "expense"
    noun = "Expense"
    fields: ClassVar[Mapping[str, Field]] = {
        "workspace_id": Field(Kind.REFERENCE, required=True, target="workspaces", on_update=False),
        "date": Field(Kind.DATE, required=True),
        "amount_in_cents": Field(Kind.INTEGER),
        _FOREIGN: Field(Kind.OBJECT),
        "category": Field(),
        "expense_category_id": Field(Kind.REFERENCE, target="expense_categories"),
        "notes": Field(length_max=None),
        "billable": Field(Kind.BOOLEAN, default=True, shown=False),
        "reimbursable": Field(Kind.BOOLEAN, default=False),
        "user_id": Field(Kind.REFERENCE, target="users"),
        "story_id": Field(Kind.REFERENCE, target="stories"),
        "expense_budget_id": Field(),
        "vendor_id": Field(),
        "receipt_id": Field(),
    }
    one: ClassVar[Links] = {
        **LineItems.one,
        "expense_category": ("expense_category_id", "expense_categories"),
    }
    filters: ClassVar[Mapping[str, Filter]] = {
        **LineItems.filters,
        **SHEET_FILTERS,
        "date_between": within_dates("date"),
        "category": by_text("category"),
    }
    orders = frozenset({"date"})

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        super().check(scene, fields, given, record, problems)
        self._settle_category(scene, given)
        if not (given.get("category") or fields.get("category")):
            problems.append(problem("category", "can't be blank"))
        foreign = given.get(_FOREIGN)
        if isinstance(foreign, dict):
            workspace = scene.find("workspaces", text_in(fields, "workspace_id"))
            currency = "USD" if workspace is None else text_in(workspace.fields, "currency")
            amount = _converted(foreign, currency)
            if amount is None:
                problems.append(problem(_FOREIGN, "is invalid"))
            given["amount_in_cents"] = amount
        elif fields.get("amount_in_cents") is None:
            problems.append(problem("amount_in_cents", "can't be blank"))

    def derived(self, scene: Scene, record: Record) -> Fields:
        billable: JsonValue = record.fields.get("billable")
        return {**super().derived(scene, record), "is_billable": billable}

    def _settle_category(self, scene: Scene, given: Fields) -> None:
        """Keep text and id in step; a text that is none of the account's has no id."""
        row = scene.find("expense_categories", text_in(given, "expense_category_id"))
        if row is not None:
            given["category"] = row.fields["name"]
        elif given.get("category"):
            rows = scene.store.list("expense_categories")
            named = (row.id for row in rows if row.fields["name"] == given["category"])
            given["expense_category_id"] = next(named, None)


def _converted(foreign: Fields, currency: str) -> int | None:
    source = text_in(foreign, "source_currency")
    try:
        value = Decimal(text_in(foreign, "source_value"))
    except InvalidOperation:
        return None
    if source not in CURRENCIES or not value.is_finite():
        return None
    return amounts.converted(value, source, currency)
