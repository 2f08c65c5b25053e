"""Form bodies with bracket nesting, and their reading into models (vendor page, 1).

`lines[0][amount]=1`, `expand[]=customer` and `metadata[k]=v` become a tree. A model reads the tree
and says what is wrong in Stripe's words: unknown, missing and malformed parameters.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import ErrorDetails

from simulators.stripe.errors import Refusal, invalid

METADATA_KEYS_MAX = 50
METADATA_KEY_MAX = 40
METADATA_VALUE_MAX = 500
_MAPS = frozenset({"metadata", "invoice_metadata", "payload"})
"""Whose keys are the caller's own, so that digits make no list of them."""
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")

Amount = Annotated[int, Field(ge=-999_999_999_999, le=999_999_999_999)]
"""Minor units of the currency; twelve digits at most."""
Fine = Annotated[Decimal, Field(decimal_places=12)]
Metadata = dict[str, str] | None
"""None unsets all; an empty value unsets its key."""


class Form(BaseModel):
    """Parameters of one call: an unknown one is refused, an empty one is None."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _unset(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        return {name: None if value == "" else value for name, value in data.items()}

    def given(self, name: str) -> bool:
        """Whether the caller named this parameter, if only to unset it."""
        return name in self.model_fields_set


FormT = TypeVar("FormT", bound=Form)


def decode(text: str) -> dict[str, JsonValue]:
    """Return the tree of a form or a query."""
    root: dict[str, JsonValue] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        parts = [name] if match is None else [match[1], *_PART.findall(match[2])]
        _put(root, parts, value)
    return {name: _listed(value, name) for name, value in root.items()}


def read(form: type[FormT], tree: dict[str, JsonValue]) -> FormT:
    """Read a tree as the parameters of a call.

    Raises:
        Refusal: Stripe's 400 for the first parameter that is wrong.
    """
    try:
        return form.model_validate(tree)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0]) from error


def merged(old: JsonValue, new: Metadata) -> dict[str, JsonValue]:
    """Return metadata after an update.

    Raises:
        Refusal: too many or too long keys or values.
    """
    if new is None:
        return {}
    before = old if isinstance(old, dict) else {}
    after = {**before, **new}
    kept = {name: value for name, value in after.items() if value != ""}
    if len(kept) > METADATA_KEYS_MAX:
        raise invalid(f"Metadata can have up to {METADATA_KEYS_MAX} keys.", "metadata")
    for name, value in new.items():
        if len(name) > METADATA_KEY_MAX or len(value) > METADATA_VALUE_MAX:
            text = (
                f"Metadata keys can have up to {METADATA_KEY_MAX} characters, and values up to"
                f" {METADATA_VALUE_MAX} characters; '{name[:METADATA_KEY_MAX]}' is longer."
            )
            raise invalid(text, f"metadata[{name}]")
    return kept


def plain(value: Decimal) -> str:
    """Return a decimal as Stripe writes it: without exponent and without idle zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _put(node: dict[str, JsonValue], parts: Sequence[str], value: str) -> None:
    for here, following in pairwise(parts):
        name = here if here else _last(node, following)
        child = node.get(name)
        if not isinstance(child, dict):
            child = node[name] = {}
        node = child
    node[parts[-1] or str(len(node))] = value


def _last(node: dict[str, JsonValue], following: str) -> str:
    """Return which element `[]` means: the last one, or a new one once that has the next name."""
    current = node.get(str(len(node) - 1))
    if isinstance(current, dict) and following not in current:
        return str(len(node) - 1)
    return str(len(node))


def _listed(value: JsonValue, name: str) -> JsonValue:
    if not isinstance(value, dict) or name in _MAPS:
        return value
    inner = {part: _listed(child, part) for part, child in value.items()}
    if inner and all(part.isdecimal() for part in inner):
        return [inner[part] for part in sorted(inner, key=int)]
    return inner


def _refusal(error: ErrorDetails) -> Refusal:
    param, kind = _param(error["loc"]), error["type"]
    if kind == "missing":
        return invalid(f"Missing required param: {param}.", param, "parameter_missing")
    if kind == "extra_forbidden":
        return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")
    if error["input"] is None:
        text = f"You passed an empty string for '{param}'. We assume empty values are an attempt"
        text += " to unset a parameter; however this parameter cannot be unset."
        return invalid(text, param, "parameter_invalid_empty")
    if kind.startswith("int") or kind in {"greater_than_equal", "less_than_equal"}:
        return invalid(f"Invalid integer: {error['input']}", param, "parameter_invalid_integer")
    if kind == "literal_error":
        choices = error["ctx"]["expected"]
        return invalid(f"Invalid {param}: must be one of {choices}", param)
    if kind == "value_error":
        return invalid(error["msg"].removeprefix("Value error, "), param)
    return invalid(f"Invalid {param}: {error['msg']}", param)


def _param(loc: Iterable[int | str]) -> str:
    head, *rest = [str(part) for part in loc] or ["request"]
    return head + "".join(f"[{part}]" for part in rest)
