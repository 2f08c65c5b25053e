"""Takes a request body apart: known names, values of the right kind, references that exist."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from pydantic import JsonValue

from simulators.kit import Account, ReplyError
from simulators.netsuite import errors, state
from simulators.netsuite.schema import Field, Kind, RecordType, Sublist
from simulators.netsuite.state import Fields

_IGNORED = {"links", "id", "refName", "externalId"}
"""Names that a client may send back as it read them."""
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass
class Reader:
    """Reads bodies for one request.

    `names` and `values` are the two validation headers, lower case: error, warning, ignore.
    `loose` takes a bare id for a reference, as typed into the control origin.
    """

    account: Account
    names: str = "warning"
    values: str = "error"
    loose: bool = False
    warnings: list[str] = field(default_factory=list)

    def read(self, kind: RecordType, body: Fields) -> tuple[Fields, dict[str, list[Fields]]]:
        """Return the fields to set and the lines sent per sublist.

        Raises:
            ReplyError: a name or a value is refused.
        """
        sent: dict[str, list[Fields]] = {}
        plain: Fields = {}
        for name, value in body.items():
            spec = kind.sublists.get(name)
            if spec is None:
                plain[name] = value
            else:
                sent[name] = self._lines(name, spec, value)
        return self._fields(kind.fields, plain, ""), sent

    def _lines(self, name: str, spec: Sublist, value: JsonValue) -> list[Fields]:
        items = value.get("items") if isinstance(value, dict) else None
        if not isinstance(items, list):
            raise errors.invalid_content(f"The sublist {name} needs an array of items.", name)
        return [self._line(f"{name}.items[{n}]", spec, line) for n, line in enumerate(items)]

    def _line(self, path: str, spec: Sublist, line: JsonValue) -> Fields:
        if not isinstance(line, dict):
            raise errors.invalid_content("A line of a sublist is an object.", path)
        read = self._fields(spec.fields, {k: v for k, v in line.items() if k != spec.key}, path)
        if spec.key in spec.fields:
            read |= self._fields(spec.fields, {spec.key: line.get(spec.key)}, path)
        elif line.get(spec.key) is not None:
            read[spec.key] = str(line[spec.key])
        return read

    def _fields(self, specs: Mapping[str, Field], body: Fields, path: str) -> Fields:
        found: Fields = {}
        for name, value in body.items():
            spec = specs.get(name)
            here = f"{path}.{name}" if path else name
            if name in _IGNORED or (spec is not None and self._is_closed(spec)):
                continue
            if spec is None:
                self._judge(errors.unknown_field(name, here), self.names, f"unknown field {here}")
                continue
            try:
                found[name] = None if value is None else self._value(spec, name, value, here)
            except ReplyError as error:
                self._judge(error, self.values, f"invalid value of {here}")
        return found

    def _is_closed(self, spec: Field) -> bool:
        return spec.read_only and not (spec.by_hand and self.loose)

    def _judge(self, error: ReplyError, strictness: str, warning: str) -> None:
        if strictness == "error":
            raise error
        if strictness == "warning":
            self.warnings.append(warning)

    def _value(self, spec: Field, name: str, value: JsonValue, path: str) -> JsonValue:
        match spec.kind:
            case Kind.REFERENCE:
                return self._reference(spec, name, value, path)
            case Kind.MULTISELECT:
                items = value.get("items") if isinstance(value, dict) else None
                if not isinstance(items, list):
                    raise errors.invalid_content(f"{name} needs an array of items.", path)
                return {"items": [self._reference(spec, name, item, path) for item in items]}
            case Kind.SUBRECORD:
                if not isinstance(value, dict):
                    raise errors.invalid_content(f"The subrecord {name} is an object.", path)
                return self._fields(spec.fields, value, path)
            case Kind.CHOICE:
                chosen = value.get("id") if isinstance(value, dict) else value
                if not isinstance(value, dict) and not self.loose:
                    chosen = None
                if str(chosen) not in spec.options:
                    raise errors.invalid_value(_shown(value), name, path)
                return {"id": str(chosen)}
            case _:
                return _scalar(spec, name, value, path)

    def _reference(self, spec: Field, name: str, value: JsonValue, path: str) -> Fields:
        if self.loose and isinstance(value, str | int):
            value = {"id": str(value)}
        if not isinstance(value, dict):
            raise errors.invalid_value(_shown(value), name, path)
        found = None
        if value.get("id") is not None:
            found = state.find_reference(self.account, spec.targets, str(value["id"]))
        elif isinstance(value.get("externalId"), str):
            key = str(value["externalId"])
            found = state.find_external(self.account, list(spec.targets), key)
        if found is None:
            raise errors.invalid_value(_shown(value), name, path)
        return {"id": found.id}


def read_external_id(value: JsonValue) -> str:
    """Return an external id as sent in a body or behind `eid:`.

    Raises:
        ReplyError: it has other characters than letters, digits, `_` and `-`.
    """
    if not isinstance(value, str) or not _EXTERNAL_ID.fullmatch(value):
        raise errors.invalid_value(_shown(value), "externalId", "externalId")
    return value


def _scalar(spec: Field, name: str, value: JsonValue, path: str) -> JsonValue:
    fits = False
    match spec.kind:
        case Kind.TEXT:
            fits = isinstance(value, str) and (name != "email" or bool(_EMAIL.fullmatch(value)))
        case Kind.FLAG:
            fits = isinstance(value, bool)
        case Kind.NUMBER:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.DATE:
            fits = isinstance(value, str) and _is_date(value)
        case Kind.DURATION:
            fits = isinstance(value, str | int | float) and not isinstance(value, bool)
        case _:
            pass
    if not fits:
        raise errors.invalid_value(_shown(value), name, path)
    if isinstance(value, str) and spec.length_max is not None and len(value) > spec.length_max:
        raise errors.too_long(name, spec.length_max, path)
    return value


def _is_date(value: str) -> bool:
    try:
        return len(value) == 10 and date.fromisoformat(value) is not None
    except ValueError:
        return False


def _shown(value: JsonValue) -> str:
    if isinstance(value, dict):
        value = value.get("id", value.get("externalId"))
    return str(value)[:100]
