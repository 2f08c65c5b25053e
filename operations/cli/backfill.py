"""Commands on backfills: try, start, watch, steer, report."""

from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from canonical.backfill import (
    IN_FLIGHT_USUAL,
    WAITING,
    WELL,
    BackfillKind,
    Judged,
    RecordState,
)
from operations.backfill import PREFIX
from operations.cli.backfill_show import (
    bar_on,
    how_to_attach,
    leaving,
    show,
    show_left,
    show_plan,
    told,
    watched,
    write_csv,
)
from operations.cli.days import day_of
from operations.cli.options import Config, Json
from operations.cli.output import ERR, command, fail, plain, say, show_json, show_table
from operations.composition import Office, open_office

backfill_app = typer.Typer(
    no_args_is_help=True, help="Carry over what was there before, behind live work."
)


From = Annotated[str, typer.Option("--from", help="First day: 2026-01-01.")]
To = Annotated[str, typer.Option("--to", help="Last day, included.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nowhere.")]
RateOption = Annotated[str, typer.Option("--rate", help="Started per second, at most.")]
InFlightOption = Annotated[int, typer.Option("--max-in-flight", help="Under way at once, at most.")]
Name = Annotated[str, typer.Option(help="A name instead of a number.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not watch it.")]
By = Annotated[str, typer.Option("--as", help="Who says so, for the audit trail.")]
Id = Annotated[str, typer.Argument(help="A backfill: opportunities/1.")]


