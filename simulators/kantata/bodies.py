"""Request bodies: JSON, or forms with Rails' bracketed names (section 1)."""

import json
import re
from urllib.parse import parse_qsl

from simulators.kantata.errors import syntax
from simulators.kantata.values import Fields
from simulators.kit import Call, JsonValue

FORM_TYPE = "application/x-www-form-urlencoded"

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def parse_body(call: Call) -> Fields:
    """Return the body as an object, empty where there is none.

    Raises:
        ApiError: 400, it is neither an object in JSON nor a form.
    """
    if not call.body.strip():
        return {}
    content_type = call.headers.get("Content-Type", "").lower()
    if "json" in content_type:
        return _parse_json(call.body)
    if content_type.startswith(FORM_TYPE):
        return parse_form(call.body.decode("utf-8", "replace"))
    return {}  # a type that the server does not know carries no parameters


def parse_form(text: str) -> Fields:
    """Return `a[b]=1&a[c][]=2&a[d][][e]=3` as nested objects and lists."""
    found: Fields = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        if match is None:
            raise syntax(f"Invalid parameter name: {name}")
        _place(found, [match[1], *_PART.findall(match[2])], value)
    return found


def _parse_json(body: bytes) -> Fields:
    try:
        parsed: JsonValue = json.loads(body)
    except ValueError:
        raise syntax("There was a problem in the JSON you submitted") from None
    if not isinstance(parsed, dict):
        raise syntax("The request body must be a JSON object")
    return parsed


def _place(target: Fields, path: list[str], value: str) -> None:
    name, rest = path[0], path[1:]
    if not rest:
        target[name] = value
    elif rest[0] == "":
        rows = target.setdefault(name, [])
        if not isinstance(rows, list):
            raise syntax(f"Parameter {name} is used as a list and as something else")
        _append(rows, rest[1:], value)
    else:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise syntax(f"Parameter {name} is used as an object and as something else")
        _place(inner, rest, value)


def _append(rows: list[JsonValue], path: list[str], value: str) -> None:
    """Add to a list; an object in it ends where a name comes again."""
    if not path:
        rows.append(value)
        return
    last = rows[-1] if rows else None
    if not isinstance(last, dict) or _has(last, path):
        last = {}
        rows.append(last)
    _place(last, path, value)


def _has(target: Fields, path: list[str]) -> bool:
    held = target.get(path[0])
    if held is None:
        return False
    if len(path) == 1:
        return True
    return path[1] != "" and isinstance(held, dict) and _has(held, path[1:])
