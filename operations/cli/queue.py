"""Commands on the billing queue: what waits, what it holds, and what people decide about it."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from canonical.draft_acts import (
    AnyAct,
    DeferLines,
    DraftAnswer,
    EditNarrative,
    HoldLines,
    Merge,
    ProposeWriteDown,
    Reject,
    Review,
    Split,
    WriteDown,
)
from canonical.drafts import Draft, DraftState, LineState
from canonical.money import Money
from operations.cli.days import day_of
from operations.cli.invoice_files import PdfFile, Template, draft_pdf
from operations.cli.options import LISTED_MAX, Config, Json, Limit, Offset
from operations.cli.output import (
    command,
    fail,
    first_of,
    progress,
    say,
    short,
    show_json,
    show_table,
)
from operations.composition import Office, open_office
from operations.queue import PREFIX, Acted
from policies.queue_lines import proposals

queue_app = typer.Typer(no_args_is_help=True, help="Drafts of invoices: review and release them.")

DraftId = Annotated[str, typer.Argument(help="A draft's id, or an ending that only it has.")]
By = Annotated[str, typer.Option("--as", help="Who decides, by name in dealthread.toml.")]
Because = Annotated[str, typer.Option("--because", help="The reason, for the audit trail.")]
Lines = Annotated[str, typer.Option(help="Numbers of lines, joined by commas: 1,3.")]
NARRATIVE_SHOWN = 48


@queue_app.command("list", epilog="Example: starter.py queue list --state queued")
@command
async def queue_list(
    state: Annotated[list[DraftState] | None, typer.Option(help="May be repeated.")] = None,
    entity: Annotated[str, typer.Option(help="Code of the legal entity.")] = "",
    client: Annotated[str, typer.Option(help="The client's CRM id.")] = "",
    limit: Limit = LISTED_MAX,
    offset: Offset = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show drafts in review and in the queue, oldest first, and what keeps each from release."""
    async with open_office(config) as office:
        states = tuple(state or (DraftState.IN_REVIEW, DraftState.QUEUED))
        found = await office.queue.list(
            states, legal_entity=entity, client_id=client, limit=limit + 1, offset=offset
        )
    drafts = first_of(found, limit, offset)
    if as_json:
        show_json([_plain(draft) for draft in drafts])
        return
    rows = (
        (
            draft.id.removeprefix(PREFIX),
            draft.state,
            draft.net,
            len(draft.live_lines),
            draft.content_hash[:12],
            "; ".join(draft.problems) or draft.returned,
            "; ".join((*draft.warnings, *proposals(draft))),
        )
        for draft in drafts
    )
    header = ("draft", "state", "net", "lines", "hash", "blocked by", "to know")
    show_table("Drafts", header, rows)


@queue_app.command("show", epilog="Example: starter.py queue show project-5001/2026-11/1")
@command
async def queue_show(draft: DraftId, config: Config = None, as_json: Json = False) -> None:
    """Show a draft with its lines, its preparers and what blocks it."""
    async with open_office(config) as office:
        found = await office.queue.find(draft)
    if as_json:
        show_json(_plain(found))
        return
    _show(found)


