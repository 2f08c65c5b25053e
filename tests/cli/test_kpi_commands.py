"""The commands `kpi` and `close`: tables, JSON, CSV, exit codes; and on a running stack."""

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from operations.cli import kpis
from operations.kpis import KpiDesk
from store import make_store
from store.kpi_table import KPIS
from tests.cli.conftest import Cli
from tests.store.kpi_month import NOW, small_month


@pytest_asyncio.fixture
async def month(database_url: SecretStr) -> SecretStr:
    """The address of a database with the small month."""
    store = make_store(database_url, 2)
    await small_month(store)
    await store.aclose()
    return database_url


@pytest.fixture
def finance(month: SecretStr, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands on the small month, on the day after it."""

    @asynccontextmanager
    async def office(_config: str | None) -> AsyncIterator[SimpleNamespace]:
        store = make_store(month, 2)
        regions = {"US": "US", "DE": "DE", "JP": "JP"}
        yield SimpleNamespace(kpis=KpiDesk(store, lambda: regions, lambda: NOW))
        await store.aclose()

    monkeypatch.setattr(kpis, "open_office", office)
    return cli


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figures_are_shown_as_table_json_and_csv(finance: Cli, tmp_path: Path) -> None:
    every = finance.run("kpi").out
    assert all(name in every for name in KPIS)
    assert "15.00 h (22.20)" in every
    one = finance.run("kpi", "unbilled_approved_time", "--by", "client").out
    assert "on no invoice yet" in one
    assert [word for word in ("C1", "580.00", "C2", "100.10") if word not in one] == []
    reports: Any = finance.run("kpi", "disputes", "--json").data
    assert [row for report in reports for row in report["rows"]] == [
        {"group": "", "currency": "USD", "value": "200.00", "high": None, "count": 1}
    ]
    file = tmp_path / "figures.csv"
    assert finance.run("kpi", "--by", "entity", "--csv", str(file)).code == 0
    (dso,) = (row for row in rows_of(file) if (row["name"], row["group"]) == ("dso", "US"))
    assert (dso["value"], dso["unit"], dso["currency"]) == ("74.38", "days of sales", "USD")


def test_close_tells_by_its_exit_code_whether_something_blocks(
    finance: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "close.csv"
    closed = finance.run("close", "US", "2026-11", "--csv", str(file))
    assert closed.code == 1
    assert "US 2026-11 can't be closed, as of 2026-11-30." in closed.out
    assert "unbilled: 1,120.00 USD" in closed.out
    assert "deferred:" not in closed.out  # it is in the table, and blocks nothing
    (held,) = (row for row in rows_of(file) if row["what"] == "held")
    assert (held["amount"], held["days_0_30"]) == ("120.00", "120.00")
    assert held["lead"] == "lea@example.com"
    (unpriced,) = (row for row in rows_of(file) if row["what"] == "unpriced")
    assert (unpriced["hours"], unpriced["amount"], unpriced["blocks"]) == ("1.50", "", "True")
    shown: Any = finance.run("close", "DE", "2026-11", "--json").data
    assert shown["blocked"]
    free = finance.run("close", "JP", "2026-11")
    assert free.code == 0
    assert free.out == "JP 2026-11 can be closed: nothing blocks it, as of 2026-11-30.\n"
    nothing: Any = finance.run("close", "JP", "2026-11", "--json").data
    assert (nothing["blocked"], nothing["lines"]) == (False, [])


def test_mistakes_are_one_sentence(finance: Cli, tmp_path: Path) -> None:
    for words, said in (
        (("kpi", "forecast_variance"), "There is no key figure"),
        (("kpi", "dso", "--by", "week"), "not told apart by week"),
        (("kpi", "dso", "--from", "2026-11-01"), "is of no days"),
        (("kpi", "--from", "1 November"), "is no day"),
        (("kpi", "--from", "2026-11-30", "--to", "2026-11-01"), "after the last one"),
        (("kpi", "--csv", str(tmp_path / "no" / "file.csv")), "can't be written"),
        (("close", "XX", "2026-11"), "There is no legal entity"),
        (("close", "US", "November"), "is no billing period"),
    ):
        assert said in finance.refused(*words), words
    assert finance.run("kpi", "dso", "--by", "person").code == 2
    for name in ("kpi", "close"):
        assert "Example: starter.py" in finance.run(name, "--help").out


@pytest.mark.e2e
def test_they_work_on_a_running_stack(desk: Cli) -> None:
    reports: Any = desk.run("kpi", "--by", "region", "--json").data
    assert [each["name"] for each in reports] == list(KPIS)
    assert desk.run("close", "US", "2026-11").code in {0, 1}
