"""The commands `kpi` and `close`: key figures, and what keeps a period from being closed."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Final

import typer

from canonical.kpis import (
    LASTS,
    CloseLine,
    CloseReport,
    KpiBy,
    KpiQuery,
    KpiReport,
    KpiRow,
    KpiUnit,
)
from canonical.money import Money
from operations.cli.csv_files import Csv, write_rows
from operations.cli.days import day_of
from operations.cli.options import Config, Json
from operations.cli.output import command, say, show_json, show_table
from operations.composition import open_office

SIGNS: Final = {
    KpiUnit.HOURS_WORKED: " h",
    KpiUnit.HOURS: " h",
    KpiUnit.DAYS: " d",
    KpiUnit.DAYS_OF_SALES: " d",
    KpiUnit.SECONDS: " s",
    KpiUnit.PERCENT: " %",
}
KPI_COLUMNS: Final = (
    *("name", "by", "group", "currency", "value", "unit", "high", "count", "since", "until"),
)
AGED_COLUMNS: Final = (
    *("what", "lead", "client", "", "0-30", "31-60", "61-90", "90+", "amount", "of"),
)
OTHER_COLUMNS: Final = ("what", "lead", "client", "hours", "", "amount", "of")
CLOSE_COLUMNS: Final = (
    *("entity", "period", "as_of", "what", "blocks", "lead", "client", "currency", "count"),
    *("hours", "amount", "days_0_30", "days_31_60", "days_61_90", "days_over_90"),
)


@command
async def kpi(
    name: Annotated[str, typer.Argument(help="Which figure; none: all of them.")] = "",
    by: Annotated[KpiBy, typer.Option(help="What it is told apart by.")] = KpiBy.ALL,
    since: Annotated[str, typer.Option("--from", help="The first day, in UTC.")] = "",
    until: Annotated[str, typer.Option("--to", help="The last day, in UTC.")] = "",
    csv_file: Csv = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show the key figures, or one of them told apart by entity, region, client, week or flow.

    What each means is in docs/kpis.md. Without days, a figure that tells how things stand counts
    all of it, and one of what happened the last 90 days.
    """
    query = KpiQuery(
        by=by,
        since=day_of(since, "--from") if since else None,
        until=day_of(until, "--to") if until else None,
    )
    async with open_office(config) as office:
        desk = office.kpis
        reports = [await desk.report(name, query)] if name else await desk.all(query)
    if csv_file is not None:
        write_rows(
            csv_file, KPI_COLUMNS, (_csv(each, row) for each in reports for row in each.rows)
        )
    if as_json:
        show_json(reports)
    elif name:
        _show_one(reports[0])
    else:
        _show_all(reports, by)


@command
async def close(
    entity: Annotated[str, typer.Argument(help="Code of the legal entity.")],
    period: Annotated[str, typer.Argument(help="The billing period: 2026-11.")],
    csv_file: Csv = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what keeps a legal entity's period from being closed, with amounts and ages.

    Exit code 1 where something does.
    """
    async with open_office(config) as office:
        report = await office.kpis.close(entity, period)
    if csv_file is not None:
        write_rows(csv_file, CLOSE_COLUMNS, (_close_csv(report, line) for line in report.lines))
    if as_json:
        show_json(report)
    else:
        _show_close(report)
    if report.blocked:
        raise typer.Exit(1)


def _show_all(reports: Sequence[KpiReport], by: KpiBy) -> None:
    rows = []
    for each in reports:
        for row in each.rows or (None,):
            figure = ("", "nothing", "") if row is None else _figure(each.unit, row)
            group = () if by is KpiBy.ALL else ("" if row is None else row.group or "(none)",)
            rows.append((each.name, *group, *figure))
    group_column = () if by is KpiBy.ALL else (by.value,)
    show_table("Key figures", ("figure", *group_column, "", "value", "of"), rows)
    say("90th percentiles in brackets; what each means: docs/kpis.md")


def _show_one(report: KpiReport) -> None:
    since = "" if report.since is None else f"from {report.since:%Y-%m-%d} "
    say(f"{report.title}, {since}to {report.until:%Y-%m-%d}", style="bold")
    say(report.meaning)
    told_apart = report.by is not KpiBy.ALL
    columns = (*((report.by.value,) if told_apart else ()), "", "value", "of")
    rows = (
        (*((row.group or "(none)",) if told_apart else ()), *_figure(report.unit, row))
        for row in report.rows
    )
    show_table(report.name, columns, rows)


def _figure(unit: KpiUnit, row: KpiRow) -> tuple[str, str, int]:
    if row.value is None:
        return row.currency, "–", row.count
    if unit is KpiUnit.MONEY:
        return row.currency, _money(row.value, row.currency), row.count
    high = f" ({row.high:,f})" if unit in LASTS and row.high is not None else ""
    return row.currency, f"{row.value:,f}{SIGNS.get(unit, '')}{high}", row.count


def _money(amount: Decimal, currency: str) -> str:
    if not currency:
        return "–"  # findings of no amount
    return str(Money.rounded(amount, currency)).removesuffix(f" {currency}")


def _show_close(report: CloseReport) -> None:
    title = f"{report.legal_entity} {report.period}"
    aged = [line for line in report.lines if line.ages is not None]
    others = [line for line in report.lines if line.ages is None]
    if aged:
        show_table(f"{title}: not billed yet", AGED_COLUMNS, map(_aged, aged))
    if others:
        show_table(f"{title}: what else waits", OTHER_COLUMNS, map(_other, others))
    blocking = [line for line in report.lines if line.blocks]
    for what, currency, amount in _totals(blocking):
        say(f"{what}: {_money(amount, currency)} {currency}")
    if blocking:
        say(f"{title} can't be closed, as of {report.as_of}.", style="bold")
    else:
        say(f"{title} can be closed: nothing blocks it, as of {report.as_of}.", style="bold")


def _totals(lines: Iterable[CloseLine]) -> list[tuple[str, str, Decimal]]:
    totals: dict[tuple[str, str], Decimal] = {}
    for line in lines:
        if line.amount is not None and line.currency:
            key = (line.what.value, line.currency)
            totals[key] = totals.get(key, Decimal(0)) + line.amount
    return [(what, currency, amount) for (what, currency), amount in totals.items()]


def _aged(line: CloseLine) -> Sequence[object]:
    ages = [_money(each, line.currency) for each in line.ages or ()]
    amount = _money(line.amount or Decimal(0), line.currency)
    return (line.what, line.lead, line.client_id, line.currency, *ages, amount, line.count)


def _other(line: CloseLine) -> Sequence[object]:
    amount = "" if line.amount is None else _money(line.amount, line.currency)
    return (
        *(line.what, line.lead, line.client_id, _hours(line) or ""),
        *(line.currency, amount, line.count),
    )


def _hours(line: CloseLine) -> Decimal:
    return (Decimal(line.minutes) / 60).quantize(Decimal("0.01"))


def _csv(report: KpiReport, row: KpiRow) -> Sequence[object]:
    since = "" if report.since is None else report.since.isoformat()
    return (
        *(report.name, report.by.value, row.group, row.currency),
        *(row.value, report.unit.value, row.high, row.count, since, report.until.isoformat()),
    )


def _close_csv(report: CloseReport, line: CloseLine) -> Sequence[object]:
    return (
        *(report.legal_entity, report.period, report.as_of, line.what.value, line.blocks),
        *(line.lead, line.client_id, line.currency, line.count, _hours(line), line.amount),
        *(line.ages or ("", "", "", "")),
    )
