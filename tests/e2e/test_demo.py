"""`starter.py demo` as a user runs it: the whole story, told in full, and nothing left behind."""

import asyncio
import os
import re
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from embedded.stack import down
from tests.support.embedded_stack import free_base
from tests.support.leaks import leaks, personal_data, secrets_of

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DEMO_SECONDS = 240
"""It takes 20 s; a busy machine is no failure."""
DEAL = re.compile(r"^ +(\S.*?) {2,}(\S.*?) {2,}(completed|rolled_back|waiting|\w+) +(\d+) *$")
RECORDS = re.compile(r"^ +(\w+) {2,}(\w[\w ]*?) {2,}(\d+) +(\d+) +(\d+) *$")


async def run_demo(directory: Path) -> tuple[int | None, str, str]:
    """Run the command to its end; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "starter.py"),
        *("demo", "--dir", str(directory), "--port-base", str(free_base())),
        cwd=directory.parent,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEMO_SECONDS):
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await down(directory)


def of_folder(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or ())


async def test_the_whole_demo_ends_well_and_leaves_nothing_running(tmp_path: Path) -> None:
    directory = tmp_path / "demo"

    code, out, err = await run_demo(directory)

    assert code == 0, out + err
    assert "Traceback" not in out + err
    before, _, after = out.partition("Records that Dealthread made")
    deals = [found for line in before.splitlines() if (found := DEAL.match(line))]
    assert Counter(deal[3] for deal in deals) == {"completed": 7, "rolled_back": 1, "waiting": 2}
    rows = [found for line in after.splitlines() if (found := RECORDS.match(line))]
    assert {(row[1], row[2]) for row in rows} >= {("netsuite", "clients"), ("kantata", "projects")}
    assert [row[0] for row in rows if row[5] != "0"] == [], "written twice"
    assert "equal to the cent" in after
    assert re.search(r"^refused +frank prepared it", after, re.MULTILINE)
    assert re.search(r"^released +by fiona", after, re.MULTILINE)
    assert re.search(r"^paid +611,894 JPY: settled, cash", after, re.MULTILINE)
    assert re.search(r"^Kantata +\S+: accepted payment", after, re.MULTILINE)
    assert len(re.findall(r"^found +among \d+ records: ", after, re.MULTILINE)) == 1
    assert re.search(r"^found .* never_told: time/\d+ is approved in kantata", after, re.MULTILINE)
    assert re.search(r"^mended +told project \d+: to_bill \S+ JPY", after, re.MULTILINE)
    assert re.search(r"^run again +all agrees", after, re.MULTILINE)
    assert after.count("starter.py resolve WI-") == 2
    assert re.search(r"^Done in \d+ s: ", after, re.MULTILINE)
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if of_folder(p, directory)]
    assert left == []
    told = leaks(directory / "logs", await personal_data() | secrets_of(directory / "secrets"))
    assert told == [], "secrets or people in the logs"
