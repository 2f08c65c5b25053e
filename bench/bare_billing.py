"""`python -m bench.bare_billing PLAN`: a script that bills the same entries with no durability.

The same adapters, HTTP client, governor, policies and vendor calls in the same order as a billing
run, in one process without Temporal and without a store. It remembers nothing, repeats nothing and
undoes nothing.
"""

import asyncio
import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import uvloop

from activities.batches import Batch, batches_of
from activities.ports import Ports
from adapters.errors import Rejected
from bench.billing_projects import calls_of
from canonical.billing import AccountingPeriod, ChargeBatch, CostBatch, ReserveEntries, charge_id
from canonical.engagement import Engagement
from canonical.entries import Entry, EntryRef
from canonical.ids import ExternalId, external_id
from canonical.model import CanonicalModel
from canonical.rating import Disposition, ExchangeRate, Rated
from canonical.standing import CapStanding, RetainerStanding
from canonical.time_to_billing import BillingRunPlan, ProjectPeriod
from operations.composition import connect_ports
from operations.config import load_config
from operations.logs import configure_logs
from policies.allocation import allocate
from policies.bundle import Bundle, load_bundle
from policies.periods import held_if_closed
from policies.rating import MasterData, rate
from policies.run_plan import plan_billing_run
from simulators.kit.control import Control
from store.placing import PlacedEntry
from store.wanted import WantedTerms, wanted_people, wanted_terms

AT_ONCE = 20
"""Projects under way: as many as a connection of the worker has slots."""

Periods = dict[str, tuple[AccountingPeriod, ...]]


class BareProject(CanonicalModel):
    """One project to bill."""

    engagement: Engagement
    entries: tuple[EntryRef, ...]


class BarePlan(CanonicalModel):
    """What to bill, and with whose connections."""

    config: Path
    account: str
    control: str
    """Address of the simulators' control origin, whose log counts the calls."""
    period: str
    warm: tuple[BareProject, ...]
    """Billed before the clock starts."""
    projects: tuple[BareProject, ...]


class BareFound(CanonicalModel):
    """What it came to."""

    entries: int
    calls: dict[str, int]
    """By vendor and method."""
    seconds: float
    cpu: float
    """Seconds of processor time, user and system."""
    memory: float
    """Highest resident set in MB."""