@backfill_app.command(
    "opportunities",
    epilog="Example: starter.py backfill opportunities --from 2026-01-01 --to 2026-10-31 "
    "--where \"Legal_Entity__c = 'US'\" --dry-run",
)
@command
async def opportunities(
    since: From,
    until: To,
    where: Annotated[
        str, typer.Option(help="A SOQL condition: fields compared with literals, AND, OR, NOT.")
    ] = "",
    crm: Annotated[str, typer.Option(help="CRM connection; the first one without it.")] = "",
    dry_run: DryRun = False,
    rate: RateOption = "5",
    max_in_flight: InFlightOption = IN_FLIGHT_USUAL[BackfillKind.OPPORTUNITIES],
    name: Name = "",
    detach: Detach = False,
    by: By = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Provision won opportunities by their close date; those that are done are left alone."""
    asked = _Asked(BackfillKind.OPPORTUNITIES, since, until, where, crm, rate, max_in_flight)
    async with open_office(config) as office:
        await asked.play(office, name, by, dry_run=dry_run, detach=detach, as_json=as_json)


@backfill_app.command(
    "time",
    epilog="Example: starter.py backfill time --from 2026-10-01 --to 2026-10-31 "
    '--where "project=5001"',
)
@command
async def time(
    since: From,
    until: To,
    where: Annotated[str, typer.Option(help="project=ID AND person=ID, or one of them.")] = "",
    psa: Annotated[str, typer.Option(help="PSA connection; the first one without it.")] = "",
    dry_run: DryRun = False,
    rate: RateOption = "5",
    max_in_flight: InFlightOption = IN_FLIGHT_USUAL[BackfillKind.TIME],
    name: Name = "",
    detach: Detach = False,
    by: By = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bill approved time by its service date; pace and flight count projects."""
    asked = _Asked(BackfillKind.TIME, since, until, where, psa, rate, max_in_flight)
    async with open_office(config) as office:
        await asked.play(office, name, by, dry_run=dry_run, detach=detach, as_json=as_json)


@backfill_app.command(
    "milestones",
    epilog="Example: starter.py backfill milestones --from 2026-10-01 --to 2026-10-31 --dry-run",
)
@command
async def milestones(
    since: From,
    until: To,
    where: Annotated[str, typer.Option(help="project=ID")] = "",
    psa: Annotated[str, typer.Option(help="PSA connection; the first one without it.")] = "",
    dry_run: DryRun = False,
    rate: RateOption = "5",
    max_in_flight: InFlightOption = IN_FLIGHT_USUAL[BackfillKind.MILESTONES],
    name: Name = "",
    detach: Detach = False,
    by: By = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bill milestones by the day of their approval, or of their due date where none is told."""
    asked = _Asked(BackfillKind.MILESTONES, since, until, where, psa, rate, max_in_flight)
    async with open_office(config) as office:
        await asked.play(office, name, by, dry_run=dry_run, detach=detach, as_json=as_json)


@backfill_app.command("list", epilog="Example: starter.py backfill list")
@command
async def backfill_list(config: Config = None, as_json: Json = False) -> None:
    """List backfills, the newest first."""
    async with open_office(config) as office:
        found = await office.backfills.list()
    if as_json:
        show_json(found)
        return
    rows = (
        (
            each.view.id.removeprefix(PREFIX),
            each.view.state,
            f"{each.view.window.since} to {each.view.window.until}",
            each.view.standing.count(),
            each.view.standing.count(*WAITING),
            each.view.standing.count(RecordState.PARKED, RecordState.REJECTED),
        )
        for each in found
    )
    columns = ("backfill", "state", "window", "records", "to go", "parked, rejected")
    show_table("Backfills", columns, rows)


@backfill_app.command("show", epilog="Example: starter.py backfill show opportunities/1")
@command
async def backfill_show(backfill: Id, config: Config = None, as_json: Json = False) -> None:
    """Show how far a backfill has come."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
    if as_json:
        show_json(found)
    else:
        show(found.view)


@backfill_app.command("attach", epilog="Example: starter.py backfill attach opportunities/1")
@command
async def backfill_attach(backfill: Id, config: Config = None, as_json: Json = False) -> None:
    """Watch a backfill to its end; Ctrl-C leaves it running. Exit code 1: some are not carried."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
        with leaving() as left:
            await watched(office, found.view.id, left, as_json=as_json)


@backfill_app.command("pause", epilog="Example: starter.py backfill pause opportunities/1")
@command
async def backfill_pause(
    backfill: Id, by: By = "", config: Config = None, as_json: Json = False
) -> None:
    """Start nothing more until it is resumed; what runs goes on."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
        told(await office.backfills.pause(found.view.id, by=by), as_json=as_json)


@backfill_app.command("resume", epilog="Example: starter.py backfill resume opportunities/1")
@command
async def backfill_resume(
    backfill: Id, by: By = "", config: Config = None, as_json: Json = False
) -> None:
    """Go on where it was paused."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
        told(await office.backfills.resume(found.view.id, by=by), as_json=as_json)


@backfill_app.command(
    "rate", epilog="Example: starter.py backfill rate opportunities/1 --rate 2 --max-in-flight 10"
)
@command
async def backfill_rate(
    backfill: Id,
    rate: RateOption = "",
    max_in_flight: Annotated[
        int, typer.Option("--max-in-flight", help="Under way at once; 0 leaves it.")
    ] = 0,
    by: By = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a backfill faster or slower while it runs."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
        view = await office.backfills.change_rate(
            found.view.id,
            rate=_rate(rate) if rate else None,
            in_flight_max=max_in_flight or None,
            by=by,
        )
        told(view, as_json=as_json)


@backfill_app.command("cancel", epilog="Example: starter.py backfill cancel opportunities/1")
@command
async def backfill_cancel(
    backfill: Id, by: By = "", config: Config = None, as_json: Json = False
) -> None:
    """Start nothing more, for good; what was started goes on to its own end."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
        told(await office.backfills.cancel(found.view.id, by=by), as_json=as_json)


@backfill_app.command(
    "report", epilog="Example: starter.py backfill report opportunities/1 --csv outcome.csv"
)
@command
async def backfill_report(
    backfill: Id,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write a line per record.", dir_okay=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell what became of each record, with totals by outcome and currency."""
    async with open_office(config) as office:
        found = await office.backfills.find(backfill)
        records = [each async for each in office.backfills.report(found.view.id)]
    if csv_file is not None:
        write_csv(csv_file, records)
    if as_json:
        show_json({**found.view.model_dump(), "records": [plain(each) for each in records]})
        return
    show(found.view)
    if csv_file is None:
        show_left([each for each in records if each.state not in WELL])
    else:
        say(f"wrote  {len(records)} records to {csv_file}")


class _Asked:
    """What the three commands have in common."""

    def __init__(
        self,
        kind: BackfillKind,
        since: str,
        until: str,
        where: str,
        connection: str,
        rate: str,
        in_flight_max: int,
    ) -> None:
        self._kind = kind
        self._days: tuple[date, date] = (day_of(since, "--from"), day_of(until, "--to"))
        self._where = where
        self._connection = connection
        self._rate = _rate(rate)
        self._in_flight_max = in_flight_max

    async def play(
        self, office: Office, name: str, by: str, *, dry_run: bool, detach: bool, as_json: bool
    ) -> None:
        window = office.backfills.window(self._kind, *self._days, self._where, self._connection)
        if dry_run:
            with bar_on(ERR) as shown:
                task = shown.add_task("reading …", total=None, note="")
                judged: list[Judged] = []
                async for page in office.backfills.dry_run(window):
                    judged += page
                    shown.update(task, completed=len(judged))
            show_plan(judged, as_json=as_json)
            return
        with leaving() as left:
            id_ = await office.backfills.start(
                window, rate=self._rate, in_flight_max=self._in_flight_max, name=name, by=by
            )
            if not detach:
                await watched(office, id_, left, as_json=as_json)
                return
        if as_json:
            show_json({"backfill": id_, "link": office.sagas.deep_link(id_)})
        else:
            say(f"started  {id_}\n  look   {office.sagas.deep_link(id_)}\n{how_to_attach(id_)}")


def _rate(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        fail(f"--rate: {text[:40]!r} is no number: write 5 or 0.5.")
