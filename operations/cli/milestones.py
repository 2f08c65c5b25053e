"""Commands on milestones that are being billed: where one stands, hold, release, withdraw."""

from typing import Annotated

import typer

from canonical.fees import FeeStanding
from operations.cli.options import Config, Json
from operations.cli.output import command, say, show_json, show_table
from operations.composition import open_office
from operations.milestones import MilestoneDesk, MilestoneStatus

milestone_app = typer.Typer(no_args_is_help=True, help="Milestones on their way to an invoice.")

Milestone = Annotated[str, typer.Argument(help="The PSA's id of the billing milestone.")]
Psa = Annotated[str, typer.Option(help="PSA connection; the first one without it.")]
By = Annotated[str, typer.Option("--as", help="Who says so, by name in dealthread.toml.")]
Because = Annotated[str, typer.Option(help="Why; somebody will ask.")]


@milestone_app.command("status", epilog="Example: starter.py milestone status 31")
@command
async def milestone_status(
    milestone: Milestone, psa: Psa = "", config: Config = None, as_json: Json = False
) -> None:
    """Show a milestone in the PSA, its saga, what was reserved for it, and what blocks it."""
    async with open_office(config) as office:
        found = await MilestoneDesk(office.billing).status(milestone, psa=psa)
    if as_json:
        show_json(found)
    else:
        _show(found)


@milestone_app.command("list", epilog="Example: starter.py milestone list")
@command
async def milestone_list(config: Config = None, as_json: Json = False) -> None:
    """Show the milestones that somebody holds, and those that were taken back too late."""
    async with open_office(config) as office:
        desk = MilestoneDesk(office.billing)
        held, late = await desk.held(), await desk.late()
    if as_json:
        show_json({"held": held, "late": late})
        return
    rows = ((*_what(each), each.held, each.held_by) for each in held)
    show_table("Held", ("milestone", "amount", "state", "why", "by"), rows)
    rows_late = ((*_what(each), each.withdrawn, each.invoice) for each in late)
    columns = ("milestone", "amount", "state", "why", "invoice")
    show_table("Taken back after its release: credit it", columns, rows_late)


@milestone_app.command(
    "hold",
    epilog='Example: starter.py milestone hold 31 --because "client disputes it" --as olivia',
)
@command
async def milestone_hold(
    milestone: Milestone,
    because: Because,
    by: By,
    psa: Psa = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep a milestone off drafts, and a draft that has it from release, until it is released."""
    async with open_office(config) as office:
        desk = MilestoneDesk(office.billing)
        held = await desk.hold(milestone, by=by, because=because, psa=psa)
    if as_json:
        show_json({"held": held})
    else:
        say(f"held  milestone {milestone}" if held else f"milestone {milestone} is held already")


@milestone_app.command("unhold", epilog="Example: starter.py milestone unhold 31 --as olivia")
@command
async def milestone_unhold(
    milestone: Milestone, by: By, psa: Psa = "", config: Config = None, as_json: Json = False
) -> None:
    """Release a milestone that is held, also by a draft's line, or that was withdrawn."""
    async with open_office(config) as office:
        released = await MilestoneDesk(office.billing).unhold(milestone, by=by, psa=psa)
    if as_json:
        show_json({"released": released})
    elif released:
        say(f"released  milestone {milestone}: its saga looks at it anew")
    else:
        say(f"nothing holds milestone {milestone}")


@milestone_app.command(
    "withdraw",
    epilog='Example: starter.py milestone withdraw 31 --because "billed by hand" --as fiona',
)
@command
async def milestone_withdraw(
    milestone: Milestone,
    because: Because,
    by: By,
    psa: Psa = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give a milestone's amount back to its contract, off its draft too, until it is released.

    It is not billed again, although the PSA says that it is approved, before `milestone unhold`.
    """
    async with open_office(config) as office:
        desk = MilestoneDesk(office.billing)
        fee = await desk.withdraw(milestone, by=by, because=because, psa=psa)
    if as_json:
        show_json(fee)
    elif fee.draft:
        say(f"withdrawn  {fee.fee.amount}; it is taken off {fee.draft}")
    else:
        say(f"withdrawn  {fee.fee.amount}; it counts no more against its contract")


def _show(found: MilestoneStatus) -> None:
    known = found.milestone
    if known is None:
        say(f"{found.milestone_id}: {found.unknown}")
    else:
        approved = "approved" if known.approved else "not approved"
        who = f" by {known.approved_by}" if known.approved_by else ""
        when = f" at {known.approved_at:%Y-%m-%d %H:%M %Z}" if known.approved_at else ""
        say(f"{known.title}  {known.amount}  {approved}{who}{when}")
    if found.saga is not None:
        ended = found.saga.outcome or found.saga.state
        reason = f": {found.saga.reason}" if found.saga.reason else ""
        say(f"saga  generation {found.saga.generation} {ended}{reason}")
    rows = (
        (
            each.fee.cycle,
            each.fee.amount,
            each.state,
            each.draft.removeprefix("invoice-draft/"),
            each.invoice,
            "; ".join(filter(None, (_withdrawn(each), _held(each)))),
        )
        for each in found.fees
    )
    columns = ("cycle", "amount", "state", "draft", "invoice", "why")
    show_table("Reserved", columns, rows)
    if found.blocked:
        say(f"blocked  {found.blocked}", style="yellow")


def _what(fee: FeeStanding) -> tuple[str, str, str]:
    return (f"{fee.fee.item} {fee.fee.narrative}", str(fee.fee.amount), fee.state)


def _held(fee: FeeStanding) -> str:
    return f"held by {fee.held_by}: {fee.held}" if fee.held else ""


def _withdrawn(fee: FeeStanding) -> str:
    return f"withdrawn: {fee.withdrawn}" if fee.withdrawn else ""
