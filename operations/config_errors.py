"""What is wrong with a configuration, in sentences that name the file or variable and the key."""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError

PREFIX: Final = "DEALTHREAD_"
"""What the names of all environment variables of Dealthread begin with."""

Location = tuple[str, ...]


class ConfigInvalid(Exception):
    """The configuration can't be used; one line per problem, each saying what to change."""


def variable(keys: Location) -> str:
    """Return the environment variable that sets a key."""
    return PREFIX + "__".join(keys).upper()


def unknown_sections(
    content: Mapping[str, object], known: tuple[str, ...], path: Path
) -> Iterator[str]:
    """Say which tables of a file, and which variables of the environment, have no such section."""
    for key in content:
        if key not in known:
            yield f"{path}: {key}: this key is not known{_alike(key, known)}."
    for name in sorted(os.environ):
        section, nested, _ = name.upper().removeprefix(PREFIX).lower().partition("__")
        if name.upper().startswith(PREFIX) and nested and section not in known:
            yield f"environment {name}: there is no section {section!r}{_alike(section, known)}."


def sentences(error: ValidationError, path: Path) -> list[str]:
    """Turn what a model refused into sentences."""
    return [_sentence(problem, path) for problem in error.errors(include_url=False)]


def not_json(error: SettingsError) -> str:
    """Say which variable should hold JSON."""
    text = getattr(error.__cause__, "doc", None)
    names = [
        name for name, value in os.environ.items() if name.startswith(PREFIX) and value == text
    ]
    where = " or ".join(sorted(names)) or str(error)
    return f'environment {where}: a list or table is written as JSON, as in ["one", "two"].'


def _sentence(problem: ErrorDetails, path: Path) -> str:
    keys = tuple(str(part) for part in problem["loc"] if part != "[key]")
    name = variable(keys)
    set_by = next((found for found in os.environ if found.upper() == name), None)
    place = f"environment {set_by}" if set_by else f"{path}: {'.'.join(keys) or 'the file'}"
    return f"{place}: {reason(problem)}."


def reason(problem: ErrorDetails) -> str:
    """Return what is wrong with one value, without its place and without a full stop."""
    kind = problem["type"]
    if kind == "missing":
        return "this key is missing"
    if kind == "extra_forbidden":
        return "this key is not known"
    if kind == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return f"it must match {problem.get('ctx', {}).get('pattern', 'a pattern')}"
    if kind == "too_short":
        return "it must not be empty"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "it must be a table"
    message = problem["msg"].replace("Input should be", "it must be")
    return message[:1].lower() + message[1:]


def _alike(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; perhaps {close[0]} is meant" if close else f"; known are {', '.join(sorted(known))}"
