"""Commands on the files of an invoice: its PDF, its evidence, and whether a file is as it was."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from canonical.money import Money
from operations.cli.options import Config, Json
from operations.cli.output import command, fail, progress, say, show_json
from operations.composition import Office, load_policies, open_office
from operations.documents.evidence import EvidenceFile
from operations.documents.render import Rendered
from operations.documents.verify import verify
from operations.invoice_files import InvoiceFiles
from operations.people import check_role
from operations.way_back import WayBack, WayFinder, subject_of
from store.credits import CreditStanding

invoice_files_app = typer.Typer(no_args_is_help=True, help="The files of issued invoices.")

InvoiceId = Annotated[str, typer.Argument(help="An invoice's number, or <connection>/<id>.")]
PrintedId = Annotated[
    str, typer.Argument(help="Number of an invoice or a credit note, CONNECTION/ID, or credit id.")
]
Template = Annotated[Path | None, typer.Option("--template", help="The firm's own layout (.typ).")]
PdfFile = Annotated[Path, typer.Option("-o", "--output", help="File to write; is replaced.")]
LOOKERS = {"viewer", "operator", "finance", "controller", "admin"}


def files_of(office: Office) -> InvoiceFiles:
    """Return what makes the files, with the policies of the configuration."""
    return InvoiceFiles(
        office.store, load_policies(office.config).policies, office.config.people_roles()
    )


@invoice_files_app.command("pdf", epilog="Example: starter.py invoice pdf INV-10077 -o INV.pdf")
@command
async def invoice_pdf(
    invoice: PrintedId,
    output: PdfFile,
    template: Template = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write an issued invoice as PDF: lines, tax as read back, timesheets, where each comes from.

    Of a credit note, by its number or the credit's id: its lines with their reasons.

    The issuing system's own print is what the client got; this one shows what is behind it.
    """
    async with open_office(config) as office:
        files = files_of(office)
        credit = await office.invoices.find_note(invoice)
        if credit is not None:
            await _write_note(office, credit, output, template, as_json=as_json)
            return
        way = await files.way(await office.invoices.find(invoice))
        await _write_pdf(files, way, output, template, as_json=as_json)


async def draft_pdf(
    office: Office, draft: str, output: Path, template: Path | None, *, as_json: bool
) -> None:
    """Write a draft as PDF; one that became an invoice, as that."""
    found = await office.queue.find(draft)
    way = await WayFinder(office.store).of_draft(found.id)
    await _write_pdf(files_of(office), way, output, template, as_json=as_json)


@invoice_files_app.command(
    "evidence", epilog="Example: starter.py invoice evidence INV-10077 -o INV-10077.zip"
)
@command
async def invoice_evidence(
    invoice: InvoiceId,
    output: PdfFile,
    by: Annotated[str, typer.Option("--as", help="Who exports it, for the audit trail.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write all that proves an invoice as one file, and keep its seal in the audit trail.

    It names people and rates in clear: keep it where such records belong.
    """
    async with open_office(config) as office:
        files = files_of(office)
        if by:
            check_role(office.config.people_roles(), by, LOOKERS, "exporting evidence")
        found = await office.invoices.find(invoice)
        with progress() as shown:
            shown.add_task("gathering the evidence …")
            packed = await files.evidence(await files.way(found), by)
            await _written(output, packed.data)
    _tell_packed(subject_of(found), output, packed, as_json=as_json)


@invoice_files_app.command("verify", epilog="Example: starter.py invoice verify INV-10077.zip")
@command
async def invoice_verify(
    file: Annotated[Path, typer.Argument(help="The evidence file.")],
    seal: Annotated[
        str, typer.Option(help="The seal that was kept of it: checked without any database.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say whether an evidence file is as it was made, and name all that was changed in it.

    Its seal is compared with those in the audit trail of the invoice, or with --seal.
    Exit code 1: it is not as it was made.
    """
    if seal:
        found = await asyncio.to_thread(verify, file, seal.strip().lower())
    else:
        async with open_office(config) as office:
            found = await files_of(office).checked(file)
    if as_json:
        show_json(found)
    else:
        named = found.number or found.draft
        say(
            f"{'intact' if found.intact else 'NOT INTACT'}  {file.name}{f': {named}' * bool(named)}"
        )
        for problem in found.problems:
            say(f"  {problem}", style="red")
        for missing in found.missing:
            say(f"  not known when it was made: {missing}", style="yellow")
        say(f"seal  {found.seal}" if found.seal else "seal  none can be read")
    if not found.intact:
        raise typer.Exit(1)


async def _write_pdf(
    files: InvoiceFiles, way: WayBack, output: Path, template: Path | None, *, as_json: bool
) -> None:
    rendered = await files.pdf(way, template)
    await _written(output, rendered.pdf)
    _tell_pdf(way, output, rendered, as_json=as_json)


async def _write_note(
    office: Office,
    credit: CreditStanding,
    output: Path,
    template: Path | None,
    *,
    as_json: bool,
) -> None:
    files, record = files_of(office), credit.credit.invoice
    way = await files.way(await office.store.invoices.get(record.system, record.id))
    rendered = await files.credit_note(way, credit, template)
    await _written(output, rendered.pdf)
    named = credit.note_number or credit.note_id
    _tell_written(output, named, credit.credit.net, rendered, as_json=as_json)


def _tell_pdf(way: WayBack, output: Path, rendered: Rendered, *, as_json: bool) -> None:
    named = (way.invoice.number if way.invoice else "") or way.draft.id
    _tell_written(output, named, way.net, rendered, as_json=as_json)


def _tell_written(
    output: Path, named: str, net: Money, rendered: Rendered, *, as_json: bool
) -> None:
    if as_json:
        told = {"file": str(output), "of": named, "net": net, "bytes": len(rendered.pdf)}
        show_json({**told, "archival": rendered.archival, "flaw": rendered.flaw})
        return
    say(f"written  {output}: {named}, net {net}")
    if rendered.flaw:
        say(f"  no PDF/A: {rendered.flaw}", style="yellow")


def _tell_packed(subject: str, output: Path, packed: EvidenceFile, *, as_json: bool) -> None:
    if as_json:
        told = {"file": str(output), "invoice": subject, "seal": packed.seal}
        show_json({**told, "missing": packed.missing, "bytes": len(packed.data)})
        return
    say(f"written  {output}: evidence of {subject}")
    say(f"seal  {packed.seal}")
    for missing in packed.missing:
        say(f"  not known yet: {missing}", style="yellow")


async def _written(output: Path, data: bytes) -> None:
    try:
        await asyncio.to_thread(output.write_bytes, data)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror or error}.")
