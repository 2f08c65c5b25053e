"""Billing approved entries, end to end: entries per second and what each costs, beside a script."""

import asyncio
import sys
from collections.abc import Sequence

from bench.bare_billing import BareFound, BarePlan, BareProject
from bench.billing_projects import Project, seeded
from bench.billing_round import THOUSAND, Billing, Round, contract, running_billing
from bench.report import Result, at_most, plain
from bench.servers import Servers
from bench.throughput import SYSTEM
from canonical.entries import EntryRef
from embedded import simulators
from embedded.processes import surroundings

SIZES = {2: 5, 20: 2, 200: 1}
"""How many projects are billed at once, and in how many rounds; the middle one beside the script.

Twenty projects in a row have every contract shape in every currency once.
"""
QUICK = {2: 1, 3: 1, 4: 1}
WARM = 4
BARE_WARM = 2
MEMORY_MB = 400
EVENTS_MAX = 200
FLAT = 1.2
"""Highest cost of an entry by the lowest, over the sizes."""
BARE = "barescript"


async def billing(servers: Servers, *, sizes: dict[int, int] | None = None) -> list[Result]:
    """Bill at each size; the rounds of the middle size are billed by the bare script too."""
    sizes = sizes or SIZES
    middle = sorted(sizes)[1]
    count = sum(size * rounds for size, rounds in sizes.items())
    projects = [Project(number) for number in range(count + WARM)]
    first_of_large = sum(size * rounds for size, rounds in sizes.items() if size <= middle)
    entries = await seeded(servers, BARE, first_of_large)
    rounds = {size: Round() for size in sizes}
    scripts: list[BareFound] = []
    async with running_billing(servers, "billing", count + WARM) as side:
        await side.round(projects[count:], "warm")
        place = 0
        for size, times in sizes.items():
            for number in range(times):
                own = projects[place : place + size]
                place += size
                made = await side.round(own, f"{size}-{number}")
                rounds[size].add(made)
                print(_line(size, made), flush=True)
                if size == middle:
                    warm = projects[number * BARE_WARM :][:BARE_WARM]
                    scripts.append(await _bare(side, own, warm, entries, made))
        held = await side.assert_conserved(projects)
    return _results(rounds, scripts, middle, held)


async def _bare(
    side: Billing,
    projects: Sequence[Project],
    warm: Sequence[Project],
    entries: dict[str, list[EntryRef]],
    made: Round,
) -> BareFound:
    """Bill the same projects of another account by the script.

    Raises:
        AssertionError: it billed something else, or by other vendor calls.
    """
    servers = side.servers

    def bare(each: Project, cap: str) -> BareProject:
        among = warm if each in warm else projects
        return BareProject(
            engagement=contract(side.bundle, among, each, cap), entries=tuple(entries[each.id])
        )

    plan = BarePlan(
        config=await servers.configuration(BARE),
        account=BARE,
        control=simulators.control_url(servers.ports),
        period=made.period,
        warm=tuple(bare(each, "warm") for each in warm),
        projects=tuple(bare(each, BARE) for each in projects),
    )
    path = servers.files.root / "bare.json"
    path.write_text(plan.model_dump_json(), encoding="utf-8")
    # Its logs go into a file, as the worker's do.
    with path.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.bare_billing", str(path)),
            cwd=surroundings().directory,
            stderr=log,
        )
        assert await process.wait() == 0
    found = BareFound.model_validate_json(path.with_suffix(".found").read_text(encoding="utf-8"))
    assert found.calls == {" ".join(key): n for key, n in made.calls.items()}, (found, made.calls)
    print(f"  script   {found.entries / found.seconds:6.0f} entries/s", flush=True)
    return found


def _results(
    rounds: dict[int, Round], scripts: Sequence[BareFound], middle: int, held: int
) -> list[Result]:
    largest = max(rounds)
    most = rounds[largest]
    text = (
        f"{largest} projects at once, {most.entries} approved entries; 5 contract shapes, "
        f"4 currencies, 10% not billable, 5% expenses, 3% of another company, 2% adjustments, "
        f"caps shared by runs, {held} of all entries held; simulators at 0 ms"
    )
    found = [
        plain("billing: entries billed", most.per_second, "entries/s", text),
        at_most(MEMORY_MB, "billing: worker memory", most.peak, "MB, peak resident set", text),
    ]
    found += [
        plain(f"billing: CPU of {process}", most.cost(process), "s/1,000 entries", text)
        for process in (*SYSTEM, "simulators")
    ]
    calls = sum(most.calls.values()) * THOUSAND / most.entries
    found.append(plain("billing: vendor calls", calls, "calls/1,000 entries", text))
    return [*found, *_events(most, text), *_flat(rounds), *_beside(rounds[middle], scripts)]


def _events(made: Round, text: str) -> list[Result]:
    each = (sum(made.runs) + sum(made.periods)) * THOUSAND / made.entries
    return [
        at_most(
            EVENTS_MAX,
            "billing: history events of a run",
            max(made.runs),
            "events",
            f"the longest of {len(made.runs)} runs of {made.entries // made.projects} entries",
        ),
        plain("billing: history events, runs and periods", each, "events/1,000 entries", text),
    ]


def _flat(rounds: dict[int, Round]) -> list[Result]:
    """Compare what an entry costs at each size."""
    costs = {size: made.cost(*SYSTEM) for size, made in rounds.items()}
    found = [
        plain(
            f"billing: CPU at {size} projects",
            cost,
            "s/1,000 entries",
            f"{' + '.join(SYSTEM)}; {rounds[size].projects} projects, {size} at once, "
            f"{rounds[size].per_second:.0f} entries/s",
        )
        for size, cost in costs.items()
    ]
    text = f"highest by lowest over {', '.join(map(str, sorted(costs)))} projects at once"
    spread = max(costs.values()) / min(costs.values())
    return [*found, at_most(FLAT, "billing: cost of an entry", spread, "ratio", text)]


def _beside(made: Round, scripts: Sequence[BareFound]) -> list[Result]:
    """Compare with the script over the same projects."""
    entries = sum(each.entries for each in scripts)
    speed = entries / sum(each.seconds for each in scripts)
    cpu = THOUSAND * sum(each.cpu for each in scripts) / entries
    text = (
        f"{made.projects} projects in {len(scripts)} rounds of each side in turn, the same vendor "
        "calls; the script keeps nothing"
    )
    against = "beside a bare script"
    return [
        plain("billing: bare script", speed, "entries/s", text),
        plain("billing: CPU of the bare script", cpu, "s/1,000 entries", text),
        plain(f"billing: throughput ratio {against}", made.per_second / speed, "ratio", text),
        plain(
            f"billing: CPU ratio (bare/engine) {against}", cpu / made.cost(*SYSTEM), "ratio", text
        ),
        plain(
            f"billing: worker CPU ratio (bare/engine) {against}",
            cpu / made.cost("worker"),
            "ratio",
            text,
        ),
    ]


def _line(size: int, made: Round) -> str:
    spent = ", ".join(f"{process} {made.cost(process):.1f}" for process in made.cpu)
    return (
        f"  {size:>3} at once {made.per_second:6.0f} entries/s; s/1,000: {spent}; "
        f"worker peak {made.peak:.0f} MB; events up to {max(made.runs)}"
    )