@queue_app.command("pdf", epilog="Example: starter.py queue pdf DRAFT -o draft.pdf")
@command
async def queue_pdf(
    draft: DraftId,
    output: PdfFile,
    template: Template = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a draft as PDF: its lines, its timesheets, and where each line comes from.

    Its tax is estimated. A draft that became an invoice is printed as that, as it was read back.
    """
    async with open_office(config) as office:
        await draft_pdf(office, draft, output, template, as_json=as_json)


@queue_app.command("assemble", epilog="Example: starter.py queue assemble --project 5001")
@command
async def queue_assemble(
    project: Annotated[str, typer.Option(help="The PSA project's id; all without it.")] = "",
    client: Annotated[str, typer.Option(help="The client's CRM id.")] = "",
    due: Annotated[bool, typer.Option("--due", help="Only what is due by its timing.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make drafts of what was handed over, without waiting for the Schedule."""
    async with open_office(config) as office:
        with progress() as shown:
            shown.add_task("making drafts …")
            made = await office.queue.assemble(
                project_id=project, client_id=client, everything=not due
            )
    if as_json:
        show_json(made)
        return
    for each in made.drafts:
        say(f"made  {each.removeprefix(PREFIX)}")
    if not made.drafts:
        say("nothing waits to be drafted")


@queue_app.command("review", epilog="Example: starter.py queue review DRAFT --as maya.chen")
@command
async def queue_review(
    draft: DraftId, by: By, because: Because = "", config: Config = None, as_json: Json = False
) -> None:
    """Say that a draft is reviewed: it goes to the billing queue."""
    async with open_office(config) as office:
        await _act(office, draft, Review(by=by, because=because), as_json=as_json)


@queue_app.command("release", epilog="Example: starter.py queue release DRAFT --as ines.duarte")
@command
async def queue_release(
    drafts: Annotated[list[str], typer.Argument(help="Drafts, or ids' endings.")],
    by: By,
    content_hash: Annotated[
        str, typer.Option("--hash", help="The content hash that was looked at, or its beginning.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Release drafts into their issuing systems; each is answered for itself."""
    async with open_office(config) as office:
        found = [await office.queue.find(each) for each in drafts]
        for each in found:
            if content_hash and not each.content_hash.startswith(content_hash):
                fail(
                    f"{each.id.removeprefix(PREFIX)} has changed since: its content hash is "
                    f"{each.content_hash[:12]}. Look at it again."
                )
        acted = await office.queue.release(found, by)
    _tell(acted, "released", as_json=as_json)


@queue_app.command(
    "reject", epilog='Example: starter.py queue reject DRAFT --because "no PO" --as ines.duarte'
)
@command
async def queue_reject(
    draft: DraftId,
    by: By,
    because: Because,
    free: Annotated[
        bool, typer.Option("--free", help="Let its lines be drafted again; else they are held.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give a draft up; its lines are held until somebody releases them, or free again."""
    async with open_office(config) as office:
        act = Reject(by=by, because=because, hold=not free)
        await _act(office, draft, act, as_json=as_json)


@queue_app.command(
    "adjust", epilog="Example: starter.py queue adjust DRAFT --write-down 2=150.00 --as ines.duarte"
)
@command
async def queue_adjust(
    draft: DraftId,
    by: By,
    because: Because = "",
    narrative: Annotated[str, typer.Option(help="LINE=TEXT: word a line anew.")] = "",
    hold: Annotated[str, typer.Option(help="LINES: off the draft until released.")] = "",
    defer: Annotated[str, typer.Option(help="LINES: off the draft until --until.")] = "",
    until: Annotated[str, typer.Option(help="The day of --defer: 2026-12-31.")] = "",
    write_down: Annotated[str, typer.Option(help="LINE=AMOUNT: bill that much less.")] = "",
    propose: Annotated[
        str, typer.Option("--propose-write-down", help="LINE=AMOUNT, for finance to decide.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Change a draft: one of its wording, its lines, or how much a line bills."""
    given = [each for each in (narrative, hold, defer, write_down, propose) if each]
    if len(given) != 1:
        fail("Say one change: --narrative, --hold, --defer, --write-down or --propose-write-down.")
    async with open_office(config) as office:
        found = await office.queue.find(draft)
        act: AnyAct
        if narrative:
            line, text = _pair(narrative, "--narrative")
            act = EditNarrative(by=by, because=because, line=line, narrative=text)
        elif hold:
            act = HoldLines(by=by, because=because, lines=_numbers(hold))
        elif defer:
            day = day_of(until, "--until, the day of --defer")
            act = DeferLines(by=by, because=because, lines=_numbers(defer), until=day)
        else:
            line, text = _pair(write_down or propose, "--write-down")
            amount = _money(text, found.currency)
            kind = WriteDown if write_down else ProposeWriteDown
            act = kind(by=by, because=because, line=line, amount=amount)
        await _act(office, found.id, act, as_json=as_json)


@queue_app.command(
    "split", epilog="Example: starter.py queue split DRAFT --lines 2,3 --as maya.chen"
)
@command
async def queue_split(
    draft: DraftId,
    lines: Lines,
    by: By,
    because: Because = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Move lines to a draft of their own; limits of release count both together."""
    async with open_office(config) as office:
        act = Split(by=by, because=because, lines=_numbers(lines))
        await _act(office, draft, act, as_json=as_json)


@queue_app.command("merge", epilog="Example: starter.py queue merge DRAFT OTHER --as maya.chen")
@command
async def queue_merge(
    draft: DraftId,
    other: Annotated[str, typer.Argument(help="The draft that goes into the first one.")],
    by: By,
    because: Because = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take another draft of the same client, entity, currency and PO into this one."""
    async with open_office(config) as office:
        second = await office.queue.find(other)
        await _act(office, draft, Merge(by=by, because=because, other=second.id), as_json=as_json)


async def _act(office: Office, typed: str, act: AnyAct, *, as_json: bool) -> None:
    found = await office.queue.find(typed)
    answer = await office.queue.act(found.id, act)
    _tell((Acted(found.id, answer),), str(act.act), as_json=as_json)


def _tell(acted: tuple[Acted, ...], what: str, *, as_json: bool) -> None:
    """Say what became of each; exit code 1 where one was refused."""
    refused = [each for each in acted if not each.answer.taken]
    if as_json:
        show_json([{"draft": each.draft, **each.answer.model_dump()} for each in acted])
    else:
        for each in acted:
            name = each.draft.removeprefix(PREFIX)
            if each.answer.taken:
                say(f"{what}  {name}: {each.answer.state}, hash {each.answer.content_hash[:12]}")
                for made in each.answer.made:
                    say(f"made  {made.removeprefix(PREFIX)}")
            else:
                _refused(name, each.answer)
    if refused:
        raise typer.Exit(1)


def _refused(name: str, answer: DraftAnswer) -> None:
    say(f"refused  {name}: {answer.reasons[0]}", style="red")
    for reason in answer.reasons[1:]:
        say(f"         {reason}", style="red")


def _show(draft: Draft) -> None:
    say(f"{draft.title}  {draft.state}, version {draft.version}", style="bold")
    say(f"hash      {draft.content_hash}")
    say(f"client    {draft.client_id}, billed as {draft.bill_to} by {draft.legal_entity}")
    say(f"dated     {draft.on}, due in {draft.payment_days} days")
    if draft.client_po:
        say(f"client PO {draft.client_po}")
    say(f"prepared  {', '.join(draft.preparers) or 'nobody'}")
    rows = (
        (
            line.number,
            short(line.narrative, NARRATIVE_SHOWN),
            f"{line.quantity:f} {line.unit}",
            f"{line.unit_price:f}",
            line.amount,
            "" if line.state is LineState.IN else f"{line.state}: {line.because}",
        )
        for line in draft.lines
    )
    show_table("Lines", ("", "narrative", "quantity", "price", "net", ""), rows)
    say(f"net {draft.net}, tax (estimated) {draft.expected_tax}, gross {draft.gross}")
    for problem in draft.problems:
        say(f"blocked   {problem}", style="yellow")
    for warning in draft.warnings:
        say(f"know      {warning}", style="yellow")
    for proposal in proposals(draft):
        say(f"proposed  {proposal}", style="yellow")
    if draft.returned:
        say(f"returned  {draft.returned}", style="yellow")


def _plain(draft: Draft) -> dict[str, object]:
    return {
        **draft.model_dump(),
        "net": draft.net,
        "expected_tax": draft.expected_tax,
        "gross": draft.gross,
        "content_hash": draft.content_hash,
    }


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(",") if each.strip())
    except ValueError:
        fail(f"{short(text, 40)} is no list of line numbers: write 1,3.")


def _pair(text: str, option: str) -> tuple[int, str]:
    line, found, value = text.partition("=")
    if not found or not line.strip().isdecimal() or not value.strip():
        fail(f"{option} wants LINE=…, for example {option} 2=150.00.")
    return int(line), value.strip()


def _money(text: str, currency: str) -> Money:
    try:
        return Money(amount=Decimal(text), currency=currency)
    except (InvalidOperation, ValueError) as error:
        fail(f"{short(text, 40)} is no amount in {currency}: {_first(error)}")


def _first(error: Exception) -> str:
    return "write it as 150.00" if isinstance(error, InvalidOperation) else "check its decimals"
