"""How commands speak: tables for people, JSON for programs, one sentence for a mistake."""

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine, Iterable, Sequence
from decimal import Decimal
from functools import wraps
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import structlog
import typer
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import AdapterError
from adapters.registry import SettingsInvalid
from canonical.failures import StepFailed
from operations.config import ConfigInvalid
from operations.mistakes import Mistake
from operations.sagas import Refused
from operations.servers import Unreachable
from policies.bundle import BundleInvalid
from store.errors import StoreError, StoreUnavailable

WIDTH: Final = 100
"""Of tables where no terminal says how wide it is."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C or SIGTERM, as shells know it."""
SILENT: Final = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED}

OUT = Console()
ERR = Console(stderr=True)
if not OUT.is_terminal:
    OUT = Console(width=WIDTH)

MISTAKES = (
    Refused,
    Mistake,
    ConfigInvalid,
    SettingsInvalid,
    BundleInvalid,
    StepFailed,
    AdapterError,
    StoreError,
    Unreachable,
)
"""What a user's mistake raises; each carries a sentence that says what to change."""

P = ParamSpec("P")
T = TypeVar("T")


def command(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async command; a user's mistake becomes one sentence and exit code 1."""

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # people read sentences
        try:
            return asyncio.run(_stoppable(work(*args, **kwargs)))
        except StoreUnavailable as error:
            fail(f"PostgreSQL does not answer: {error}. Is it up?")
        except MISTAKES as error:
            fail(str(error))
        except RPCError as error:
            if error.status in SILENT:
                fail(f"Temporal does not answer: {error.message}. Is it up, and is a worker?")
            fail(f"Temporal refuses: {error.message}.")
        except (KeyboardInterrupt, asyncio.CancelledError):
            fail("Interrupted.", INTERRUPTED)

    return run


async def _stoppable(work: Coroutine[Any, Any, T]) -> T:
    """Run a command so that SIGTERM and SIGHUP end it as Ctrl-C does: with its clean-up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
    return await work


def fail(message: str, code: int = 1) -> NoReturn:
    """Print one sentence on standard error and end with a code that is not 0."""
    ERR.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def say(text: str, style: str = "") -> None:
    """Print a line as it is; a long one is not broken, so that it can be copied."""
    OUT.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def progress() -> Progress:
    """Return a spinner with the time that went by, on standard error; gone at the end."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        transient=True,
        console=ERR,
    )


def show_json(value: object) -> None:
    """Print a value as JSON: models, or lists and dicts of them."""
    OUT.print_json(json.dumps(plain(value)))


def plain(value: object) -> object:
    """Return a value as JSON types; decimals and times become strings, none as 2.1E+5."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return to_jsonable_python(value, fallback=str)


def first_of(
    found: Sequence[T], limit: int, offset: int | None = None, *, rest: str = ""
) -> Sequence[T]:
    """Return a page of a list that was asked for one row more; if it came, say how to see it.

    By its offset, or where it has none by a higher limit, or by the command `rest`, which has one.
    It is said on standard error, so that what is read as JSON stays whole.
    """
    if len(found) > limit:
        how = "a higher --limit" if offset is None else f"--offset {offset + limit}"
        if rest:
            how = f"starter.py {rest} --offset {limit}"
        ERR.print(f"There is more: {how}.", markup=False, highlight=False)
    return found[:limit]


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    styles: Sequence[str] = (),
) -> None:
    """Print rows as a table, each in its style if there are some; an empty one says so."""
    listed = list(rows)
    if not listed:
        say(f"{title}: nothing.")
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for place, row in enumerate(listed):
        table.add_row(*map(_cell, row), style=styles[place] if styles else None)
    OUT.print(table, highlight=False)


def short(text: str, length: int) -> str:
    """Return a text in at most so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _cell(value: object) -> str:
    # Square brackets in data are no markup.
    return str(value).replace("[", r"\[")
