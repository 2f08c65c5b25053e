"""Sagas per second and processor time per saga, beside the bare workflow, in interleaved rounds."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from temporalio.api.enums.v1 import EventType

from bench.bare_workflow import Shape
from bench.report import Result, at_least, at_most, plain
from bench.servers import Servers
from bench.sides import ENGINE, SIDES, Side, in_flight, running_side
from bench.usage import measured

IN_FLIGHT = 50
RATIO_GOAL = 0.85
EVENTS_PER_ACTIVITY = 6
EVENTS_BESIDE = 15
HISTORIES = 10
SYSTEM = ("worker", "temporal", "postgres")
"""Whose processor time a saga costs; the simulators stand for somebody else's computers."""


@dataclass(frozen=True)
class Round:
    """What one side did in one round."""

    per_second: float
    cpu: Mapping[str, float]
    """Milliseconds per saga, by process."""
    worker_peak: float
    calls: Counter[tuple[str, str]]
    events: tuple[tuple[int, int], ...]
    """Of some sagas: events and activities of the history."""


async def throughput(servers: Servers, *, rounds: int, sagas: int) -> list[Result]:
    """Run both sides in turn and compare medians."""
    found: dict[str, list[Round]] = {side: [] for side in SIDES}
    for number in range(rounds):
        # Each round begins with another side, so that none always runs first.
        for place in range(len(SIDES)):
            side = SIDES[(number + place) % len(SIDES)]
            made = await one_round(servers, side, f"r{number}{side}", sagas)
            found[side].append(made)
            print(_line(number, side, made), flush=True)
    same = {tuple(sorted(made.calls.items())) for made_all in found.values() for made in made_all}
    if len(same) != 1:
        raise AssertionError(f"the sides did not make the same vendor calls: {same}")
    return _results(
        found,
        f"{sagas} sagas a round, {IN_FLIGHT} in flight, simulators at 0 ms, "
        f"median of {rounds} interleaved rounds",
    )


async def one_round(servers: Servers, name: str, account: str, sagas: int) -> Round:
    """Run one side over fresh deals."""
    async with running_side(servers, name, account, sagas) as side:
        before = await side.shape()
        deals = side.take(sagas)
        async with measured(servers.children) as usage:
            started = time.perf_counter()
            await in_flight(side.run, deals, IN_FLIGHT)
            seconds = time.perf_counter() - started
        return Round(
            per_second=sagas / seconds,
            cpu={process: 1000 * spent / sagas for process, spent in usage.cpu.items()},
            worker_peak=usage.memory_peak["worker"],
            calls=await side.shape() - before,
            events=await _events(side, deals[:HISTORIES]) if name == ENGINE else (),
        )


async def _events(side: Side, deals: list[str]) -> tuple[tuple[int, int], ...]:
    """Return events and activities of some sagas, from Temporal's own history."""
    found = []
    for deal in deals:
        handle = side.servers.client.get_workflow_handle(side.desk.workflow_id(deal))
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        activities = kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        found.append((len(kinds), activities))
    return tuple(found)


def _results(found: Mapping[str, list[Round]], conditions: str) -> list[Result]:
    results = []
    for side, rounds in found.items():
        who = side if side == ENGINE else f"bare, one activity per {side}"
        each = [round_.per_second for round_ in rounds]
        results.append(plain(f"throughput: {who}", median(each), "sagas/s", conditions))
        for process in (*SYSTEM, "simulators"):
            spent = median(round_.cpu[process] for round_ in rounds)
            results.append(plain(f"CPU of {process}: {who}", spent, "ms/saga", conditions))
    for shape in Shape:
        against = f"engine beside bare, one activity per {shape}"
        speed = _middle(found[ENGINE], "speed") / _middle(found[shape], "speed")
        cpu = _middle(found[shape], "cpu") / _middle(found[ENGINE], "cpu")
        worker = _middle(found[shape], "worker") / _middle(found[ENGINE], "worker")
        results += [
            at_least(RATIO_GOAL, f"throughput ratio: {against}", speed, "ratio", conditions),
            at_least(RATIO_GOAL, f"CPU ratio (bare/engine): {against}", cpu, "ratio", conditions),
            plain(f"worker CPU ratio (bare/engine): {against}", worker, "ratio", conditions),
        ]
    calls = sum(found[ENGINE][0].calls.values())
    results.append(plain("vendor calls of a round, all sides alike", calls, "calls", conditions))
    return results + _event_results(found[ENGINE], conditions)


def _middle(rounds: list[Round], what: str) -> float:
    """Return a side's median: `speed`, `cpu` of all that a saga costs, or `worker` alone."""
    if what == "speed":
        return median(round_.per_second for round_ in rounds)
    processes = SYSTEM if what == "cpu" else ("worker",)
    return median(sum(round_.cpu[process] for process in processes) for round_ in rounds)


def _event_results(rounds: list[Round], conditions: str) -> list[Result]:
    pairs = [pair for round_ in rounds for pair in round_.events]
    events, activities = max(pairs, key=lambda pair: pair[0])
    allowed = min(EVENTS_PER_ACTIVITY * count + EVENTS_BESIDE - made for made, count in pairs)
    if allowed < 0:
        raise AssertionError(f"{-allowed} history events too many: (events, activities) = {pairs}")
    limit = EVENTS_PER_ACTIVITY * activities + EVENTS_BESIDE
    text = f"a saga of {activities} activities, the longest seen; {conditions}"
    return [at_most(limit, "history events", events, "events", text)]


def _line(number: int, side: str, made: Round) -> str:
    spent = ", ".join(f"{process} {ms:.0f}" for process, ms in made.cpu.items())
    return (
        f"  round {number + 1} {side:<6} {made.per_second:6.2f} sagas/s; ms/saga: {spent}; "
        f"worker peak {made.worker_peak:.0f} MB"
    )
