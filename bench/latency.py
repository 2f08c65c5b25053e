"""One deal alone at slow vendors, against the critical path of its vendor calls."""

import time
from collections import Counter
from collections.abc import Mapping
from statistics import median

from bench.bare_workflow import Shape
from bench.report import Result, plain
from bench.servers import Servers
from bench.sides import ENGINE, Side, running_side
from simulators.kit.calls import CallView

LATENCY_MS = 100
ALONE = (
    "plan_opportunity",
    "match_client",
    "provision_client",
    "write_back",
    "open_for_time",
    "confirm_in_crm",
)
DEALS = 6
"""Two of them have milestones: every third of the bulk deals."""


async def latency(servers: Servers) -> list[Result]:
    """Measure deals one by one, on the engine and bare."""
    results: list[Result] = []
    chains: list[int] = []
    for name in (ENGINE, Shape.STEP):
        walls: list[float] = []
        async with running_side(servers, name, f"slow{name}", DEALS) as side:
            await servers.control.set_latency(LATENCY_MS, account=side.account)
            for deal in side.take(DEALS):
                started = time.perf_counter()
                await side.run(deal)
                walls.append(time.perf_counter() - started)
                if name == ENGINE:
                    chains.append(longest_chain(await _calls_by_step(side, deal)))
        ratios = [
            wall * 1000 / (calls * LATENCY_MS) for wall, calls in zip(walls, chains, strict=True)
        ]
        text = f"{DEALS} deals one after another, vendors at {LATENCY_MS} ms, median"
        who = "engine" if name == ENGINE else "bare, one activity per step"
        results += [
            plain(f"one deal alone: {who}", median(walls), "s", text),
            plain(f"one deal alone, against its critical path: {who}", median(ratios), "×", text),
        ]
        print(f"  {name}: " + ", ".join(f"{wall:.2f} s" for wall in walls), flush=True)
    text = f"longest chain of vendor calls × {LATENCY_MS} ms, by the simulators' call log"
    path = median(chains) * LATENCY_MS / 1000
    return [*results, plain("critical path of one deal", path, "s", text)]


async def _calls_by_step(side: Side, deal: str) -> Mapping[str, int]:
    """Count a saga's vendor calls by step, from the correlation id of each."""
    prefix = f"{side.desk.workflow_id(deal)}/"
    steps: Counter[str] = Counter()
    for calls in (await side.calls()).values():
        steps.update(
            _step(call) for call in calls if (call["correlation_id"] or "").startswith(prefix)
        )
    return steps


def _step(call: CallView) -> str:
    """Return the step of `<workflow id>/<generation>:<step>[:<item>]`."""
    return (call["correlation_id"] or "").rpartition("/")[2].split(":")[1]


def longest_chain(calls: Mapping[str, int]) -> int:
    """Return how many calls follow one another at least, by the flow of OpportunityToProject.

    A step's own calls follow one another: a look, then a write. Steps of one name that differ by
    legal entity run side by side; the bulk deals have one entity.
    """
    parallel = [
        calls["provision_erp_project"],
        calls["provision_psa_client"]
        + calls["provision_psa_project"]
        + calls["provision_tasks"]
        + calls["provision_milestones"],
    ]
    links = [calls["link_psa_project"], calls["link_erp_project"]]
    return sum(calls[step] for step in ALONE) + max(parallel) + max(links)
