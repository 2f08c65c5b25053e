"""Commands on an invoice's way to the client: it was transmitted, or its delivery was rejected."""

from typing import Annotated

import typer

from canonical.invoicing import Delivery
from operations.cli.options import Config, Json
from operations.cli.output import command, say, show_json
from operations.composition import open_office
from operations.deliveries import say_delivery

invoice_delivery_app = typer.Typer(no_args_is_help=True, help="The delivery of issued invoices.")

InvoiceId = Annotated[str, typer.Argument(help="An invoice's number, or CONNECTION/ID.")]
By = Annotated[str, typer.Option("--as", help="Who says so, by name in dealthread.toml.")]
Because = Annotated[str, typer.Option("--because", help="How it went, or why it came back.")]


@invoice_delivery_app.command(
    "transmitted",
    epilog="Example: starter.py invoice transmitted INV-1004 "
    '--because "by post, 3 December" --as ines.duarte',
)
@command
async def invoice_transmitted(
    invoice: InvoiceId, because: Because, by: By, config: Config = None, as_json: Json = False
) -> None:
    """Say that an invoice was sent to the client, or sent again; closes its work item."""
    await _say(invoice, Delivery.TRANSMITTED, because, by, config, as_json=as_json)


@invoice_delivery_app.command(
    "delivery-rejected",
    epilog="Example: starter.py invoice delivery-rejected INV-1004 "
    '--because "portal wants the order number" --as ines.duarte',
)
@command
async def invoice_delivery_rejected(
    invoice: InvoiceId, because: Because, by: By, config: Config = None, as_json: Json = False
) -> None:
    """Say that an invoice came back or was refused by the client's side: it is to be sent again."""
    await _say(invoice, Delivery.REJECTED, because, by, config, as_json=as_json)


async def _say(
    invoice: str, delivery: Delivery, because: str, by: str, config: Config, *, as_json: bool
) -> None:
    async with open_office(config) as office:
        found = await office.invoices.find(invoice)
        told = await say_delivery(office.invoices, found, delivery, because=because, by=by)
    if as_json:
        show_json(told)
        return
    words = told.delivery.value.replace("_", " ")
    say(f"{words}  {told.number}: {told.delivery_because}")
