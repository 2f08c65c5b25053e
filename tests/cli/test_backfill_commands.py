"""The commands on backfills over a running stack: plan, run, steer, report, and every refusal."""

import asyncio
import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedded.processes import ROOT
from embedded.stack import StackInfo
from tests.cli.conftest import Cli

pytestmark = [pytest.mark.e2e]

WINDOW = ("--from", "2026-10-20", "--to", "2026-10-20")
ONE = "Name LIKE 'Northwind Robotics – ERP%'"
OTHERS = "Name LIKE 'Rowan%' OR Name LIKE 'Verdant%' OR Name LIKE 'Baltic%'"
"""Deals that no other test of this stack has to be the first to start."""
THREE = "Legal_Entity__c = 'DE' AND Payment_Terms__c = 'NET30'"


def test_a_dry_run_names_totals_and_writes_nothing(desk: Cli) -> None:
    told = desk.run("backfill", "opportunities", *WINDOW, "--where", ONE, "--dry-run")
    assert told.code == 0, told.err
    assert "would start" in told.out or "are done" in told.out
    assert "180,000.00 USD" in told.out
    assert "Nothing was written." in told.out
    data: Any = desk.run(
        "backfill", "opportunities", *WINDOW, "--where", ONE, "--dry-run", "--json"
    ).data
    assert data["dry_run"] is True
    assert len(data["records"]) == 1


def test_a_backfill_runs_and_reports(desk: Cli, tmp_path: Path) -> None:
    ran = desk.run("backfill", "opportunities", *WINDOW, "--where", THREE, "--name", "cli-run")
    report: Any = desk.run("backfill", "report", "opportunities/cli-run", "--json").data
    states = {each["state"] for each in report["records"]}
    unwell = states & {"parked", "rejected"}
    assert ran.code == (1 if unwell else 0), ran.err
    assert "opportunities/cli-run: finished" in ran.out
    assert len(report["records"]) >= 2
    file = tmp_path / "out.csv"
    assert desk.run("backfill", "report", "opportunities/cli-run", "--csv", str(file)).code == 0
    with file.open(encoding="utf-8", newline="") as read:
        rows = list(csv.DictReader(read))
    assert [row["record"] for row in rows] == [each["record"] for each in report["records"]]
    assert {row["state"] for row in rows} == states
    again: Any = desk.run("backfill", "opportunities", *WINDOW, "--where", THREE, "--json").data
    counted = {each["state"] for each in again["view"]["standing"]["amounts"]}
    assert counted <= {"already_done", "parked"}
    listed: Any = desk.run("backfill", "list", "--json").data
    assert "backfill/opportunities/cli-run" in {each["view"]["id"] for each in listed}
    assert desk.run("backfill", "show", "opportunities/cli-run").code == 0
    assert desk.run("backfill", "attach", "opportunities/cli-run").code == ran.code
    assert "runs no more" in desk.refused("backfill", "pause", "opportunities/cli-run")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("opportunities", "--from", "2026-10-21", "--to", "2026-10-20"), "ends before"),
        (("opportunities", "--from", "soon", "--to", "2026-10-20"), "no day"),
        (("opportunities", *WINDOW, "--where", "Name = 'a') OR (1=1"), "at character 11"),
        (
            ("opportunities", *WINDOW, "--where", "Nothing__c = 1", "--dry-run"),
            "No such column 'Nothing__c'",
        ),
        (("opportunities", *WINDOW, "--rate", "0"), "rate"),
        (("opportunities", *WINDOW, "--rate", "fast"), "no number"),
        (("opportunities", *WINDOW, "--max-in-flight", "0"), "in_flight_max"),
        (("opportunities", *WINDOW, "--name", "Über"), "no name"),
        (("time", *WINDOW, "--where", "task=1", "--dry-run"), "project=ID"),
        (("show", "opportunities/none"), "no backfill"),
        (("pause", "1"), "no backfill"),
        (("milestones", *WINDOW, "--psa", "sap", "--dry-run"), "no PSA connection"),
    ],
)
def test_mistakes_are_told_in_a_sentence(desk: Cli, words: tuple[str, ...], said: str) -> None:
    assert said in desk.refused("backfill", *words)


async def test_ctrl_c_detaches_and_the_backfill_goes_on(stack: StackInfo, desk: Cli) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "starter.py"), "backfill", "opportunities", *WINDOW),
        *("--where", OTHERS, "--name", "detached", "--rate", "0.01", "--config", str(stack.config)),
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )

    def show() -> Any:
        return subprocess.run(
            [
                *(sys.executable, str(ROOT / "starter.py"), "backfill", "show"),
                *("opportunities/detached", "--json", "--config", str(stack.config)),
            ],
            capture_output=True,
            check=False,
        )

    try:
        async with asyncio.timeout(240):
            while b'"applying"' not in (await asyncio.to_thread(show)).stdout:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = await process.communicate()
        assert process.returncode == 130, said
        assert b"goes on" in said
        assert b"backfill attach opportunities/detached" in said
        assert b'"applying"' in (await asyncio.to_thread(show)).stdout
    finally:  # nothing is left that starts deals under the tests that follow
        if process.returncode is None:
            process.kill()
        stopped = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "starter.py"), "backfill", "cancel"),
            *("opportunities/detached", "--config", str(stack.config)),
        )
        assert await stopped.wait() == 0
