"""Values on their way in and out: types, lengths, ranges, picklists (vendor page 4 and 5)."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from pydantic import JsonValue

from simulators.kit import Record
from simulators.salesforce.context import INTEGRATION_USER_ID, stamps, wire_datetime
from simulators.salesforce.errors import ApiError, malformed_json
from simulators.salesforce.schema import NUMERIC, Field, FieldType

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_ISO_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?")
_BAD_COUNTRY = (
    "There's a problem with this country, even though it may appear correct. Please select a"
    " country/territory from the list of valid countries."
)
_ADDRESS_PARTS = {
    "city": "City",
    "country": "Country",
    "countryCode": "CountryCode",
    "postalCode": "PostalCode",
    "state": "State",
    "stateCode": "StateCode",
    "street": "Street",
}


def clean_value(column: Field, value: JsonValue) -> JsonValue:
    """Return a value as it is stored; blank text becomes null.

    Raises:
        ApiError: wrong type, too long, out of range, or not in a restricted picklist.
    """
    if value is None or value == "":
        return _cleared(column)
    if column.type in NUMERIC:
        return _number(column, value)
    if column.type is FieldType.BOOLEAN:
        return _boolean(value)
    if not isinstance(value, str):
        raise _wrong_type("string", value)
    if column.type is FieldType.DATE:
        return _date(value)
    if column.type is FieldType.DATETIME:
        return _datetime(value)
    return _text(column, value)


def parse_datetime(text: str) -> str | None:
    """Return an ISO 8601 datetime with any offset as stored, None when it is none."""
    if not _ISO_DATETIME.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return wire_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def read_value(record: Record, column: Field) -> JsonValue:
    """Return a field of a row as the API shows it; an unset one is null."""
    name = column.name
    if name == "Id":
        return record.id
    if name == "IsDeleted":
        return not record.live
    if name in ("CreatedDate", "LastModifiedDate", "SystemModstamp"):
        return stamps(record)[name]
    if column.type is FieldType.ADDRESS:
        return _address(record, name.removesuffix("Address"))
    value = record.fields.get(name)
    if value is None:
        value = INTEGRATION_USER_ID if name in _USER_FIELDS else column.default
    if column.type in NUMERIC and isinstance(value, int | float):
        return int(value) if column.type is FieldType.INT else float(value)
    return value


def reader(column: Field) -> Callable[[Record], JsonValue]:
    """Return a function that reads one field, the quick way for plain ones."""
    special = column.type in NUMERIC or column.type is FieldType.ADDRESS
    if special or column.name in _COMPUTED or column.default is not None:
        return lambda record: read_value(record, column)
    name = column.name
    return lambda record: record.fields.get(name)


_USER_FIELDS = frozenset({"CreatedById", "LastModifiedById", "OwnerId"})
_COMPUTED = _USER_FIELDS | {
    "Id",
    "IsDeleted",
    "CreatedDate",
    "LastModifiedDate",
    "SystemModstamp",
}


def _cleared(column: Field) -> JsonValue:
    if column.type is FieldType.BOOLEAN:
        raise ApiError(
            400, "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{column.label}: null", [column.name]
        )
    if not column.nillable:
        text = f"Required fields are missing: [{column.name}]"
        raise ApiError(400, "REQUIRED_FIELD_MISSING", text, [column.name])
    return None


def _wrong_type(wanted: str, value: JsonValue) -> ApiError:
    token = "VALUE_STRING" if isinstance(value, str) else "VALUE_NUMBER_INT"
    if isinstance(value, bool):
        token = "VALUE_TRUE" if value else "VALUE_FALSE"
    elif isinstance(value, dict | list):
        token = "START_OBJECT" if isinstance(value, dict) else "START_ARRAY"
    shown = f" value {value}" if token.startswith("VALUE") else ""
    return malformed_json(
        f"Cannot deserialize instance of {wanted} from {token}{shown}"
        " or request may be missing a required field"
    )


def _number(column: Field, value: JsonValue) -> JsonValue:
    wanted = "int" if column.type is FieldType.INT else "double"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong_type(wanted, value)
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise _wrong_type(wanted, value) from error
    scale = 0 if column.type is FieldType.INT else column.scale
    if not number.is_finite() or abs(number) >= Decimal(10) ** (column.precision - scale):
        text = f"{column.label}: value outside of valid range on numeric field: {value}"
        raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", text, [column.name])
    rounded = number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    return int(rounded) if scale == 0 else float(rounded)


def _boolean(value: JsonValue) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong_type("boolean", value)


def _date(value: str) -> str:
    try:
        # A datetime is cut to its date, in UTC.
        parsed = date.fromisoformat(value) if len(value) == 10 else None
    except ValueError:
        parsed = None
    moment = parse_datetime(value)
    if parsed is None and moment is not None:
        return moment[:10]
    if parsed is None:
        raise _wrong_type("date", value)
    return parsed.isoformat()


def _datetime(value: str) -> str:
    moment = parse_datetime(value)
    if moment is None:
        raise _wrong_type("datetime", value)
    return moment


def _text(column: Field, value: str) -> JsonValue:
    value = value.strip()
    if not value:
        return _cleared(column)
    if len(value) > column.length:
        text = f"{column.label}: data value too large: {value} (max length={column.length})"
        raise ApiError(400, "STRING_TOO_LONG", text, [column.name])
    if column.type is FieldType.EMAIL and not _EMAIL.fullmatch(value):
        text = f"{column.label}: invalid email address: {value}"
        raise ApiError(400, "INVALID_EMAIL_ADDRESS", text, [column.name])
    if column.values and value not in column.values:
        raise bad_picklist_value(column, value)
    return value


def bad_picklist_value(column: Field, value: str) -> ApiError:
    """A value outside of a restricted picklist; the country picklist has a text of its own."""
    if column.name.endswith("CountryCode"):
        text = f"{_BAD_COUNTRY}: {column.label}"
        return ApiError(400, "FIELD_INTEGRITY_EXCEPTION", text, [column.name])
    text = f"{column.label}: bad value for restricted picklist field: {value}"
    return ApiError(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", text, [column.name])


def _address(record: Record, prefix: str) -> JsonValue:
    parts: dict[str, JsonValue] = {
        key: record.fields.get(prefix + name) for key, name in _ADDRESS_PARTS.items()
    }
    if not any(parts.values()):
        return None
    return parts | {"geocodeAccuracy": None, "latitude": None, "longitude": None}
