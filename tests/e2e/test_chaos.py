"""A backfill while Temporal, PostgreSQL, the worker and the gateway are killed, again and again.

Some deals meet a fault at a vendor, some are told of through the door meanwhile. In the end all is
over, and the vendors hold what the report says: all of it, once, and nothing else. What is killed
when comes from a seed, which is printed; `CHAOS_SEED=<seed>` takes it again.
"""

import asyncio
import contextlib
import csv
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median

import pytest
from pydantic import JsonValue
from temporalio.service import RPCError

from canonical.backfill import BackfillKind, BackfillState, RecordState
from canonical.saga import Outcome, SagaView
from embedded.configuration import ACCOUNT
from embedded.processes import ROOT
from operations.backfill import PREFIX
from operations.composition import Office, open_office
from simulators.kit.control import Control
from store.errors import StoreUnavailable
from tests.sagas.backfill_scenes import CLOSED
from tests.support.chaos import Kill, Machine, Part, running_machine, torment
from tests.support.chaos_oracle import (
    ONE_EACH,
    Records,
    assert_as_reported,
    assert_nothing_was_created_twice,
    held,
    live,
    views,
)
from workflows.backfill import Backfill

pytestmark = pytest.mark.e2e

DEALS = 200
DEALS_SOAK = 2_000
KILLS_EACH = 2
KILLS_EACH_SOAK = 12
FAULTY_SHARE = 20
"""One deal in so many meets a fault: 5%; as many others are told of through the door."""
KINDS = ("reject", "fail_before", "fail_after", "drop_after")
WRITES = (
    ("netsuite", "provision_client"),
    ("netsuite", "provision_erp_project"),
    ("netsuite", "link_erp_project"),
    ("kantata", "provision_psa_client"),
    ("kantata", "provision_psa_project"),
    ("kantata", "provision_tasks"),
    ("kantata", "link_psa_project"),
    ("kantata", "open_for_time"),
    ("salesforce", "write_back"),
    ("salesforce", "confirm_in_crm"),
)
PATTERN = 3
"""Every so manieth of the seeded deals is of another kind; the first ones show each."""
RATE = Decimal(5)
IN_FLIGHT = 20
LATENCY_MS = 20
TELL_SECONDS = 5.0
"""Between two deals that are told of, at most."""
END_SECONDS = 600
END_SECONDS_SOAK = 5_400


