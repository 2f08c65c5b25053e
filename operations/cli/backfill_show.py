"""How a backfill is shown: its plan, its progress, what it came to."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from canonical.backfill import (
    ENDED,
    WAITING,
    BackfillState,
    BackfillView,
    Judged,
    RecordState,
    Standing,
)
from operations.backfill import PREFIX, standing_of
from operations.cli.csv_files import write_rows
from operations.cli.output import (
    ERR,
    INTERRUPTED,
    plain,
    say,
    short,
    show_json,
    show_table,
)
from operations.composition import Office
from store.backfills import ReportedRecord, StoredBackfill

LOOK_SECONDS: Final = 1.0
SHOWN: Final = 10
"""Records that are named one by one; the report has all."""
WHY_SHOWN: Final = 70


@contextmanager
def leaving() -> Iterator[asyncio.Event]:
    """Give what is set once somebody presses Ctrl-C, until the end of the block.

    A flag that stays set, where Ctrl-C usually cancels: in a call under way that can get lost.
    """
    loop, left = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, left.set)
    try:
        yield left
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def watched(office: Office, id_: str, left: asyncio.Event, *, as_json: bool) -> None:
    """Watch until it ends or somebody leaves; exit code 1 where something is not carried over."""
    found = None
    with suppress(asyncio.CancelledError):  # SIGTERM
        found = await _followed(office, id_, left)
    if found is None:
        ERR.print(f"Detached: {id_} goes on.\n{how_to_attach(id_)}", highlight=False)
        raise typer.Exit(INTERRUPTED)
    if as_json:
        show_json(found)
    else:
        show(found.view)
    if found.view.state is not BackfillState.FINISHED or _unwell(found.view.standing):
        raise typer.Exit(1)


async def _followed(office: Office, id_: str, left: asyncio.Event) -> StoredBackfill | None:
    """Show how it goes on until it ended, and return it; None: somebody left."""
    with bar_on(ERR) as shown:
        task = shown.add_task("reading", total=None, note="")
        planned = False
        while not left.is_set():
            found = await office.backfills.find(id_)
            if found.view.state is not BackfillState.READING and not planned:
                planned = True
                shown.reset(task, total=found.view.standing.count())
            _move(shown, task, found.view)
            if found.view.state in ENDED:
                return found
            with suppress(TimeoutError):
                await asyncio.wait_for(left.wait(), LOOK_SECONDS)
    return None


def _move(shown: Progress, task: TaskID, view: BackfillView) -> None:
    standing = view.standing
    if view.state is BackfillState.READING:
        shown.update(task, description="reading", completed=standing.count())
        return
    parked, rejected = standing.count(RecordState.PARKED), standing.count(RecordState.REJECTED)
    notes = [f"{view.rate:f}/s at most", f"{standing.in_flight} in flight"]
    notes += [f"{parked} parked"] if parked else []
    notes += [f"{rejected} rejected"] if rejected else []
    shown.update(
        task,
        description=str(view.state),
        total=standing.count(),
        completed=standing.count() - standing.count(*WAITING),
        note=", ".join(notes),
    )


def bar_on(console: Console, *, transient: bool = True) -> Progress:
    """Return the progress bar: done and total, time, what is parked."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        transient=transient,
        console=console,
    )


def how_to_attach(id_: str) -> str:
    """Return the line that says how to watch a backfill again."""
    return f"  again  starter.py backfill attach {id_.removeprefix(PREFIX)}"


def show_plan(judged: Sequence[Judged], *, as_json: bool) -> None:
    """Print what a backfill would do: totals, and why some are not simply started."""
    standing = standing_of(list(judged))
    if as_json:
        rows = [
            {"record": e.record.id, "state": e.state, "why": e.why, "amount": e.record.amount}
            for e in judged
        ]
        show_json({"dry_run": True, "standing": standing, "records": rows})
        return
    words = {
        RecordState.PLANNED: "would start",
        RecordState.UNDER_WAY: "run already",
        RecordState.PARKED: "wait for a person",
        RecordState.ALREADY_DONE: "are done",
        RecordState.REJECTED: "conflict",
    }
    rows_ = ((words[e.state], e.records, e.money or "") for e in standing.amounts)
    show_table("What would happen", ("", "records", "amount"), rows_)
    named = [e for e in judged if e.why]
    show = ((e.record.id, words[e.state], short(e.why, WHY_SHOWN)) for e in named[:SHOWN])
    if named:
        show_table("Of these", ("record", "", "why"), show)
    if len(named) > SHOWN:
        say(f"and {len(named) - SHOWN} more: --json has all")
    say("Nothing was written.")


def show(view: BackfillView) -> None:
    """Print how far a backfill has come, by outcome and currency."""
    window = view.window
    say(f"{view.id.removeprefix(PREFIX)}: {view.state}", style="bold")
    where = f", where {window.where}" if window.where else ""
    say(f"{window.kind} of {window.connection}, {window.since} to {window.until}{where}")
    if view.why:
        say(view.why, style="red")
    rows = ((each.state, each.records, each.money or "") for each in view.standing.amounts)
    show_table("Records", ("outcome", "records", "amount"), rows)
    if _unwell(view.standing):
        say(
            "Some are parked or rejected: starter.py backfill report "
            f"{view.id.removeprefix(PREFIX)} says why.",
            style="yellow",
        )


def show_left(records: Sequence[ReportedRecord]) -> None:
    """Print the records that were not carried over, and why."""
    rows = ((each.record, each.state, short(each.why, WHY_SHOWN)) for each in records[:SHOWN])
    if records:
        show_table("Not carried over", ("record", "outcome", "why"), rows)
    if len(records) > SHOWN:
        say(f"and {len(records) - SHOWN} more: --csv FILE or --json has all")


def told(view: BackfillView, *, as_json: bool) -> None:
    """Print what a backfill answered to somebody who steered it."""
    if as_json:
        show_json(view)
        return
    say(
        f"{view.id.removeprefix(PREFIX)}: {view.state}, {view.rate:f} a second, "
        f"{view.in_flight_max} in flight at most"
    )


def write_csv(file: Path, records: Sequence[ReportedRecord]) -> None:
    """Write the report, a line per record, or end the command with a sentence."""
    write_rows(file, tuple(ReportedRecord.model_fields), map(_cells, records))


def _cells(each: ReportedRecord) -> Sequence[object]:
    cells = dict(each) | {"amount": Decimal(each.amount) if each.amount else None}
    return [plain(cell) if isinstance(cell, datetime) else cell for cell in cells.values()]


def _unwell(standing: Standing) -> bool:
    return standing.count(RecordState.PARKED, RecordState.REJECTED, RecordState.NOT_STARTED) > 0
