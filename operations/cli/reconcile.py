"""Commands on reconciliation: compare now, see what was found, and whether the sums hold."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from canonical.reconciliation import (
    CONSERVATION,
    Balance,
    Finding,
    FindingClass,
    FindingCode,
    ReconcileInput,
    ReconciliationRun,
)
from operations.cli.csv_files import Csv, write_rows
from operations.cli.options import Config, Json, Limit, Offset
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

reconcile_app = typer.Typer(
    no_args_is_help=True, help="Compare the systems, and see what does not agree."
)

SHOWN: Final = 70
"""Characters of an explanation in a table."""
LISTED: Final = 200
LISTED_OF_RUN: Final = 500
COLUMNS: Final = (
    *("finding", "code", "class", "system", "type", "id", "amount", "currency", "client"),
    *("project", "period", "first_seen", "last_seen", "closed", "work_item", "healed_as"),
    *("explanation", "remedy"),
)


@reconcile_app.command("run", epilog="Example: starter.py reconcile run US 2026-11 --heal")
@command
async def reconcile_run(
    entity: Annotated[str, typer.Argument(help="Code of the legal entity.")],
    period: Annotated[str, typer.Argument(help="The billing period: 2026-11.")],
    connection: Annotated[
        list[str] | None, typer.Option(help="Only this system; may be repeated.")
    ] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Mend what mends itself.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Count what changed just now as a difference too.")
    ] = False,
    psa: Annotated[str, typer.Option(help="The PSA's connection.")] = "",
    csv_file: Csv = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Compare the systems of a legal entity over a billing period, now, and wait for the end.

    Exit code 1 where a system could not be listed.
    """
    async with open_office(config) as office:
        wanted = ReconcileInput(
            legal_entity=entity,
            period=period,
            psa=psa,
            connections=tuple(connection or ()),
            heal=heal,
            tolerance_seconds=0 if fresh else None,
            asked_by="cli",
        )
        with progress() as shown:
            shown.add_task("listing and comparing …")
            ended = await office.reconciliation.run(wanted)
        run = await office.store.reconciliation.run(ended.run)
        listed = await office.store.reconciliation.findings(run=ended.run, limit=LISTED_OF_RUN + 1)
    findings = first_of(listed, LISTED_OF_RUN, rest=f"reconcile show {run.name}")
    if csv_file is not None:
        write_rows(csv_file, COLUMNS, map(_cells, findings))
    if as_json:
        show_json({"ended": ended, "run": run, "findings": [_plain(each) for each in findings]})
    else:
        _show_run(run, findings)
        say(
            f"{ended.findings} found, {ended.queued} queued, {ended.healed} being mended, "
            f"{ended.closed} of earlier runs are no more"
        )
    if ended.failed:
        raise typer.Exit(1)


