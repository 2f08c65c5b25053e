"""JSON from outside: strict, bounded, never a traceback."""

import json
import math
from typing import Final, NoReturn

from pydantic import JsonValue

from gateway.deliveries import invalid

DEPTH_MAX: Final = 64
"""Levels of objects and lists; real events have fewer than ten."""


def json_object(body: bytes) -> dict[str, JsonValue]:
    """Return a JSON object.

    Raises:
        Refusal: it is none, or truncated, or not UTF-8, or has numbers that are none.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise invalid("The body is not UTF-8.", "not_json") from None
    try:
        value: JsonValue = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON, or is cut off.", "not_json") from None
    if not isinstance(value, dict):
        raise invalid("The body is not a JSON object.", "not_json")
    # Too few brackets can't be too deep: what real events are told by, without a walk.
    if text.count("[") + text.count("{") > DEPTH_MAX and _deeper_than(value, DEPTH_MAX):
        raise invalid("The body is nested too deeply.", "not_json")
    return value


def text_at(content: dict[str, JsonValue], key: str) -> str:
    """Return a text, empty where there is none or something else."""
    value = content.get(key)
    return value if isinstance(value, str) else ""


def object_at(content: dict[str, JsonValue], key: str) -> dict[str, JsonValue]:
    """Return an object, empty where there is none or something else."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _refused(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _deeper_than(value: JsonValue, levels: int) -> bool:
    """Look level by level: the depth of what came is not ours to recurse into."""
    level: list[JsonValue] = [value]
    for _ in range(levels):
        below: list[JsonValue] = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
        if not below:
            return False
        level = below
    return True


# Made once: `json.loads` would make one for every event.
_DECODER: Final = json.JSONDecoder(parse_constant=_refused, parse_float=_finite)
