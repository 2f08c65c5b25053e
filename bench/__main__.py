"""`python -m bench [NAME…] [--quick] [--milestones N]`: measures, prints, writes results.json."""

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from bench.backfill import LIVE, LIVE_QUICK, QUEUED, QUEUED_QUICK, backfill
from bench.billing import QUICK, billing
from bench.gateway import gateway_bench
from bench.invoicing import BULK, BULK_QUICK, MILESTONES, MILESTONES_QUICK, invoicing
from bench.latency import latency
from bench.memory import memory
from bench.reconcile import ENTRIES, ENTRIES_QUICK, reconcile
from bench.report import Result, show, write
from bench.servers import Servers, running_servers
from bench.throughput import throughput
from bench.trace import trace_bench

RESULTS = Path(__file__).with_name("results.json")

Bench = Callable[[Servers], Awaitable[list[Result]]]


def benches(*, quick: bool, milestones: int = 0) -> dict[str, Bench]:
    """Return all benches by name; quick ones only show that they work."""
    rounds, sagas, many, parked = (1, 20, 40, 10) if quick else (5, 60, 2000, 500)
    return {
        "throughput": lambda servers: throughput(servers, rounds=rounds, sagas=sagas),
        "latency": latency,
        "gateway": lambda servers: (
            gateway_bench(servers, rates=(200,), seconds=2) if quick else gateway_bench(servers)
        ),
        "billing": lambda servers: billing(servers, sizes=QUICK if quick else None),
        "invoicing": lambda servers: invoicing(
            servers,
            milestones=milestones or (MILESTONES_QUICK if quick else MILESTONES),
            bulk_release=BULK_QUICK if quick else BULK,
        ),
        "trace": lambda servers: trace_bench(servers, quick=quick),
        "reconcile": lambda servers: reconcile(
            servers, entries=ENTRIES_QUICK if quick else ENTRIES
        ),
        "backfill": lambda servers: backfill(
            servers,
            queued=QUEUED_QUICK if quick else QUEUED,
            live=LIVE_QUICK if quick else LIVE,
        ),
        "memory": lambda servers: memory(servers, sagas=many, parked=parked),
    }


async def run(names: list[str], *, quick: bool, milestones: int = 0) -> list[Result]:
    """Run benches one after another, each on servers of its own."""
    found: list[Result] = []
    for name, bench in benches(quick=quick, milestones=milestones).items():
        if name in names or not names:
            print(f"{name} …", flush=True)
            async with running_servers() as servers:
                found += await bench(servers)
    return found


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = list(benches(quick=True))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all")
    parser.add_argument("--quick", action="store_true", help="few sagas; writes no results")
    parser.add_argument("--milestones", type=int, default=0, metavar="N", help="of invoicing")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}: choose from {', '.join(known)}")
    # Planning the bare side's deals calls vendors from here; that is no news.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    results = asyncio.run(run(options.names, quick=options.quick, milestones=options.milestones))
    show(results)
    if not options.quick:
        write(results, RESULTS)


if __name__ == "__main__":
    main()