@reconcile_app.command("list", epilog="Example: starter.py reconcile list --entity US")
@command
async def reconcile_list(
    entity: Annotated[str, typer.Option(help="Code of the legal entity.")] = "",
    period: Annotated[str, typer.Option(help="The billing period: 2026-11.")] = "",
    code: Annotated[FindingCode | None, typer.Option(help="What it is.")] = None,
    kind: Annotated[FindingClass | None, typer.Option("--class", help="Its class.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Also those that are no more.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="The runs, not what they found.")] = False,
    limit: Limit = LISTED,
    offset: Offset = 0,
    csv_file: Csv = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what does not agree, by money; or the runs, the latest first."""
    async with open_office(config) as office:
        store = office.store.reconciliation
        if runs:
            found = await store.runs(
                legal_entity=entity, period=period, limit=limit + 1, offset=offset
            )
            _list_runs(first_of(found, limit, offset), as_json=as_json)
            return
        listed = await store.findings(
            legal_entity=entity,
            period=period,
            code=code.value if code else "",
            class_=kind.value if kind else "",
            closed=closed,
            limit=limit + 1,
            offset=offset,
        )
    findings = first_of(listed, limit, offset)
    if csv_file is not None:
        write_rows(csv_file, COLUMNS, map(_cells, findings))
    if as_json:
        show_json([_plain(each) for each in findings])
    else:
        _show_findings("Findings", findings)


@reconcile_app.command("show", epilog="Example: starter.py reconcile show F12")
@command
async def reconcile_show(
    name: Annotated[str, typer.Argument(help="A run, R12, or a finding, F34.")],
    limit: Limit = LISTED_OF_RUN,
    offset: Offset = 0,
    csv_file: Csv = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show a run with what it found, or a finding with the rows behind it."""
    async with open_office(config) as office:
        found = await office.reconciliation.find(name, limit=limit + 1, offset=offset)
    if isinstance(found, Finding):
        if csv_file is not None:
            fail("--csv writes the findings of a run: name one, such as R12.")
        if as_json:
            show_json(_plain(found))
        else:
            _show_finding(found)
        return
    run, findings = found[0], first_of(found[1], limit, offset)
    if csv_file is not None:
        write_rows(csv_file, COLUMNS, map(_cells, findings))
    if as_json:
        show_json({"run": run, "findings": [_plain(each) for each in findings]})
    else:
        _show_run(run, findings)


@reconcile_app.command("conservation", epilog="Example: starter.py reconcile conservation")
@command
async def reconcile_conservation(
    entity: Annotated[str, typer.Option(help="Code of the legal entity.")] = "",
    client: Annotated[str, typer.Option(help="The client's CRM id.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Check the sums now.")] = False,
    csv_file: Csv = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what became of all work: rated, as what, and billed, queued, held or written off.

    Exit code 1 where a sum does not hold.
    """
    async with open_office(config) as office:
        checked = await office.reconciliation.check_conservation() if check else None
        balances = await office.reconciliation.balances(client_id=client, legal_entity=entity)
        breaks = await office.store.reconciliation.findings(comparison=CONSERVATION)
    if csv_file is not None:
        write_rows(csv_file, BALANCE_COLUMNS, map(_balance_cells, balances))
    if as_json:
        show_json(
            {"balances": balances, "checked": checked, "breaks": [_plain(each) for each in breaks]}
        )
    else:
        show_table("What became of the work", BALANCE_COLUMNS, map(_balance_cells, balances))
        if breaks:
            _show_findings("What does not hold", breaks)
    if breaks or any(each.difference for each in balances):
        raise typer.Exit(1)


BALANCE_COLUMNS: Final = (
    *("client", "entity", "currency", "entries", "rated", "fees", "re-opened", "to bill"),
    *("billed", "queued", "held", "written off", "difference"),
)


def _balance_cells(each: Balance) -> Sequence[object]:
    return (
        *(each.client_id, each.legal_entity, each.currency, each.entries),
        *(each.rated, each.fees, each.reopened, each.to_bill),
        *(each.billed, each.queued, each.held, each.written_off, each.difference),
    )


def _list_runs(found: Sequence[ReconciliationRun], *, as_json: bool) -> None:
    if as_json:
        show_json([{"name": each.name, **each.model_dump()} for each in found])
        return
    rows = (
        (
            each.name,
            each.legal_entity or "all (conservation)",
            each.period,
            each.state,
            f"{each.began_at:%Y-%m-%d %H:%M}",
            ", ".join(f"{count} {kind}" for kind, count in sorted(each.found.items())),
            ", ".join(sorted(each.failed)),
        )
        for each in found
    )
    show_table(
        "Runs", ("run", "entity", "period", "state", "began", "last to see", "not listed"), rows
    )


def _show_run(run: ReconciliationRun, findings: Sequence[Finding]) -> None:
    say(f"{run.name}  {run.legal_entity} {run.period}  {run.state}", style="bold")
    rows = ((each.connection, each.kind, each.rows, each.differences) for each in run.compared)
    show_table("Compared", ("system", "", "rows", "differences"), rows)
    for system, why in run.failed.items():
        say(f"not listed  {system}: {why}", style="red")
    _show_findings("Findings", findings)


def _show_findings(title: str, findings: Sequence[Finding]) -> None:
    rows = (
        (each.name, each.code, each.class_, each.system, _amount(each), _short(each))
        for each in findings
    )
    show_table(title, ("", "what", "class", "system", "amount", "explanation"), rows)


def _show_finding(each: Finding) -> None:
    say(f"{each.name}  {each.code}, {each.class_}", style="bold")
    say(each.explanation)
    say(f"remedy    {each.remedy}")
    if each.healed_as:
        say(f"mended    {each.healed_as}")
    if each.work_item:
        say(f"waits as  {each.work_item}")
    say(f"seen      {each.first_seen_at:%Y-%m-%d %H:%M} to {each.last_seen_at:%Y-%m-%d %H:%M}")
    if each.closed_at is not None:
        say(f"no more   since {each.closed_at:%Y-%m-%d %H:%M}")
    rows = (
        (
            row.system,
            row.type,
            row.id,
            row.state,
            "" if row.amount is None else f"{row.amount:f} {row.currency}",
            row.note,
        )
        for row in each.rows
    )
    show_table("The rows behind it", ("system", "", "id", "state", "amount", ""), rows)


def _amount(each: Finding) -> str:
    return "" if each.amount is None else f"{each.amount:f} {each.currency}"


def _short(each: Finding) -> str:
    return short(each.explanation, SHOWN)


def _plain(each: Finding) -> dict[str, object]:
    return {"name": each.name, **each.model_dump()}


def _cells(each: Finding) -> Sequence[object]:
    return (
        *(each.name, each.code, each.class_, each.system, each.record_type, each.record_id),
        *(each.amount, each.currency, each.client_id),
        *(each.project_id, each.period, each.first_seen_at.isoformat()),
        *(each.last_seen_at.isoformat(), each.closed_at.isoformat() if each.closed_at else ""),
        *(each.work_item, each.healed_as, each.explanation, each.remedy),
    )
