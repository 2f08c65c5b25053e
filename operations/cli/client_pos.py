"""Commands on client purchase orders: what clients have ordered, and what is left of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from canonical.client_pos import ClientPo, PoLineStanding, PoStanding
from operations.cli.options import LISTED_MAX, Config, Json, Limit, Offset
from operations.cli.output import command, fail, first_of, say, show_json, show_table
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
        show_json(_told(standing))
    else:
        say(f"kept  {po.number} of {po.client_id}: {po.amount} {po.basis}, {standing.left} left")


@client_pos_app.command("list", epilog="Example: starter.py po list --client 001DT0000000004YAA")
@command
async def list_pos(
    client: Annotated[str, typer.Option(help="The client's CRM id.")] = "",
    limit: Limit = LISTED_MAX,
    offset: Offset = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show client POs with what was drafted, released and invoiced of them, and what is left.

    Below each PO its lines. Those that name no contract lines are one: for any that no line names.
    """
    async with open_office(config) as office:
        listed = await office.store.client_pos.list(client, limit=limit + 1, offset=offset)
    found = first_of(listed, limit, offset)
    if as_json:
        show_json([_told(each) for each in found])
        return
    columns = ("PO", "client", "valid", "amount", "drafted", "released", "invoiced", "left")
    show_table("Client POs", columns, (row for each in found for row in _rows(each)))


def _told(standing: PoStanding) -> dict[str, object]:
    lines = [{**line.model_dump(), "left": line.left} for line in standing.lines]
    return {**standing.model_dump(), "left": standing.left, "lines": lines}


def _rows(standing: PoStanding) -> Iterator[tuple[object, ...]]:
    """Yield the row of a PO, and one for each of its lines."""
    po = standing.po
    valid = f"{po.valid_from} – {po.valid_to or ''}"
    yield po.number, po.client_id, valid, f"{po.amount} {po.basis}", *_sums(standing)
    for line in standing.lines:
        if line.numbers:
            name = f"  line {', '.join(line.numbers)}"
            covers = ", ".join(line.contract_lines) or "any other line"
            yield name, covers, "", line.amount, *_sums(line)
        elif line.drafted.amount or line.left.amount:
            yield "  on no line", "", "", line.amount, *_sums(line)


def _sums(of: PoStanding | PoLineStanding) -> tuple[object, ...]:
    return of.drafted, of.released, of.invoiced, of.left


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