@dataclass
class Storm:
    """One run and what it is measured by."""

    machine: Machine
    office: Office
    control: Control
    deals: Sequence[str]
    seed: int
    over: asyncio.Event = field(default_factory=asyncio.Event)
    rejected: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    """The vendor of each."""
    told: int = 0

    async def arm(self) -> None:
        """Have one deal in twenty meet a fault, somewhere."""
        chance = random.Random(self.seed)
        chosen = chance.sample(self.deals[PATTERN:], len(self.deals) // FAULTY_SHARE)
        for number, deal in enumerate(chosen):
            vendor, step = chance.choice(WRITES)
            kind = KINDS[number % len(KINDS)]
            match: dict[str, JsonValue] = {"write": True, "correlation": rf"{deal}/\d+:{step}"}
            await self.control.add_fault(vendor, ACCOUNT, match, kind)
            self.faults.append(vendor)
            if kind == "reject":
                self.rejected.add(deal)

    async def tell(self) -> None:
        """Have the CRM tell the door of one deal in twenty, while whatever is killed is killed."""
        chance = random.Random(self.seed + 1)
        for deal in chance.sample(self.deals[PATTERN:], len(self.deals) // FAULTY_SHARE):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), chance.uniform(0, TELL_SECONDS))
            wish: dict[str, JsonValue] = {
                "url": f"{self.machine.door}/events/salesforce",
                "ids": [deal],
                "retry_seconds": 0.5,
                "attempts_max": 150,
            }
            assert (await self.control.emit("salesforce", ACCOUNT, wish))["acknowledged"] == 1
            self.told += 1

    async def writes(self) -> int:
        """Return the number of the latest write at a vendor that every deal goes to."""
        calls = await self.control.calls("kantata", ACCOUNT, since=self._seen)
        for call in calls:
            if call["effects"]:
                self._last = call["n"]
        self._seen = calls[-1]["n"] if calls else self._seen
        return self._last

    _seen: int = 0
    _last: int = 0

    async def ended(self, id_: str) -> BackfillState:
        """Wait for the end of the backfill, whether or not Temporal answers meanwhile."""
        try:
            while True:
                handle = self.office.sagas.client.get_workflow_handle_for(Backfill.run, id_)
                with contextlib.suppress(RPCError):
                    return (await handle.result()).state
                await asyncio.sleep(0.5)  # what is waited for is in another process
        finally:
            self.over.set()

    async def drained(self) -> None:
        """Wait until the drain has delivered all that the door took."""
        while True:
            # The first statement after a kill may meet a connection to a server that is gone.
            with contextlib.suppress(StoreUnavailable):
                if not (await self.office.store.inbox.waiting())[0]:
                    return
            await asyncio.sleep(0.2)  # what is waited for is in another process

    async def report(self, id_: str, file: Path) -> dict[str, RecordState]:
        """Return what the command line reports."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "starter.py"), "backfill", "report"),
            *(id_.removeprefix(PREFIX), "--csv", str(file)),
            *("--config", str(self.machine.files.config)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await process.wait()
        with file.open(encoding="utf-8", newline="") as read:
            return {row["record"]: RecordState(row["state"]) for row in csv.DictReader(read)}


async def storm(folder: Path, deals: int, each: int, end_seconds: float) -> dict[str, RecordState]:
    """Carry deals over while everything is killed, and let the vendors' records decide.

    Returns what the backfill says of each deal, when all of it was found to be true.
    """
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    _say(f"CHAOS_SEED={seed}, {deals} deals")
    async with running_machine(folder / "stack") as machine, Control(machine.simulators) as control:
        await control.reset(ACCOUNT)
        made = (await control.seed("bulk", count=deals, account=ACCOUNT))["salesforce"]["deals"]
        assert isinstance(made, dict)
        await control.set_latency(LATENCY_MS, ACCOUNT)
        async with open_office(str(machine.files.config)) as office:
            run = Storm(machine, office, control, [str(id_) for id_ in made.values()], seed)
            return await _rage(run, folder, each, end_seconds)


async def _rage(run: Storm, folder: Path, each: int, end_seconds: float) -> dict[str, RecordState]:
    before = await live(run.control)
    await _carry_the_first(run)
    await run.arm()
    desk = run.office.backfills
    window = desk.window(BackfillKind.OPPORTUNITIES, CLOSED, CLOSED)
    begun = time.monotonic()
    id_ = await desk.start(window, rate=RATE, in_flight_max=IN_FLIGHT)
    async with asyncio.timeout(end_seconds), asyncio.TaskGroup() as group:
        telling = group.create_task(run.tell())
        raging = group.create_task(torment(run.machine, run.seed, each, run.writes, run.over))
        assert await run.ended(id_) is BackfillState.FINISHED
        took = time.monotonic() - begun
        await telling
        await run.drained()
    kills = raging.result()
    file = folder / "report.csv"
    report = await run.report(id_, file)
    _figures(run, kills, took, report)

    hits = Counter(part for kill in kills for part in kill.parts)
    assert all(hits[part] >= each for part in Part), f"it was over before all was killed: {hits}"
    for vendor in set(run.faults):
        for fault in await run.control.faults(vendor, ACCOUNT):
            assert fault["hits"] == 1, fault
    told = await views(run.office.sagas, run.deals)
    after = await live(run.control)
    of = held(before, after, told)
    clean = {deal: run.deals[_like(number)] for number, deal in enumerate(run.deals)}
    assert_as_reported(report, told, of, after, clean)
    _assert_the_oracle_can_fail(before, after, told)
    parked = {deal for deal, state in report.items() if state is RecordState.PARKED}
    assert parked <= run.rejected
    assert parked, "every refusal was lost to a kill: take another seed"
    await assert_nothing_was_created_twice(run.control)
    assert run.machine.deaths == []
    again = desk.dry_run(window)
    states = Counter([each.state async for page in again for each in page])
    assert states == {
        RecordState.ALREADY_DONE: len(report) - len(parked),
        RecordState.PARKED: len(parked),
    }
    return report


def _assert_the_oracle_can_fail(
    before: Records, after: Records, told: Mapping[str, SagaView]
) -> None:
    """Assert that one record more, and each kind of record less, would have been seen."""
    new = {key: row for key, row in after.items() if key not in before}
    for type_ in ONE_EACH:
        key, row = next((key, row) for key, row in new.items() if key[1] == type_)
        with pytest.raises(AssertionError, match="of no step"):
            held(before, {**after, (key[0], type_, "more"): row}, told)
        with pytest.raises(AssertionError, match="not there"):
            held(before, {each: after[each] for each in after if each != key}, told)


async def _carry_the_first(run: Storm) -> None:
    """Carry the first deals while all is quiet: the others are compared with them."""
    handles = [await run.office.sagas.start_opportunity(deal) for deal in run.deals[:PATTERN]]
    results = await asyncio.gather(*(handle.result() for handle in handles))
    assert {result.outcome for result in results} == {Outcome.COMPLETED}


def _like(number: int) -> int:
    """Return the place of the deal among the first that one is like: see `bulk_deals`."""
    return PATTERN - 1 if number % PATTERN == PATTERN - 1 else 0


def _figures(
    run: Storm, kills: Sequence[Kill], took: float, report: dict[str, RecordState]
) -> None:
    hits = Counter(part.value for kill in kills for part in kill.parts)
    states = Counter(state.value for state in report.values())
    _say(f"seconds {took:.0f}, deals per second {len(report) / took:.2f}, {dict(states)}")
    _say(f"faults {len(run.faults)}, told of through the door {run.told}")
    _say(f"kills {dict(hits)}, starts {dict(run.machine.starts)}")
    for kill in kills:
        still = "-" if kill.still is None else f"{kill.still:.1f}"
        what = "+".join(kill.parts)
        _say(f"  {kill.at:6.1f} s {what:20} back {kill.away:5.1f} s, writing again {still:>5} s")
    if kills:
        stills = [kill.still for kill in kills if kill.still is not None] or [0.0]
        _say(
            f"back: median {median(k.away for k in kills):.1f} s; "
            f"writing again: median {median(stills):.1f} s, longest {max(stills):.1f} s"
        )
    for death in run.machine.deaths:
        _say(f"ended by itself: {death}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def test_a_backfill_outlives_whatever_is_killed(tmp_path: Path) -> None:
    assert len(await storm(tmp_path, DEALS, KILLS_EACH, END_SECONDS)) == DEALS


@pytest.mark.soak
async def test_a_long_backfill_outlives_whatever_is_killed(tmp_path: Path) -> None:
    report = await storm(tmp_path, DEALS_SOAK, KILLS_EACH_SOAK, END_SECONDS_SOAK)
    assert len(report) == DEALS_SOAK
