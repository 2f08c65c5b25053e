"""The command `demo`: the whole story of the first saga on an embedded stack of its own."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from embedded.options import DIRECTORY, StackInfo, StackOptions
from embedded.ports import PORT_BASE
from embedded.stack import StackError, down, load, up_detached
from operations.cli.demo_invoice import Invoiced
from operations.cli.demo_reconcile import Gap
from operations.cli.demo_story import Deal, Story, play
from operations.cli.demo_week import Week
from operations.cli.items import show_items
from operations.cli.options import Dir, Json, PortBase
from operations.cli.output import command, progress, say, short, show_json, show_table

MARK: Final = ".demo"
"""Tells a folder that the demo made, and may empty, from one with data that somebody needs."""
OUTCOME_STYLES: Final = {"completed": "green", "rolled_back": "yellow"}
NAME_LENGTH: Final = 31


@command
async def demo(
    directory: Dir = DIRECTORY / "demo",
    port_base: PortBase = PORT_BASE + 100,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the stack running afterwards.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole story and print what happened and where to look.

    Starts Temporal, PostgreSQL, simulated vendors and a worker in a folder of its own, which it
    empties first, and stops them at the end.
    """
    started = time.monotonic()
    _own(directory)
    with progress() as shown:
        task = shown.add_task("starting the stack", total=None)

        def tell(text: str) -> None:
            shown.update(task, description=text)

        async with _stack(directory, port_base, tell, keep=keep) as info:
            ready = time.monotonic()
            story = await play(info, tell)
            told = time.monotonic()
            tell("stopping the stack")
    times = (ready - started, told - ready, time.monotonic() - started)
    if as_json:
        show_json(told_as_json(story, info, times, keep=keep))
    else:
        _show(story, info, times, keep=keep)


def _own(directory: Path) -> None:
    """Make sure that the folder is ours to empty.

    Raises:
        StackError: it holds something that is not a demo's.
    """
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MARK).exists():
        raise StackError(
            f"{directory} is not empty and no folder of the demo, which would empty it: "
            "choose another one with --dir."
        )


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARK).touch()


@asynccontextmanager
async def _stack(
    directory: Path, port_base: int, tell: Callable[[str], None], *, keep: bool
) -> AsyncIterator[StackInfo]:
    """Run a fresh stack; whatever happens, it ends with the block, unless it is to be kept."""
    if load(directory) is not None:
        tell("stopping the stack of an earlier demo")
    await down(directory)
    await asyncio.to_thread(_empty, directory)
    options = StackOptions(directory=directory, port_base=port_base, progress=tell)
    starting = asyncio.create_task(up_detached(options))
    try:
        info = await asyncio.shield(starting)
        yield info
    except BaseException:
        tell("stopping the stack")
        await _stopped(directory, starting)
        raise
    if not keep:
        await down(directory)


async def _stopped(directory: Path, starting: "asyncio.Task[StackInfo]") -> None:
    """Stop a stack that may still be starting: its supervisor first has to say who it is."""
    while not await down(directory) and not starting.done():
        await asyncio.wait({starting}, timeout=0.1)
    with contextlib.suppress(StackError):
        await starting


def _show(story: Story, info: StackInfo, times: tuple[float, float, float], *, keep: bool) -> None:
    say("")
    show_table(
        "Deals",
        ("deal", "what happened", "outcome", "s"),
        [_deal(deal) for deal in story.deals],
        styles=[OUTCOME_STYLES.get(deal.outcome, "red") for deal in story.deals],
    )
    say("")
    show_table(
        "Records that Dealthread made",
        ("system", "record", "there now", "removed again", "written twice"),
        [(r.system, r.type, r.live, r.removed, r.twice) for r in story.records],
    )
    say("")
    _show_week(story.week)
    say("")
    _show_invoice(story.invoiced)
    say("")
    _show_gap(story.gap)
    say("")
    say("Still waiting for a person", style="bold")
    links = story.links if keep else [""] * len(story.waiting)
    show_items(story.waiting, links, as_="olivia")
    say("")
    start, play_, total = times
    say(f"Done in {total:.0f} s: {start:.0f} s to start all servers, {play_:.0f} s for the deals.")
    if not keep:
        say("Everything is stopped. `starter.py demo --keep` leaves it running to look around.")
        return
    config = _shown(info.config)
    say(f"Web UI       {info.addresses['temporal_ui']}")
    say(f"Commands     export DEALTHREAD_CONFIG={config}  (then: starter.py stuck)")
    say(f"Stop it      starter.py down --dir {config.parent}")


def _show_week(week: Week) -> None:
    show_table(
        f"A week on {short(week.project, NAME_LENGTH)}, approved in Kantata: {week.outcome}",
        ("entry", "who", "day", "logged", "becomes", "amount", "cost"),
        [
            (each.entry, each.who, each.day, each.logged, each.becomes, each.amount, each.cost)
            for each in week.entries
        ],
    )
    verdict = "equal to the cent" if week.equal else "THEY DIFFER"
    say(f"to bill {week.to_bill}; charges on hold in NetSuite {week.charges}: {verdict}")
    say(f"starter.py why {week.first_entry}   starter.py trace {week.first_entry}")


def _show_invoice(invoiced: Invoiced) -> None:
    say(f"Its invoice {invoiced.number}", style="bold")
    say(f"draft       {invoiced.draft}: {invoiced.lines} lines, net {invoiced.net}")
    say(f"refused     {invoiced.refused}", style="yellow")
    say(
        f"released    by {invoiced.released_by}; NetSuite says tax {invoiced.tax}, "
        f"gross {invoiced.gross}"
    )
    say(f"paid        {invoiced.paid}: {invoiced.state}", style="green")
    say(f"Kantata     {invoiced.confirmed}")
    say(f"Salesforce  {invoiced.shown}")
    say(f"starter.py trace {invoiced.number}   starter.py queue show {invoiced.draft}")


def _show_gap(gap: Gap) -> None:
    say(f"What no message told, found by reconciling {gap.scope}", style="bold")
    say(f"lost        {gap.lost}: approved in Kantata, its message went missing", style="yellow")
    for each in gap.found:
        say(f"found       among {gap.compared} records: {each}")
    for each in gap.mended:
        say(f"mended      {each}: {gap.billed}")
    clean = gap.again == 0 and gap.closed == len(gap.found)
    text = "all agrees, the finding is closed" if clean else f"STILL {gap.again} FOUND"
    say(f"run again   {text}", style="green" if clean else "red")
    say(f"starter.py reconcile run {gap.scope} --heal   starter.py reconcile list --closed")


def _deal(deal: Deal) -> tuple[object, ...]:
    return short(deal.name, NAME_LENGTH), deal.what, deal.outcome, f"{deal.seconds:.0f}"


def _shown(path: Path) -> Path:
    with contextlib.suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path


def told_as_json(
    story: Story, info: StackInfo, times: tuple[float, float, float], *, keep: bool
) -> dict[str, object]:
    """Return all that the demo tells, for programs."""
    return {
        "deals": list(story.deals),
        "records": list(story.records),
        "waiting": list(story.waiting),
        "week": story.week,
        "invoiced": story.invoiced,
        "reconciled": story.gap,
        "seconds": {"start": times[0], "deals": times[1], "total": times[2]},
        "config": str(info.config) if keep else None,
        "web_ui": info.addresses["temporal_ui"] if keep else None,
    }
