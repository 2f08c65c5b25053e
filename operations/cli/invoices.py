"""Commands on issued invoices: what they stand at, credits, disputes, and their explanation."""

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from canonical.credit_invoice import CreditAnswer, CreditedAmount, CreditVerb
from canonical.invoicing import CreditReason
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.saga import WorkItemKind
from operations.cli.days import day_of
from operations.cli.invoice_delivery import invoice_delivery_app
from operations.cli.invoice_files import invoice_files_app
from operations.cli.items import suggestion
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
from operations.composition import open_office
from operations.invoices import InvoiceFile
from store.credits import CreditStanding

invoice_app = typer.Typer(
    no_args_is_help=True, help="Issued invoices: look, credit, dispute, explain, print, prove."
)
invoice_app.add_typer(invoice_files_app)
invoice_app.add_typer(invoice_delivery_app)

InvoiceId = Annotated[str, typer.Argument(help="An invoice's number, or CONNECTION/ID.")]
CreditId = Annotated[
    str, typer.Argument(help="A credit's id, or the invoice whose one credit waits.")
]
By = Annotated[str, typer.Option("--as", help="Who decides, by name in dealthread.toml.")]
Because = Annotated[str, typer.Option("--because", help="The reason, for the audit trail.")]
Reason = Annotated[CreditReason, typer.Option(help="Only a rebill is billed again.")]
Line = Annotated[list[str] | None, typer.Option("--line", help="LINE=AMOUNT net; repeatable.")]
DESCRIPTION_SHOWN = 40


