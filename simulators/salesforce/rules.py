"""What the objects of the deal demand and derive: stages, roll-ups, prices, schedules, deletions.

Facts of vendor page 9. The page gives no codes for the refusals about price books, double prices
and schedules: `FIELD_INTEGRITY_EXCEPTION` there is unverified.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from pydantic import JsonValue

from simulators.kit import Record
from simulators.salesforce.context import Context
from simulators.salesforce.errors import ApiError
from simulators.salesforce.objects import CASE_STATUSES, COUNTRIES
from simulators.salesforce.schema import Field, SObject
from simulators.salesforce.values import bad_picklist_value

Body = dict[str, JsonValue]
BeforeCreate = Callable[[Context, Body], None]
BeforeUpdate = Callable[[Context, Record, Body], None]
_NAMES_SHOWN_MAX = 5
_CASES = "case_count"
_FIRST_CASE = 1000


def before_create(context: Context, kind: SObject, fields: Body) -> None:
    """Check and complete the fields of a new row.

    Raises:
        ApiError: the object's own rules refuse.
    """
    hook = _BEFORE_CREATE.get(kind.name)
    if hook is not None:
        hook(context, fields)


def before_update(context: Context, kind: SObject, record: Record, changes: Body) -> None:
    """Check and complete the changes to a row.

    Raises:
        ApiError: the object's own rules refuse.
    """
    hook = _BEFORE_UPDATE.get(kind.name)
    if hook is not None:
        hook(context, record, changes)


def after_change(context: Context, kind: SObject, record: Record) -> None:
    """Carry a created or changed row into what sums it up."""
    if kind.name == "OpportunityLineItem":
        roll_up_lines(context, str(record.fields["OpportunityId"]))
    elif kind.name == "OpportunityLineItemSchedule":
        _roll_up_schedules(context, str(record.fields["OpportunityLineItemId"]))


def after_delete(context: Context, kind: SObject, record: Record) -> None:
    """Take a deleted row out of what sums it up."""
    after_change(context, kind, record)


def before_delete(context: Context, kind: SObject, record: Record) -> None:
    """Refuse to delete a customer that was won, and the standard price book.

    Raises:
        ApiError: `DELETE_FAILED`.
    """
    if kind.name == "Account":
        won = [
            row
            for row in context.account.store.list("Opportunity")
            if row.fields.get("AccountId") == record.id and row.fields.get("IsWon")
        ]
        if won:
            raise delete_failed(record, "opportunities", won)
    if kind.name == "Pricebook2" and record.fields.get("IsStandard"):
        raise ApiError(400, "DELETE_FAILED", "The standard price book cannot be deleted", [])


def delete_failed(record: Record, plural: str, rows: Sequence[Record]) -> ApiError:
    """The refusal which names the rows in the way."""
    shown = ", ".join(str(row.fields.get("Name") or row.id) for row in rows[:_NAMES_SHOWN_MAX])
    name = record.fields.get("Name") or record.id
    text = (
        f"Your attempt to delete {name} could not be completed because it is associated with the"
        f" following {plural.lower()}.: {shown}\n"
    )
    return ApiError(400, "DELETE_FAILED", text, [])


def roll_up_lines(context: Context, opportunity_id: str) -> None:
    """Set what an opportunity sums up; a deleted one is left alone.

    Without lines the amount stays what it was.
    """
    store = context.account.store
    opportunity = store.get("Opportunity", opportunity_id)
    if opportunity is None:
        return
    lines = _lines(context, opportunity_id)
    sums: Body = {"HasOpportunityLineItem": bool(lines), "TotalOpportunityQuantity": None}
    if lines:
        sums["Amount"] = _sum(lines, "TotalPrice")
        sums["TotalOpportunityQuantity"] = _sum(lines, "Quantity")
    sums["ExpectedRevenue"] = _expected_revenue({**opportunity.fields, **sums})
    store.update(opportunity, sums)


def _new_opportunity(context: Context, fields: Body) -> None:
    _apply_stage(context, fields, fields)
    _derive_opportunity(fields, fields)


def _changed_opportunity(context: Context, record: Record, changes: Body) -> None:
    if _lines(context, record.id):
        changes.pop("Amount", None)  # it is the sum of the lines; the vendor says nothing
        for name in ("Pricebook2Id", "CurrencyIsoCode"):
            if changes.get(name, record.fields.get(name)) != record.fields.get(name):
                raise _integrity(f"{name} cannot be changed while there are line items", name)
    if changes.get("StageName", record.fields.get("StageName")) != record.fields.get("StageName"):
        _apply_stage(context, {**record.fields, **changes}, changes)
    _derive_opportunity({**record.fields, **changes}, changes)


def _apply_stage(context: Context, whole: Body, changes: Body) -> None:
    name = str(whole["StageName"])
    for row in context.account.store.list("OpportunityStage"):
        stage = row.fields
        if stage["ApiName"] == name and stage["IsActive"]:
            changes["IsClosed"], changes["IsWon"] = stage["IsClosed"], stage["IsWon"]
            changes["LastStageChangeDate"] = context.now()
            changes.setdefault("Probability", stage["DefaultProbability"])
            changes.setdefault("ForecastCategoryName", stage["ForecastCategoryName"])
            return
    raise bad_picklist_value(Field("StageName"), name)


def _derive_opportunity(whole: Body, changes: Body) -> None:
    if "Amount" in changes or "Probability" in changes:
        changes["ExpectedRevenue"] = _expected_revenue(whole)
    if "CloseDate" in changes:
        changes["FiscalYear"] = int(str(whole["CloseDate"])[:4])


def _expected_revenue(fields: Body) -> JsonValue:
    if fields.get("Amount") is None:
        return None
    return float(_number(fields, "Amount") * _number(fields, "Probability") / 100)


def _new_line(context: Context, fields: Body) -> None:
    store = context.account.store
    opportunity = store.get("Opportunity", str(fields["OpportunityId"]))
    if opportunity is None:
        raise ApiError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [])
    entry = _price_book_entry(context, opportunity, fields)
    product = store.get("Product2", str(entry.fields["Product2Id"]))
    fields["PricebookEntryId"] = entry.id
    fields["Product2Id"] = entry.fields["Product2Id"]
    fields["ListPrice"] = entry.fields["UnitPrice"]
    fields["CurrencyIsoCode"] = entry.fields["CurrencyIsoCode"]
    if product is not None:
        fields["ProductCode"] = product.fields.get("ProductCode")
        fields["Name"] = f"{opportunity.fields['Name']} {product.fields['Name']}"
    _refuse_both_prices(fields)
    if fields.get("UnitPrice") is None and fields.get("TotalPrice") is None:
        text = "Required fields are missing: [UnitPrice]"
        raise ApiError(400, "REQUIRED_FIELD_MISSING", text, ["UnitPrice"])
    _price_line(fields, fields, by_total=fields.get("TotalPrice") is not None)
    if opportunity.fields.get("Pricebook2Id") is None:
        store.update(opportunity, {"Pricebook2Id": entry.fields["Pricebook2Id"]})


def _price_book_entry(context: Context, opportunity: Record, fields: Body) -> Record:
    store = context.account.store
    book, currency = (opportunity.fields.get(n) for n in ("Pricebook2Id", "CurrencyIsoCode"))
    named, product = fields.get("PricebookEntryId"), fields.get("Product2Id")
    if named is None and product is None:
        text = "Required fields are missing: [PricebookEntryId]"
        raise ApiError(400, "REQUIRED_FIELD_MISSING", text, ["PricebookEntryId"])
    if named is not None:
        entry = store.get("PricebookEntry", str(named))
    else:
        wanted = (product, currency)
        entry = next(
            (
                row
                for row in store.list("PricebookEntry")
                if (row.fields["Product2Id"], row.fields["CurrencyIsoCode"]) == wanted
                and book in (None, row.fields["Pricebook2Id"])
            ),
            None,
        )
    if entry is None or not entry.fields.get("IsActive"):
        raise _integrity("the pricebook entry is missing or inactive", "PricebookEntryId")
    if book not in (None, entry.fields["Pricebook2Id"]):
        text = (
            "pricebook entry is in a different pricebook than the one assigned to the opportunity"
        )
        raise _integrity(text, "PricebookEntryId")
    if entry.fields["CurrencyIsoCode"] != currency:
        text = "The pricebook entry currency code does not match the opportunity currency code"
        raise _integrity(text, "PricebookEntryId")
    return entry


def _changed_line(context: Context, record: Record, changes: Body) -> None:
    del context
    _refuse_both_prices(changes)
    prices = [name for name in ("UnitPrice", "TotalPrice", "Quantity") if name in changes]
    if prices and record.fields.get("HasRevenueSchedule"):
        raise _integrity("the line item has a revenue schedule", *prices)
    if prices or "Discount" in changes:
        whole = {**record.fields, **changes}
        _price_line(whole, changes, by_total="TotalPrice" in changes)


def _refuse_both_prices(fields: Body) -> None:
    if fields.get("UnitPrice") is not None and fields.get("TotalPrice") is not None:
        raise _integrity("specify either UnitPrice or TotalPrice", "UnitPrice", "TotalPrice")


def _price_line(whole: Body, changes: Body, *, by_total: bool) -> None:
    quantity = _number(whole, "Quantity")
    kept = 1 - _number(whole, "Discount") / 100
    if by_total:
        divisor = quantity * kept
        price = _number(whole, "TotalPrice") / divisor if divisor else Decimal(0)
        changes["UnitPrice"] = float(round(price, 2))
        changes["Subtotal"] = float(round(price * quantity, 2))
    else:
        subtotal = _number(whole, "UnitPrice") * quantity
        changes["Subtotal"] = float(round(subtotal, 2))
        changes["TotalPrice"] = float(round(subtotal * kept, 2))


def _new_schedule(context: Context, fields: Body) -> None:
    store = context.account.store
    line = store.get("OpportunityLineItem", str(fields["OpportunityLineItemId"]))
    product = store.get("Product2", str(line.fields["Product2Id"])) if line else None
    fields["CurrencyIsoCode"] = line.fields.get("CurrencyIsoCode") if line else None
    for word in ("Revenue", "Quantity"):
        if fields["Type"] not in (word, "Both"):
            continue
        if product is None or not product.fields.get(f"CanUse{word}Schedule"):
            raise _integrity(f"the product has no {word.lower()} schedule", "Type")
        if fields.get(word) is None:
            text = f"Required fields are missing: [{word}]"
            raise ApiError(400, "REQUIRED_FIELD_MISSING", text, [word])


def _roll_up_schedules(context: Context, line_id: str) -> None:
    store = context.account.store
    line = store.get("OpportunityLineItem", line_id)
    if line is None:
        return
    rows = [
        row
        for row in store.list("OpportunityLineItemSchedule")
        if row.fields.get("OpportunityLineItemId") == line_id
    ]
    revenue = [row for row in rows if row.fields["Type"] in ("Revenue", "Both")]
    changes: Body = {
        "HasSchedule": bool(rows),
        "HasRevenueSchedule": bool(revenue),
        "HasQuantitySchedule": any(row.fields["Type"] != "Revenue" for row in rows),
    }
    if revenue:
        changes["TotalPrice"] = _sum(revenue, "Revenue")
        _price_line({**line.fields, **changes}, changes, by_total=True)
    store.update(line, changes)
    roll_up_lines(context, str(line.fields["OpportunityId"]))


def _name_person(context: Context, fields: Body) -> None:
    del context
    names = (fields.get("FirstName"), fields.get("LastName"))
    fields["Name"] = " ".join(str(name) for name in names if name)
    _spell_out_countries(fields)


def _rename_person(context: Context, record: Record, changes: Body) -> None:
    whole = {**record.fields, **changes}
    _name_person(context, whole)
    changes["Name"] = whole["Name"]
    _spell_out_countries(changes)


def _spell_out_countries(fields: Body) -> None:
    for prefix in ("Billing", "Shipping", "Mailing"):
        if f"{prefix}CountryCode" in fields:
            code = fields[f"{prefix}CountryCode"]
            fields[f"{prefix}Country"] = COUNTRIES.get(str(code))


def _name_entry(context: Context, fields: Body) -> None:
    product = context.account.store.get("Product2", str(fields["Product2Id"]))
    if product is not None:
        fields["Name"] = product.fields["Name"]
        fields["ProductCode"] = product.fields.get("ProductCode")


def _new_case(context: Context, fields: Body) -> None:
    extra = context.account.extra
    count = extra.get(_CASES)
    number = (count if isinstance(count, int) else 0) + 1
    extra[_CASES] = number
    fields["CaseNumber"] = f"{_FIRST_CASE + number:08d}"
    _close_case(context, fields, fields)


def _close_case(context: Context, whole: Body, changes: Body) -> None:
    closed = whole.get("Status") == CASE_STATUSES[-1]
    changes["IsClosed"] = closed
    if not closed:
        changes["ClosedDate"] = None
    elif whole.get("ClosedDate") is None:
        changes["ClosedDate"] = context.now()


def _lines(context: Context, opportunity_id: str) -> list[Record]:
    rows = context.account.store.list("OpportunityLineItem")
    return [row for row in rows if row.fields.get("OpportunityId") == opportunity_id]


def _sum(rows: Sequence[Record], name: str) -> float:
    return float(sum((_number(row.fields, name) for row in rows), Decimal(0)))


def _number(fields: Body, name: str) -> Decimal:
    return Decimal(str(fields.get(name) or 0))


def _integrity(text: str, *names: str) -> ApiError:
    return ApiError(400, "FIELD_INTEGRITY_EXCEPTION", f"field integrity exception: {text}", names)


_BEFORE_CREATE: dict[str, BeforeCreate] = {
    "Account": lambda _, fields: _spell_out_countries(fields),
    "Case": _new_case,
    "Contact": _name_person,
    "User": _name_person,
    "Opportunity": _new_opportunity,
    "OpportunityLineItem": _new_line,
    "OpportunityLineItemSchedule": _new_schedule,
    "PricebookEntry": _name_entry,
}
_BEFORE_UPDATE: dict[str, BeforeUpdate] = {
    "Account": lambda _, _record, changes: _spell_out_countries(changes),
    "Case": lambda context, record, changes: _close_case(
        context, {**record.fields, **changes}, changes
    ),
    "Contact": _rename_person,
    "User": _rename_person,
    "Opportunity": _changed_opportunity,
    "OpportunityLineItem": _changed_line,
}
