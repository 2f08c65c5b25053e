"""The bench runs from end to end, and its own arithmetic holds."""

import asyncio
import sys
from collections import Counter

import pytest

from bench.latency import longest_chain
from bench.report import at_least, at_most
from embedded.processes import ROOT


def test_critical_path_takes_the_longer_of_parallel_branches() -> None:
    calls = Counter(
        plan_opportunity=1,
        match_client=1,
        provision_client=2,
        provision_erp_project=9,
        provision_psa_client=2,
        provision_psa_project=3,
        provision_tasks=2,
        provision_milestones=1,
        link_psa_project=2,
        link_erp_project=1,
        write_back=2,
        open_for_time=2,
        confirm_in_crm=2,
    )
    assert longest_chain(calls) == 1 + 1 + 2 + 9 + 2 + 2 + 2 + 2


def test_goals_are_judged_on_the_right_side() -> None:
    assert at_least(0.85, "a", 0.86, "", "").met
    assert not at_least(0.85, "a", 0.84, "", "").met
    assert at_most(300, "a", 299, "", "").met
    assert not at_most(300, "a", 301, "", "").met


@pytest.mark.soak
async def test_every_bench_runs() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        "--quick",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    for part in (
        *("throughput ratio", "history events", "one deal alone", "worker memory"),
        "trace: from a client",
        "reconciliation of 20000 entries: worker memory",
        "backfill with 20 in flight: deals a second",
    ):
        assert part in text
