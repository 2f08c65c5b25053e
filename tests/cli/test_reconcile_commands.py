"""Reconciliation on the command line: compare now, look, and ask whether the sums hold."""

from pathlib import Path

from tests.cli.conftest import Cli

MONTH = "2026-11"


def test_a_month_is_compared_and_its_run_is_shown(desk: Cli, tmp_path: Path) -> None:
    path = tmp_path / "findings.csv"
    ran = desk.run("reconcile", "run", "US", MONTH, "--csv", str(path), "--json")
    assert ran.code == 0, ran
    assert isinstance(ran.data, dict)
    run, ended = ran.data["run"], ran.data["ended"]
    assert isinstance(run, dict)
    assert isinstance(ended, dict)
    assert (run["state"], run["failed"]) == ("ended", {})
    assert path.read_text().startswith("finding,code,class,system")
    shown = desk.run("reconcile", "show", f"R{run['id']}")
    assert shown.code == 0
    assert "kantata" in shown.out
    assert f"R{run['id']}" in desk.run("reconcile", "list", "--runs").out
    assert desk.run("reconcile", "list").code == 0


def test_the_sums_hold(desk: Cli) -> None:
    ran = desk.run("reconcile", "conservation", "--check", "--json")
    assert ran.code == 0, ran
    assert isinstance(ran.data, dict)
    assert ran.data["breaks"] == []


def test_mistakes_are_one_sentence(desk: Cli) -> None:
    assert "2026-11" in desk.refused("reconcile", "run", "US", "november")
    assert "XX" in desk.refused("reconcile", "run", "XX", MONTH)
    assert "takes no part" in desk.refused(
        "reconcile", "run", "US", MONTH, "--connection", "nobody"
    )
    assert "R12" in desk.refused("reconcile", "show", "nonsense")
    assert "F999999" in desk.refused("reconcile", "show", "F999999")
