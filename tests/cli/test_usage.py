"""Help, exit codes and sentences for mistakes that need no running stack."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer
from typer.testing import CliRunner

from embedded.stack import down
from policies.bundle import DEFAULT_BUNDLE
from starter import app
from tests.cli.conftest import Cli
from tests.support.embedded_stack import free_base

ROOT = Path(__file__).parents[2]


def commands(
    command: object = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Return every command with the words that call it."""
    command = command or typer.main.get_command(app)
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, each in below.items():
        yield from commands(each, (*path, name))


ALL = dict(commands())


def test_the_list_of_commands_is_whole() -> None:
    assert {" ".join(path) for path in ALL} == {
        *("up", "down", "demo", "status", "stuck", "resolve", "approve", "cancel", "sweep"),
        *("trace", "migrate", "start opportunity", "connections check", "policies check"),
        *("events list", "events show", "events replay"),
        *("approve-time", "why", "engagement import", "engagement show"),
        *("billing status", "billing hold", "billing unhold", "billing run"),
        *("start milestone", "po import", "po list"),
        *("schedule record", "schedule show", "schedule run"),
        *("milestone status", "milestone list", "milestone hold", "milestone unhold"),
        "milestone withdraw",
        *("reconcile run", "reconcile list", "reconcile show", "reconcile conservation"),
        *("queue list", "queue show", "queue pdf", "queue assemble", "queue review"),
        *("work list", "work show", "work take", "work assign", "work comment"),
        *("work acknowledge", "work retry", "work clusters"),
        *("alerts list", "alerts test", "alerts silence"),
        *("backfill opportunities", "backfill time", "backfill milestones", "backfill list"),
        *("backfill show", "backfill attach", "backfill pause", "backfill resume"),
        *("backfill rate", "backfill cancel", "backfill report"),
        *("queue release", "queue reject", "queue adjust", "queue split", "queue merge"),
        *("invoice list", "invoice show", "invoice pdf", "invoice evidence", "invoice verify"),
        *("invoice credit", "invoice approve-credit", "invoice refuse-credit"),
        *("invoice dispute", "invoice undispute", "invoice explain", "invoice void"),
        *("invoice transmitted", "invoice delivery-rejected", "invoice accept-tax"),
        *("kpi", "close"),
    }


def test_the_command_line_has_help(cli: Cli) -> None:
    ran = cli.run("--help")
    assert ran.code == 0
    assert all(f" {path[0]} " in ran.out for path in ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(path: tuple[str, ...]) -> None:
    ran = CliRunner().invoke(app, [*path, "--help"])
    assert ran.exit_code == 0
    assert f"Example: starter.py {' '.join(path)}" in ran.output
    assert "--json" in ran.output


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("nonsense",),
        ("status",),
        ("start", "opportunity"),
        ("resolve", "WI-1", "explode", "--as", "ada"),
        ("resolve", "WI-1", "retry"),
        ("approve", "D-1"),
        ("stuck", "--nonsense"),
        ("up", "--port-base", "many"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli.run(*words).code == 2


def test_without_a_configuration_the_sentence_says_how_to_get_one(cli: Cli) -> None:
    for words in (("stuck",), ("connections", "check"), ("migrate",), ("trace", "006")):
        assert "There is no configuration: name a file with --config" in cli.refused(*words)
    assert "nowhere.toml: there is no such file; --config" in cli.refused(
        "stuck", "--config", "nowhere.toml"
    )


def test_a_broken_configuration_is_said_key_by_key(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "dealthread.toml"
    broken.write_text('[temporal]\naddress = "no port"\n[store]\nurl = "postgresql://x"\n')
    said = cli.refused("stuck")
    assert "store.url: a secret has no place in this file" in said
    broken.write_text("[temporal\n")
    assert "this is not TOML" in cli.refused("stuck")
    broken.write_text(
        '[connections.crm]\nvendor = "siebel"\nrole = "crm"\nbase_url = "https://x"\n'
    )
    assert "connections.crm.vendor: it must be 'salesforce'" in cli.refused("connections", "check")


def test_all_problems_of_a_bundle_are_said(cli: Cli, tmp_path: Path) -> None:
    ran = cli.run("policies", "check")
    assert ran.code == 0
    assert "The bundle is valid" in ran.out
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    (folder / "tax.yaml").unlink()
    (folder / "routing.yaml").write_text("psa: [1\n")
    said = cli.refused("policies", "check", str(folder))
    assert "tax.yaml:1: tax: there is no such file" in said
    assert "routing.yaml:" in said
    assert "The bundle can't be used: 2 problems." in said
    ran = cli.run("policies", "check", str(folder), "--json")
    assert ran.code == 1
    assert isinstance(ran.data, dict)
    assert ran.data["valid"] is False
    assert ran.data["problems"]


def test_the_configured_bundle_is_the_one_that_is_checked(cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "dealthread.toml"
    config.write_text('[store]\n[policies]\nbundle = "mine"\n')
    env = {"DEALTHREAD_STORE__URL": "postgresql://u:p@127.0.0.1:1/d"}
    assert "mine/tax.yaml:1" in cli.refused("policies", "check", env=env)


def test_nothing_runs_here(cli: Cli) -> None:
    assert cli.refused("down") == "Nothing runs in .dealthread.\n"
    ran = cli.run("down", "--json")
    assert (ran.code, ran.data) == (1, {"stopped": False})
    assert "--port-base 80 leaves no room" in cli.refused("up", "--port-base", "80")


def test_the_demo_empties_no_folder_of_others(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years")
    assert "is not empty and no folder of the demo" in cli.refused("demo", "--dir", str(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "ten years"


def test_a_real_process_ends_with_the_code(tmp_path: Path) -> None:
    cases = ((["--help"], 0), (["stuck"], 1), (["stuck", "--nonsense"], 2))
    ran = [started(words, cwd=tmp_path, env={"PATH": os.environ["PATH"]}) for words, _ in cases]
    for process, (_, code) in zip(ran, cases, strict=True):
        _, said = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert "Traceback" not in said


@pytest.mark.e2e
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    # At the very start the supervisor has not yet said who it is; later its children run.
    cases = {signal.SIGINT: "logs", signal.SIGTERM: "logs/temporal.log"}
    demos = {}
    for number in cases:
        folder = tmp_path / number.name
        words = ["demo", "--dir", str(folder), "--port-base", str(free_base())]
        demos[number] = started(words)
    try:
        for number, awaited in cases.items():
            process, file = demos[number], tmp_path / number.name / awaited
            while not file.exists() and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(number)
        for number, process in demos.items():
            _, said = process.communicate(timeout=60)
            assert process.returncode == 130, (number, said)
            assert "Interrupted." in said
        left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if ours(p, tmp_path)]
        assert left == []
    finally:
        for number, process in demos.items():
            process.kill()
            process.wait()
            asyncio.run(down(tmp_path / number.name))


def started(words: list[str], **more: Any) -> subprocess.Popen[str]:
    """Start the real command; Ctrl-C reaches it even where the tests run in the background.

    A shell makes its background jobs ignore SIGINT, and what they start inherits that.
    """
    command = [sys.executable, str(ROOT / "starter.py"), *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
        **more,
    )


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ours(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or ())
