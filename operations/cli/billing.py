"""Commands on billing: approvals by hand, status, holds, runs, and why an entry is not billed."""

from collections.abc import Sequence
from typing import Annotated

import typer

from canonical.entries import EntryRef
from canonical.money import Money
from operations.billing import parse_entry
from operations.cli.days import day_of
from operations.cli.options import LISTED_MAX, Config, Json, Limit, Offset
from operations.cli.output import command, fail, first_of, say, show_json, show_table
from operations.composition import open_office
from operations.why import reasons
from store.subledger import EntryTrace, Version

billing_app = typer.Typer(no_args_is_help=True, help="Approved time and expenses on their way.")

WHICH = "Say which: --entries ID,ID or --week DAY."

Project = Annotated[str, typer.Argument(help="The PSA project's id.")]
Psa = Annotated[str, typer.Option(help="PSA connection; the first one without it.")]
Entry = Annotated[str, typer.Argument(help="4711 is time; expense:4711, adjustment:4711.")]
Entries = Annotated[list[str], typer.Option("--entry", help="An entry; may be repeated.")]
By = Annotated[str, typer.Option("--as", help="Who says so, by name in dealthread.toml.")]


@command
async def approve_time(
    project: Project,
    entries: Annotated[str, typer.Option(help="Ids, joined by commas: 4711,expense:4712.")] = "",
    week: Annotated[str, typer.Option(help="Every entry of the week of a day: 2026-11-16.")] = "",
    psa: Psa = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell Dealthread that entries were approved in the PSA, as its feed would.

    What is true is read from the PSA: an entry that is not approved there is not billed.
    """
    if bool(entries) == bool(week):
        fail(WHICH)
    async with open_office(config) as office:
        refs: Sequence[EntryRef] = [parse_entry(e) for e in entries.split(",") if e.strip()]
        if week:
            refs = await office.billing.entries_of_week(project, day_of(week, "--week"), psa=psa)
        if not refs:
            fail(f"There is nothing of that week on project {project}." if week else WHICH)
        of = await office.billing.changed(project, refs, psa=psa)
    if as_json:
        show_json({"project": of.project_id, "period": of.period, "entries": len(refs)})
    else:
        count = "1 entry" if len(refs) == 1 else f"{len(refs)} entries"
        say(f"told  project {of.project_id}, period {of.period}: {count}")


@billing_app.command("status", epilog="Example: starter.py billing status 5001")
@command
async def billing_status(
    project: Project,
    psa: Psa = "",
    limit: Limit = LISTED_MAX,
    offset: Offset = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show how many entries of a project are where, and what waits for the next run.

    --limit and --offset are of the findings, the oldest first.
    """
    async with open_office(config) as office:
        standing = await office.store.subledger.standing(psa or office.psa, project)
        listed = await office.store.subledger.findings(
            psa or office.psa, project, limit=limit + 1, offset=offset
        )
        view = await office.billing.view(project, psa=psa)
        conserved = await office.store.subledger.conservation(project)
        warnings = await office.store.subledger.warnings(psa or office.psa, project)
    findings = first_of(listed, limit, offset)
    if as_json:
        show_json(
            {
                "standing": standing,
                "findings": findings,
                "warnings": warnings,
                "waiting": view,
                "amounts": conserved,
            }
        )
        return
    rows = (
        (
            "handed over" if each.handed_over else each.state,
            "held" if each.held else "",
            each.entries,
        )
        for each in standing
    )
    show_table(f"Project {project}", ("state", "", "entries"), rows)
    amounts = (
        (each.legal_entity, disposition, Money(amount=amount, currency=each.currency))
        for each in conserved
        for disposition, amount in each.placed.items()
    )
    show_table("Placed", ("entity", "disposition", "amount"), amounts)
    for finding in findings:
        say(f"finding  {finding.finding}: {finding.ref}: {finding.detail}", style="yellow")
    for warning in warnings:
        say(f"warning  run {warning.number} of {warning.period}: {warning.text}", style="yellow")
    if view is not None and view.open_run:
        say(f"run {view.open_run} of {view.of.period} is under way")
    elif view is not None and view.next_run_at is not None:
        say(f"next run of {view.of.period} at {view.next_run_at:%Y-%m-%d %H:%M:%S %Z}")


@billing_app.command(
    "hold",
    epilog='Example: starter.py billing hold 5001 --entry 4711 --because "disputed" --as olivia',
)
@command
async def billing_hold(
    project: Project,
    entry: Entries,
    because: Annotated[str, typer.Option(help="Why; somebody will ask.")],
    by: By,
    psa: Psa = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep entries out of billing runs until they are released."""
    refs = [parse_entry(each) for each in entry]
    async with open_office(config) as office:
        held = await office.billing.hold(project, refs, by=by, because=because, psa=psa)
    if as_json:
        show_json({"held": held})
    else:
        say(f"held  {held} of {len(refs)} entries; the others were held already")


@billing_app.command(
    "unhold", epilog="Example: starter.py billing unhold 5001 --entry 4711 --as olivia"
)
@command
async def billing_unhold(
    project: Project,
    entry: Entries,
    by: By,
    psa: Psa = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Release held entries: the next run judges them anew."""
    refs = [parse_entry(each) for each in entry]
    async with open_office(config) as office:
        released = await office.billing.unhold(project, refs, by=by, psa=psa)
    if as_json:
        show_json({"released": released})
    else:
        say(f"released  {released} holds")


@billing_app.command("run", epilog="Example: starter.py billing run 5001 --as olivia")
@command
async def billing_run(
    project: Project, by: By, psa: Psa = "", config: Config = None, as_json: Json = False
) -> None:
    """Begin a billing run now, without waiting for the debounce or the cutoff."""
    async with open_office(config) as office:
        of = await office.billing.run(project, by=by, psa=psa)
    if as_json:
        show_json(of)
    else:
        say(f"asked  a run of project {of.project_id}, period {of.period}")


@command
async def why(entry: Entry, psa: Psa = "", config: Config = None, as_json: Json = False) -> None:
    """Say why an entry is not billed yet, and who must act."""
    ref = parse_entry(entry)
    async with open_office(config) as office:
        facts = await office.store.subledger.why(psa or office.psa, ref)
        waiting = await office.billing.waiting(ref, facts.project_id, psa=psa)
    told = reasons(facts, waiting)
    if as_json:
        show_json({"facts": facts, "waiting": waiting, "reasons": told})
        return
    for reason in told:
        say(reason.text)
        say(f"  next: {reason.who}")


def show_entry(traced: EntryTrace) -> None:
    """Print everything that is known of one entry."""
    versions = (
        (
            each.version[:8],
            each.state,
            str(each.service_date),
            _quantity(each),
            each.because,
        )
        for each in traced.versions
    )
    show_table(str(traced.ref), ("version", "state", "day", "recorded", "why"), versions)
    parts = (
        (
            each.number,
            each.disposition,
            str(each.amount),
            each.state,
            each.charge or "",
            each.run_key,
        )
        for each in traced.parts
    )
    show_table("Parts", ("part", "disposition", "amount", "state", "charge", "run"), parts)
    costs = (
        (each.legal_entity, str(each.amount), each.state, each.rate_source, each.external_id or "")
        for each in traced.costs
    )
    show_table("Cost", ("entity", "amount", "state", "rate from", "posting"), costs)
    moves = (
        (
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            each.track,
            f"{each.from_state} → {each.to_state}",
            each.act,
        )
        for each in traced.moves
    )
    show_table("Moves", ("at (UTC)", "track", "move", "by"), moves)
    for hold in traced.holds:
        until = f"until {hold.released_at:%Y-%m-%d}" if hold.released_at else "still"
        say(f"hold  {hold.reason} since {hold.since:%Y-%m-%d}, {until}: {hold.because}")


def _quantity(version: Version) -> str:
    if version.amount is None:
        return f"{version.minutes} min"
    return str(Money(amount=version.amount, currency=version.currency))
