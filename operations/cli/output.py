"""How commands speak: tables for people, JSON for programs, one sentence for a mistake."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from temporalio.service import RPCError

from adapters.registry import SettingsInvalid
from canonical.failures import StepFailed
from embedded.stack import StackError
from operations.config import ConfigInvalid
from operations.sagas import Refused
from policies.bundle import BundleInvalid
from store.errors import StoreError

OUT = Console()
ERR = Console(stderr=True)

MISTAKES = (
    Refused,
    StackError,
    ConfigInvalid,
    SettingsInvalid,
    BundleInvalid,
    StepFailed,
    StoreError,
)
"""What a user's mistake raises; each carries a sentence that says what to change."""

P = ParamSpec("P")
T = TypeVar("T")


def command(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async command; a user's mistake becomes one sentence and exit code 1."""

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return asyncio.run(work(*args, **kwargs))
        except MISTAKES as error:
            fail(str(error))
        except RPCError as error:
            fail(f"Temporal does not answer: {error}. Is the stack up? Try `starter.py up`.")
        except ConnectionError as error:
            fail(f"Nothing answers: {error}. Is the stack up? Try `starter.py up`.")

    return run


def fail(message: str) -> NoReturn:
    """Print one sentence on standard error and end with code 1."""
    ERR.print(message, style="red", markup=False, highlight=False)
    raise typer.Exit(1)


def show_json(value: object) -> None:
    """Print a value as JSON: models, or lists and dicts of them."""
    OUT.print_json(json.dumps(plain(value)))


def plain(value: object) -> object:
    """Return a value as JSON types; decimals and times become strings."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table; an empty one says so."""
    listed = list(rows)
    if not listed:
        OUT.print(f"{title}: nothing.")
        return
    table = Table(title=title, title_justify="left", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in listed:
        table.add_row(*(str(cell) for cell in row))
    OUT.print(table)
