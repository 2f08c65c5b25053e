"""Commands on schedules: what happened under them, what they made due, and billing it now."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from canonical.bill_schedules import BillSchedulesInput
from canonical.schedule_facts import ScheduleFact
from operations.cli.options import Config, Json
from operations.cli.output import command, fail, progress, say, show_json, show_table
from operations.composition import Office, open_office
from operations.people import FINANCE, OPERATOR, check_role
from operations.sagas import SAGA_QUEUE
from policies.schedules.due import due
from policies.schedules.known import FactsRefused
from workflows.bill_schedules import BillSchedules

schedules_app = typer.Typer(no_args_is_help=True, help="What contracts make due by themselves.")
FACTS: TypeAdapter[list[ScheduleFact]] = TypeAdapter(list[ScheduleFact])
FILE_BYTES_MAX = 1_000_000

Engagement = Annotated[str, typer.Argument(help="The engagement's id: <crm>/<opportunity>.")]
Line = Annotated[str, typer.Argument(help="Ref of the contract line.")]


@schedules_app.command(
    "record",
    epilog="Example: starter.py schedule record salesforce/006DT01 L-2 facts.yaml --as tom",
)
@command
async def record_facts(
    engagement: Engagement,
    line: Line,
    file: Annotated[Path, typer.Argument(help="YAML: a list of facts; see docs/schedules.md.")],
    by: Annotated[str, typer.Option("--as", help="Who says so, by name in dealthread.toml.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep what happened: progress, usage, measured values. The same again changes nothing."""
    facts = _read(file)
    async with open_office(config) as office:
        check_role(
            office.config.people_roles(), by, {OPERATOR, FINANCE}, "recording facts of a schedule"
        )
        made = [
            await office.store.schedule_facts.record(engagement, line, fact, by=by)
            for fact in facts
        ]
    if as_json:
        show_json({"recorded": sum(made), "known": len(made) - sum(made)})
    else:
        say(f"recorded  {sum(made)}, known before  {len(made) - sum(made)}")


@schedules_app.command("show", epilog="Example: starter.py schedule show 5001")
@command
async def show_schedule(
    project: Annotated[str, typer.Argument(help="The PSA project's id.")],
    psa: Annotated[str, typer.Option(help="PSA connection; the first one without it.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what fell due on a project's contract lines, billed or not, with its derivation."""
    async with open_office(config) as office:
        found = await _occurrences(office, psa or office.psa, project)
    if as_json:
        show_json(found)
        return
    rows = (
        (each["line"], each["item"], each["net"], each["invoice_on"], each["state"], each["basis"])
        for each in found
    )
    show_table("Occurrences", ("line", "item", "net", "from", "", "worked out"), rows)


@schedules_app.command("run", epilog="Example: starter.py schedule run")
@command
async def run_schedules(
    engagement: Annotated[str, typer.Option(help="One engagement; all without it.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Hand over what fell due to drafting, without waiting for the run of every six hours."""
    async with open_office(config) as office:
        with progress() as shown:
            shown.add_task("billing schedules …")
            billed = await office.sagas.client.execute_workflow(
                BillSchedules.run,
                BillSchedulesInput(engagement=engagement),
                id=f"bill-schedules/{uuid.uuid4()}",
                task_queue=SAGA_QUEUE,
                static_summary="Bill schedules because somebody asked for it",
            )
    if as_json:
        show_json(billed)
        return
    say(f"handed over  {billed.fees}")
    for refused in billed.refused:
        say(f"refused  {refused}", style="red")
    if billed.refused:
        raise typer.Exit(1)


async def _occurrences(office: Office, psa: str, project: str) -> list[dict[str, object]]:
    """Return every occurrence up to today, done ones too.

    Facts that contradict the terms end the command with the sentence that says so.
    """
    versions = await office.store.engagements.of_project(psa, project)
    if not versions:
        fail(f"Nothing bills project {project}.")
    found: list[dict[str, object]] = []
    for line in versions[-1].lines:
        if line.schedule is None:
            continue
        facts = await office.store.schedule_facts.of_line(versions[-1].id, line.ref)
        done = await office.store.schedule_facts.done(versions[-1].id, line.ref)
        today = datetime.now(UTC).date()
        try:
            lines = due(line.schedule, facts, versions[0].effective_from, today, line=line.ref)
        except FactsRefused as error:
            fail(f"line {line.ref}: {error}")
        found += [
            {
                "line": line.ref,
                "item": each.item,
                "net": each.net,
                "invoice_on": each.invoice_on,
                "state": "handed over" if each.item in done else "due",
                "basis": ", ".join(f"{label} {value}" for label, value in each.basis),
            }
            for each in lines
        ]
    return found


def _read(file: Path) -> list[ScheduleFact]:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            fail(f"{file} is larger than {FILE_BYTES_MAX:,} bytes.")
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        return FACTS.validate_python(content)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror or error}.")
    except (YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            fail(f"{file}: {where}: {first['msg']}.")
        fail(f"{file} is no YAML list of facts: see docs/schedules.md.")