@invoice_app.command("list", epilog="Example: starter.py invoice list --state overdue")
@command
async def invoice_list(
    state: Annotated[list[InvoiceState] | None, typer.Option(help="May be repeated.")] = None,
    entity: Annotated[str, typer.Option(help="Code of the legal entity.")] = "",
    client: Annotated[str, typer.Option(help="The client's CRM id.")] = "",
    limit: Limit = LISTED_MAX,
    offset: Offset = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show issued invoices, oldest first, and what is still to be paid of each."""
    async with open_office(config) as office:
        listed = await office.invoices.list(
            tuple(state or ()),
            legal_entity=entity,
            client_id=client,
            limit=limit + 1,
            offset=offset,
        )
    found = first_of(listed, limit, offset)
    if as_json:
        show_json(list(found))
        return
    rows = (
        (
            each.number,
            f"{each.record.system}/{each.record.id}",
            each.on,
            f"{each.state}: {each.disputed}" if each.disputed else each.state,
            each.gross,
            each.remaining,
        )
        for each in found
    )
    show_table("Invoices", ("number", "record", "dated", "state", "gross", "remaining"), rows)


@invoice_app.command("show", epilog="Example: starter.py invoice show INV-1004")
@command
async def invoice_show(invoice: InvoiceId, config: Config = None, as_json: Json = False) -> None:
    """Show an invoice with its lines, what was applied to it, its credits and what waits."""
    async with open_office(config) as office:
        found = await office.invoices.show(invoice)
    if as_json:
        show_json(
            {
                **found.invoice.model_dump(),
                "credits": found.credits,
                "left": found.left,
                "unexplained": found.unexplained,
                "work_items": found.waits,
            }
        )
        return
    _show(found)


@invoice_app.command(
    "credit",
    epilog="Example: starter.py invoice credit INV-1004 --line 2=150.00 --reason concession "
    '--because "late" --as maya.chen',
)
@command
async def invoice_credit(
    invoice: InvoiceId,
    reason: Reason,
    because: Because,
    by: By,
    line: Line = None,
    whole: Annotated[bool, typer.Option("--whole", help="Everything that is left of it.")] = False,
    on: Annotated[str, typer.Option(help="Day of the credit note: 2026-12-31; else today.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Ask for a credit; somebody else of finance approves it before anything is issued."""
    if bool(line) == whole:
        fail("Say what to credit: --line 2=150.00, once for each line, or --whole.")
    day: date | None = day_of(on, "--on") if on else None
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        lines = _amounts(line or (), found)
        with progress() as shown:
            shown.add_task("looking at the invoice …")
            answer = await office.invoices.credit(
                found, lines, reason, because=because, by=by, on=day
            )
    _tell(answer, "asked", as_json=as_json)


@invoice_app.command(
    "void",
    epilog='Example: starter.py invoice void INV-1004 --reason rebill --because "wrong client" '
    "--as maya.chen",
)
@command
async def invoice_void(
    invoice: InvoiceId,
    reason: Reason,
    because: Because,
    by: By,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Ask for an unpaid invoice to be voided; somebody else approves it, with `approve-credit`.

    Only where the policy of its legal entity allows it, and its period is open; else credit it.
    """
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        with progress() as shown:
            shown.add_task("looking at the invoice …")
            answer = await office.invoices.credit(
                found, (), reason, because=because, by=by, void=True
            )
    _tell(answer, "asked", as_json=as_json)


@invoice_app.command(
    "approve-credit", epilog="Example: starter.py invoice approve-credit INV-1004 --as ines.duarte"
)
@command
async def invoice_approve_credit(
    credit: CreditId, by: By, config: Config = None, as_json: Json = False
) -> None:
    """Approve a credit that somebody else asked for: its credit note is issued."""
    async with open_office(config) as office:
        found = await office.invoices.find_credit(credit)
        answer = await office.invoices.decide(found, CreditVerb.APPROVE, by=by)
    _tell(answer, "approved", as_json=as_json)


@invoice_app.command(
    "refuse-credit",
    epilog="Example: starter.py invoice refuse-credit INV-1004 "
    '--because "not agreed" --as ines.duarte',
)
@command
async def invoice_refuse_credit(
    credit: CreditId, because: Because, by: By, config: Config = None, as_json: Json = False
) -> None:
    """Refuse a credit, or take back one's own; nothing of it is left."""
    async with open_office(config) as office:
        found = await office.invoices.find_credit(credit)
        answer = await office.invoices.decide(found, CreditVerb.REFUSE, by=by, because=because)
    _tell(answer, "refused", as_json=as_json)


@invoice_app.command(
    "dispute",
    epilog='Example: starter.py invoice dispute INV-1004 --because "hours" --as ines.duarte',
)
@command
async def invoice_dispute(
    invoice: InvoiceId, because: Because, by: By, config: Config = None, as_json: Json = False
) -> None:
    """Note that the client disputes an invoice: nothing more of theirs is released."""
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        disputed = await office.invoices.dispute(found, because=because, by=by)
    _done(disputed, f"disputed  {disputed.number}: {disputed.disputed}", as_json=as_json)


@invoice_app.command(
    "undispute", epilog="Example: starter.py invoice undispute INV-1004 --as ines.duarte"
)
@command
async def invoice_undispute(
    invoice: InvoiceId, by: By, config: Config = None, as_json: Json = False
) -> None:
    """End a dispute: the client is billed again."""
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        settled = await office.invoices.undispute(found, by=by)
    _done(settled, f"undisputed  {settled.number}", as_json=as_json)


@invoice_app.command(
    "explain",
    epilog="Example: starter.py invoice explain INV-1004 CM-77 --reason concession "
    "--as ines.duarte",
)
@command
async def invoice_explain(
    invoice: InvoiceId,
    credit: Annotated[
        str, typer.Argument(help="Number or id of the credit made there; undone: all of it was.")
    ],
    reason: Reason,
    by: By,
    line: Line = None,
    because: Because = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say what a credit is for that somebody made in the issuing system; closes its work item.

    `undone` stands for all of an invoice that was voided or deleted there.
    """
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        lines = _amounts(line or (), found)
        standing = await office.invoices.explain(
            found, credit, lines, reason, by=by, because=because
        )
    if as_json:
        show_json(standing)
        return
    say(f"explained  {standing.note_number or standing.note_id}: {standing.credit.net} net")


@invoice_app.command(
    "accept-tax",
    epilog="Example: starter.py invoice accept-tax INV-1004 "
    '--because "exempt since May" --as ines.duarte',
)
@command
async def invoice_accept_tax(
    invoice: InvoiceId, because: Because, by: By, config: Config = None, as_json: Json = False
) -> None:
    """Accept a tax that the issuing system made otherwise than expected; closes its work item."""
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        await office.invoices.accept_tax(found, because=because, by=by)
    _done(found, f"accepted  {found.tax} of tax on {found.number}", as_json=as_json)


def _amounts(pairs: list[str] | tuple[()], invoice: TrackedInvoice) -> tuple[CreditedAmount, ...]:
    return tuple(_amount(pair, invoice.currency) for pair in pairs)


def _amount(pair: str, currency: str) -> CreditedAmount:
    number, equals, text = pair.partition("=")
    if not equals or not number.strip().isdecimal() or not text.strip():
        fail("--line wants LINE=AMOUNT, for example --line 2=150.00.")
    try:
        money = Money(amount=Decimal(text.strip()), currency=currency)
    except (InvalidOperation, ValueError):
        fail(f"{short(text, 40)} is no amount in {currency}: write it as 150.00.")
    return CreditedAmount(line=int(number), amount=money)


def _tell(answer: CreditAnswer, what: str, *, as_json: bool) -> None:
    """Say what became of it; exit code 1 where it was not taken."""
    if as_json:
        show_json(answer)
    elif answer.taken:
        say(f"{what}  {answer.credit}: {answer.net}")
        if what == "asked":
            say(f"approve  starter.py invoice approve-credit {answer.credit} --as NAME")
    else:
        for reason in answer.reasons:
            say(f"not {what}  {reason}", style="red")
    if not answer.taken:
        raise typer.Exit(1)


def _done(invoice: TrackedInvoice, text: str, *, as_json: bool) -> None:
    if as_json:
        show_json(invoice)
    else:
        say(text)


def _show(file: InvoiceFile) -> None:
    invoice = file.invoice
    say(f"{invoice.number}  {invoice.state}", style="bold")
    say(f"record    {invoice.record.system}/{invoice.record.id}")
    say(f"client    {invoice.client_id}, billed by {invoice.legal_entity}")
    say(f"dated     {invoice.on}, due {invoice.due or 'as agreed'}")
    if invoice.delivery:
        words = invoice.delivery.value.replace("_", " ")
        say(f"delivery  {words}: {invoice.delivery_because}")
    if invoice.disputed:
        say(f"disputed  {invoice.disputed}", style="yellow")
    rows = (
        (
            line.number or "",
            short(line.issued.description, DESCRIPTION_SHOWN),
            line.issued.amount,
            line.issued.tax,
            line.credited,
        )
        for line in invoice.lines
    )
    show_table("Lines", ("", "description", "net", "tax", "credited"), rows)
    say(
        f"net {invoice.net}, tax {invoice.tax}, gross {invoice.gross}, "
        f"remaining {invoice.remaining}"
    )
    applied = (
        (each.kind, each.reference or each.id, each.on, each.amount)
        for each in invoice.applications
    )
    show_table("Applied", ("what", "number", "on", "gross"), applied)
    show_table(
        "Credits", ("credit", "state", "net", "reason", "people", "note"), map(_row, file.credits)
    )
    for each in file.unexplained:
        name = each.reference or each.id
        say(f"waits     credit {name} of {each.amount} has no reason", style="yellow")
        call = f"starter.py invoice explain {invoice.number} {name}"
        say(f"          {call} --reason REASON --as NAME")
    for item in file.waits:
        if item.kind is WorkItemKind.DIFFERENCE:
            say(f"waits     its tax is off by {item.amount}", style="yellow")
            say(f"          {suggestion(item)}")


def _row(standing: CreditStanding) -> tuple[object, ...]:
    credit = standing.credit
    people = " / ".join(filter(None, (credit.asked_by, credit.approved_by)))
    reasons = ", ".join(sorted({line.reason for line in credit.lines}))
    state = f"{standing.state}: {standing.because}" if standing.because else standing.state
    return credit.id, state, credit.net, reasons, people, standing.note_number or standing.note_id