@dataclass
class Script:
    """Bills projects; what it knows of caps is gone when it ends."""

    ports: Ports
    bundle: Bundle
    period: str
    consumed: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    """By engagement, whose cap may be shared."""

    async def all(self, projects: Sequence[BareProject]) -> None:
        """Bill projects, so many at once."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(project: BareProject) -> None:
            async with places:
                await self.bill(project)

        await asyncio.gather(*map(one, projects))

    async def bill(self, project: BareProject) -> None:
        """Bill one project from reading its entries to posting them."""
        contract, now = project.engagement, datetime.now(UTC)
        of = ProjectPeriod(psa=contract.psa, project_id=contract.project_id, period=self.period)
        plan = plan_billing_run(of, (contract,), self.bundle, now)
        psa, hcm = self.ports.psa(of.psa), self.ports.hcm(plan.hcm)
        with suppress(Rejected):
            await psa.read_lead(of.project_id)
        read = await psa.read_entries(project.entries)
        entries = sorted(read, key=lambda each: (each.approved_at or now, each.id, each.kind))
        dates = [each.service_date for each in entries]
        people = wanted_people([each.person_email for each in entries], dates)
        wanted = wanted_terms(dates, {each.currency for each in entries}, (contract,))
        (periods, rates), workers = await asyncio.gather(
            self._terms(plan, wanted),
            hcm.read_workers(people.emails, people.since, people.until),
        )
        master = MasterData(engagements=(contract,), workers=workers, exchange_rates=rates)
        rated = self._rated(entries, master, periods)
        await self._reserve(plan, rated)
        await self._assert_same(of, rated)
        placed = self._placed(rated, contract)
        batches = batches_of(entries, placed, (contract,), self.bundle, periods)
        await asyncio.gather(*(self._post(of, batch) for batch in batches))
        await self._assert_posted(of, batches)
        await self._assert_reserved(plan, rated)

    async def _terms(
        self, plan: BillingRunPlan, wanted: WantedTerms
    ) -> tuple[Periods, tuple[ExchangeRate, ...]]:
        found: dict[str, list[AccountingPeriod]] = defaultdict(list)
        rates: tuple[ExchangeRate, ...] = ()
        for name, subsidiaries in plan.erps.items():
            erp = self.ports.erp(name)
            for subsidiary in subsidiaries:
                for on in wanted.days:
                    period = await erp.read_period(subsidiary, on)
                    if period is not None and not period.open:
                        found[subsidiary].append(period)
                        period = await erp.read_open_period(subsidiary, on)
                    if period is not None:
                        found[subsidiary].append(period)
            if len(wanted.currencies) > 1:
                rates += await erp.read_exchange_rates(
                    wanted.currencies, wanted.since, wanted.until
                )
        entities = self.bundle.policies.legal_entities.items()
        return {code: tuple(found[entity.subsidiary]) for code, entity in entities}, rates

    def _rated(
        self, entries: Sequence[Entry], master: MasterData, periods: Periods
    ) -> tuple[Rated, ...]:
        policies = self.bundle.policies
        days = {entry.ref: entry.service_date for entry in entries}
        rated = (
            held_if_closed(each, days[each.ref], policies, periods)
            for each in rate(entries, master, policies, self.period)
        )
        return tuple(each for each in rated if each.hold is None)

    async def _reserve(self, plan: BillingRunPlan, rated: Sequence[Rated]) -> None:
        psa = self.ports.psa(plan.of.psa)
        ours = _reservation(plan)
        refs = tuple(each.ref for each in rated)
        if await psa.find_reservation(ours) is None:
            request = ReserveEntries(
                connection=plan.of.psa,
                project=plan.project,
                entries=refs,
                on=plan.on,
                title=plan.title,
            )
            await psa.reserve_entries(ours, request)

    async def _assert_reserved(self, plan: BillingRunPlan, rated: Sequence[Rated]) -> None:
        """Look at the reservation, as a run does before it hands over."""
        found = await self.ports.psa(plan.of.psa).find_reservation(_reservation(plan))
        if found is None or {each.ref for each in rated} - {*found.entries}:
            raise RuntimeError(f"project {plan.of.project_id} is no longer reserved")

    async def _assert_same(self, of: ProjectPeriod, rated: Sequence[Rated]) -> None:
        """Read again, as a run does before it posts."""
        read = await self.ports.psa(of.psa).read_entries(tuple(each.ref for each in rated))
        now = {entry.ref: entry.version for entry in read}
        if any(now.get(each.ref) != each.version for each in rated):
            raise RuntimeError(f"project {of.project_id} changed while it was billed")

    def _placed(self, rated: Sequence[Rated], contract: Engagement) -> list[PlacedEntry]:
        caps = [
            CapStanding(id=1, cap=cap, consumed=self.consumed[contract.id], settled=Decimal(0))
            for cap in contract.caps
        ]
        retainers = [
            RetainerStanding(
                id=1,
                line=line.ref,
                balance=line.retainer.balance,
                settled=Decimal(0),
                overage=line.retainer.overage,
            )
            for line in contract.lines
            if line.retainer is not None
        ]
        parts = allocate(rated, caps, retainers).parts
        for each, own in zip(rated, parts, strict=True):
            if any(cap.counts(each) for cap in caps):
                self.consumed[contract.id] += sum(
                    (p.amount.amount for p in own if p.disposition is Disposition.TO_BILL),
                    Decimal(0),
                )
        return [PlacedEntry(rated=r, parts=p) for r, p in zip(rated, parts, strict=True)]

    async def _post(self, of: ProjectPeriod, batch: Batch) -> None:
        erp, document = self.ports.erp(batch.told.connection), batch.prepared.document
        ids = _ids(of, batch)
        there = await self._there(of, batch)
        places = [index for index, id_ in enumerate(ids) if id_ not in there]
        own = tuple(ids[place] for place in places)
        if batch.told.kind == "charges":
            charges = ChargeBatch.model_validate_json(document)
            lines = tuple(charges.charges[place] for place in places)
            await erp.post_charges(own, charges.model_copy(update={"charges": lines}))
        else:
            costs = CostBatch.model_validate_json(document)
            items = tuple(costs.items[place] for place in places)
            await erp.post_costs(own, costs.model_copy(update={"items": items}))

    async def _assert_posted(self, of: ProjectPeriod, batches: Sequence[Batch]) -> None:
        """Read back what was posted, as a run does before it hands over."""
        for batch in batches:
            if len(await self._there(of, batch)) != len(batch.prepared.lines):
                raise RuntimeError(f"project {of.project_id}: a line is gone")

    async def _there(self, of: ProjectPeriod, batch: Batch) -> set[str]:
        erp, ids = self.ports.erp(batch.told.connection), _ids(of, batch)
        if batch.told.kind == "charges":
            return {each.external_id for each in await erp.find_charges(ids)}
        return {each.external_id for each in await erp.find_costs(ids)}


def _reservation(plan: BillingRunPlan) -> ExternalId:
    return external_id(f"bare/{plan.of.project_id}")


def _ids(of: ProjectPeriod, batch: Batch) -> tuple[ExternalId, ...]:
    key = f"bare/{of.project_id}:{batch.told.kind}:{batch.told.number}"
    return tuple(external_id(charge_id(key, line.item)) for line in batch.prepared.lines)


async def run(plan: BarePlan) -> BareFound:
    """Bill what the plan names, and measure it."""
    ports, _ = connect_ports(load_config(plan.config))
    script = Script(ports, load_bundle(None), plan.period)
    try:
        await script.all(plan.warm)
        async with Control(plan.control) as control:
            earlier = await calls_of(control, plan.account)
            before, started = _cpu(), time.perf_counter()
            await script.all(plan.projects)
            seconds, cpu = time.perf_counter() - started, _cpu() - before
            calls = await calls_of(control, plan.account) - earlier
    finally:
        await ports.aclose()
    return BareFound(
        entries=sum(len(project.entries) for project in plan.projects),
        calls={" ".join(key): count for key, count in calls.items()},
        seconds=seconds,
        cpu=cpu,
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Read the plan's file; write what was found to the file beside it."""
    path = Path(sys.argv[1])
    configure_logs()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(BarePlan.model_validate_json(path.read_text())))
    path.with_suffix(".found").write_text(found.model_dump_json())
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
