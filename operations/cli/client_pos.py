"""Commands on client purchase orders: what clients have ordered, and what is left of it."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from canonical.client_pos import ClientPo
from operations.cli.options import Config, Json
from operations.cli.output import command, fail, say, show_json, show_table
from operations.composition import open_office
from operations.config_errors import reason
from operations.people import FINANCE, OPERATOR, check_role

client_pos_app = typer.Typer(no_args_is_help=True, help="Client purchase orders.")
FILE_BYTES_MAX = 1_000_000


@client_pos_app.command("import", epilog="Example: starter.py po import po.yaml --as fiona")
@command
async def import_po(
    file: Annotated[Path, typer.Argument(help="YAML; see docs/howto/release-invoices.md.")],
    by: Annotated[str, typer.Option("--as", help="Who says so, by name in dealthread.toml.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep a client PO; the same again changes nothing, another version replaces it.

    One that replaces another takes over the drafts that are not released yet.
    """
    po = _read(file)
    async with open_office(config) as office:
        check_role(office.config.people_roles(), by, {OPERATOR, FINANCE}, "importing client POs")
        standing = await office.store.client_pos.put(po, by=by)
    if as_json:
        show_json({**standing.model_dump(), "left": standing.left})
    else:
        say(f"kept  {po.number} of {po.client_id}: {po.amount} {po.basis}, {standing.left} left")


@client_pos_app.command("list", epilog="Example: starter.py po list --client 001DT0000000004YAA")
@command
async def list_pos(
    client: Annotated[str, typer.Option(help="The client's CRM id.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show client POs with what was drafted, released and invoiced of them, and what is left."""
    async with open_office(config) as office:
        found = await office.store.client_pos.list(client)
    if as_json:
        show_json([{**each.model_dump(), "left": each.left} for each in found])
        return
    rows = (
        (
            each.po.number,
            each.po.client_id,
            f"{each.po.valid_from} – {each.po.valid_to or ''}",
            f"{each.po.amount} {each.po.basis}",
            each.drafted,
            each.released,
            each.invoiced,
            each.left,
        )
        for each in found
    )
    columns = ("PO", "client", "valid", "amount", "drafted", "released", "invoiced", "left")
    show_table("Client POs", columns, rows)


def _read(file: Path) -> ClientPo:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            fail(f"{file} is larger than {FILE_BYTES_MAX:,} bytes.")
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        return ClientPo.model_validate(content, extra="forbid")
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror or error}.")
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, problem["loc"])) or "the file"
        fail(f"{file}: {field}: {reason(problem)}.")
    except (YAMLError, ValueError, RecursionError):
        fail(f"{file} is no YAML of a client PO: see docs/howto/release-invoices.md.")
