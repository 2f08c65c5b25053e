"""Worker processes that stop, die and run side by side: nothing is lost, nothing written twice.

The oracle is the simulators' records and call logs.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from pydantic import JsonValue
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import VersioningBehavior
from temporalio.service import RPCError, RPCStatusCode

from canonical.entries import EntryKind, EntryRef
from canonical.ids import time_to_billing_id
from canonical.saga import Outcome, SagaResult
from embedded.configuration import ACCOUNT
from embedded.processes import ROOT, surroundings, tail
from embedded.stack import StackInfo
from operations.composition import Office, open_office
from operations.config import load_config
from operations.servers import connect_temporal
from simulators.kit.calls import CallView
from simulators.kit.control import Control
from tests.support.embedded_stack import free_base, running_stack

pytestmark = pytest.mark.e2e

VENDORS = ("salesforce", "kantata", "netsuite")
ONE_PER_DEAL = (
    ("netsuite", "customer"),
    ("netsuite", "job"),
    ("kantata", "workspace_groups"),
    ("kantata", "workspaces"),
)
WAIT_SECONDS = 90
READY_SECONDS = 30
LATENCY_MS = 20
DEALS = 60
CONCURRENCY = 5
POLLED = {"salesforce", "kantata", "netsuite", "stripe"}
"""Where the drain holds a place for itself."""

NOT_YET = {RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION}
"""Temporal does not know the build before its worker polls."""

Handle = WorkflowHandle[Any, SagaResult]


@dataclass
class Worker:
    """One worker process."""

    process: asyncio.subprocess.Process
    url: str
    log: Path

    async def ready(self) -> "Worker":
        async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while True:
                assert self.process.returncode is None, tail(self.log)
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{self.url}/healthz")).status_code == 200:
                        return self
                await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.process.wait()

    async def holds_everything(self) -> None:
        """Wait until it has all places: leases of one that was killed lapse first."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                if all(count == for_workers(name) for name, count in (await self.places()).items()):
                    return
                await asyncio.sleep(0.1)

    async def places(self) -> dict[str, int]:
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"{self.url}/metrics")).text
        found = re.findall(r'^dealthread_connection_places\{connection="(\w+)"\} (\S+)', text, re.M)
        return {name: int(float(value)) for name, value in found}


@dataclass
class Ground:
    """A running stack without a worker, and the deals that no test has used yet."""

    info: StackInfo
    deals: list[str]
    carried: int = 0


@dataclass
class Plant:
    """What one test does on the ground."""

    ground: Ground
    office: Office
    control: Control
    folder: Path
    workers: list[Worker] = field(default_factory=list)

    async def worker(self, **settings: str) -> Worker:
        """Start a worker process and wait until it is healthy."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        port = free_base() + len(self.workers)
        environment = {
            **surroundings().environment,
            "DEALTHREAD_WORKER__HEALTH_PORT": str(port),
            **settings,
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    str(ROOT / "worker.py"),
                    "--config",
                    str(self.ground.info.config),
                ),
                stdout=output,
                stderr=output,
                env=environment,
            )
        self.workers.append(Worker(process, f"http://127.0.0.1:{port}", log))
        return self.workers[-1]

    async def start(self, count: int) -> list[Handle]:
        """Start deals that no test has used yet."""
        taken, self.ground.deals[:] = self.ground.deals[:count], self.ground.deals[count:]
        assert len(taken) == count
        self.ground.carried += count
        return [await self.office.sagas.start_opportunity(deal) for deal in taken]

    async def until_ended(self, handles: list[Handle], count: int) -> None:
        ending = [asyncio.ensure_future(handle.result()) for handle in handles]
        async with asyncio.timeout(WAIT_SECONDS):
            while sum(each.done() for each in ending) < count:
                await asyncio.wait(ending, timeout=0.05)
        for each in ending:
            each.cancel()

    async def check(self, handles: list[Handle]) -> None:
        """All complete; what each made is there, once, and was created once."""
        async with asyncio.timeout(WAIT_SECONDS):
            results = await asyncio.gather(*(handle.result() for handle in handles))
        assert {result.outcome for result in results} == {Outcome.COMPLETED}
        for vendor in ("kantata", "netsuite"):
            created = Counter(
                (effect["type"], effect["key"])
                for call in await self.control.calls(vendor, ACCOUNT)
                for effect in call["effects"]
                if effect["effect"] == "create" and effect["key"]
            )
            assert len(created) >= 2 * self.ground.carried
            assert [key for key, count in created.items() if count > 1] == []
        for vendor, type_ in ONE_PER_DEAL:
            records = await self.control.records(vendor, ACCOUNT, type_)
            ours = [r["key"] for r in records if r["live"] and (r["key"] or "").startswith("dt-")]
            assert len(ours) == len(set(ours)) == self.ground.carried, (vendor, type_)

    async def hold(self, vendor: str, deal: str, step: str, effect: str = "before") -> str:
        """Hold the write of a step; its effect comes before the hold, or after its release."""
        match: dict[str, JsonValue] = {"write": True, "correlation": f"{deal}.*:{step}"}
        return await self.control.add_fault(vendor, ACCOUNT, match, "hold", effect=effect)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("plant") / "stack"
    with running_stack(folder, without=frozenset({"worker"})) as info:
        yield Ground(info, asyncio.run(seeded(info)))


async def seeded(info: StackInfo) -> list[str]:
    async with Control(info.addresses["simulators"]) as control:
        await control.reset(ACCOUNT)
        made = await control.seed("bulk", count=DEALS, account=ACCOUNT)
        await control.set_latency(LATENCY_MS, ACCOUNT)
    deals = made["salesforce"]["deals"]
    assert isinstance(deals, dict)
    return [str(id_) for id_ in deals.values()]


@pytest_asyncio.fixture
async def plant(ground: Ground, tmp_path: Path) -> AsyncIterator[Plant]:
    async with (
        open_office(str(ground.info.config)) as office,
        Control(ground.info.addresses["simulators"]) as control,
    ):
        made = Plant(ground, office, control, tmp_path)
        yield made
        await control.clear_faults("kantata", ACCOUNT)
        await control.clear_faults("netsuite", ACCOUNT)
        for worker in made.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.send(signal.SIGTERM)  # gives its leases back
            try:
                await asyncio.wait_for(worker.process.wait(), READY_SECONDS)
            except TimeoutError:
                worker.process.kill()


async def test_a_stopped_worker_hands_over_everything(plant: Plant) -> None:
    first = await (await plant.worker()).ready()
    handles = await plant.start(30)
    await plant.until_ended(handles, 5)
    first.send(signal.SIGTERM)
    second = await plant.worker()
    assert await first.ended() == 0
    await second.ready()
    await plant.check(handles)
    lines = first.log.read_text().splitlines()
    assert {line[0] for line in lines} == {"{"}  # JSON all through
    assert '"event": "stopped"' in lines[-1]


async def test_a_stop_waits_for_the_write_under_way(plant: Plant) -> None:
    worker = await (await plant.worker()).ready()
    (handle,) = await plant.start(1)
    deal = handle.id.rpartition("/")[2]
    fault = await plant.hold("kantata", deal, "provision_psa_project", "after")
    await plant.control.wait_for_fault("kantata", ACCOUNT, fault)
    worker.send(signal.SIGTERM)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.process.wait(), 1)
    await plant.control.release("kantata", ACCOUNT)
    assert await worker.ended() == 0
    trace = await plant.office.store.sagas.trace(handle.id)
    (attempt,) = [each for each in trace.attempts if each.step == "provision_psa_project"]
    assert (attempt.attempt, attempt.state) == (1, "done")

    # Nobody runs: the store tells where it stands, and the sentence says what is missing.
    view = await plant.office.sagas.view(handle.id)
    assert view.state == "running (no worker answers)"
    assert "provision_psa_project" in {step.step for step in view.steps}
    await plant.worker()
    await plant.check([handle])


HELD = (
    ("netsuite", "provision_client", "before"),
    ("netsuite", "provision_erp_project", "after"),
    ("kantata", "provision_psa_client", "before"),
    ("kantata", "provision_psa_project", "after"),
    ("kantata", "provision_tasks", "before"),
    ("kantata", "open_for_time", "before"),
)


async def test_a_killed_workers_sagas_go_on_where_they_stood(
    plant: Plant, record_property: Callable[[str, object], None]
) -> None:
    worker = await (await plant.worker()).ready()
    faults = [
        (vendor, await plant.hold(vendor, deal, step, effect))
        for deal, (vendor, step, effect) in zip(plant.ground.deals, HELD, strict=False)
    ]
    handles = await plant.start(len(HELD))
    for vendor, fault in faults:
        await plant.control.wait_for_fault(vendor, ACCOUNT, fault, timeout_seconds=30)
    worker.send(signal.SIGKILL)
    assert await worker.ended() == -signal.SIGKILL
    for vendor in ("kantata", "netsuite"):
        await plant.control.release(vendor, ACCOUNT)
    began = time.monotonic()
    await (await plant.worker()).ready()
    await plant.check(handles)
    seconds = time.monotonic() - began
    record_property("seconds_until_all_went_on", seconds)
    sys.stdout.write(f"killed at {len(HELD)} steps: all complete after {seconds:.1f} s\n")


async def test_two_workers_share_the_budget_of_an_account(plant: Plant) -> None:
    first = await (await plant.worker()).ready()
    before = {vendor: len(await plant.control.calls(vendor, ACCOUNT)) for vendor in VENDORS}
    await first.holds_everything()
    handles = await plant.start(10)
    second = await (await plant.worker()).ready()
    ending = asyncio.gather(*(handle.result() for handle in handles))
    seen: list[dict[str, int]] = []
    while not ending.done() or not seen or min(seen[-1].values()) == 0:
        # The later one first: it only gets what the earlier one has given up before.
        later, earlier = await second.places(), await first.places()
        sums = {name: later[name] + earlier[name] for name in earlier}
        assert all(sums[name] <= for_workers(name) for name in sums), (later, earlier)
        seen.append(later)
        await asyncio.sleep(0.1)
    assert all(1 < places < CONCURRENCY for places in seen[-1].values())
    await plant.check(handles)
    for vendor in VENDORS:
        calls = await plant.control.calls(vendor, ACCOUNT, since=before[vendor])
        assert most_at_once(calls) <= CONCURRENCY, vendor
    assert most_at_once(await plant.control.calls("kantata", ACCOUNT, before["kantata"])) > 1
    first.send(signal.SIGTERM)
    second.send(signal.SIGTERM)
    assert (await first.ended(), await second.ended()) == (0, 0)


def for_workers(connection: str) -> int:
    """Return how many places the workers have together."""
    return CONCURRENCY - (connection in POLLED)


def most_at_once(calls: list[CallView]) -> int:
    """Return how many calls, the drain's polls too, were under way at once at most.

    Sign-ins are no part of the budget.
    """
    moments: list[tuple[datetime, int]] = []
    for call in calls:
        if "oauth" not in call["path"]:
            came = datetime.fromisoformat(call["at"])
            moments += [(came, 1), (came + timedelta(seconds=call["seconds"]), -1)]
    count = most = 0
    for _, change in sorted(moments):
        count += change
        most = max(most, count)
    return most


async def test_a_saga_stays_with_its_build_and_what_lives_on_takes_the_current_one(
    plant: Plant,
) -> None:
    client = await connect_temporal(load_config(plant.ground.info.config))
    period: WorkflowHandle[Any, Any] | None = None
    try:
        old = await (await plant.worker(**build("1"))).ready()
        await make_current(client, "1")
        deal = plant.ground.deals[1]
        fault = await plant.hold("kantata", deal, "provision_tasks")
        (done, staying) = await plant.start(2)
        await plant.until_ended([done], 1)
        project = await project_of(plant, done)
        of = await plant.office.billing.changed(project, [EntryRef(kind=EntryKind.TIME, id="1")])
        period = client.get_workflow_handle(time_to_billing_id(of.psa, of.project_id, of.period))
        await until_on_build(period, "1")
        await plant.control.wait_for_fault("kantata", ACCOUNT, fault)
        await (await plant.worker(**build("2"))).ready()
        await make_current(client, "2")
        (new,) = await plant.start(1)
        await plant.office.billing.changed(project, [EntryRef(kind=EntryKind.TIME, id="2")])
        await until_on_build(period, "2")
        await plant.control.release("kantata", ACCOUNT)
        await plant.check([done, staying, new])
        sagas = [await standing(handle) for handle in (staying, new)]
        assert sagas == [(VersioningBehavior.PINNED, "1"), (VersioningBehavior.PINNED, "2")]
        assert await standing(period) == (VersioningBehavior.AUTO_UPGRADE, "2")
        old.send(signal.SIGTERM)
        assert await old.ended() == 0
    finally:
        if period is not None:
            await period.terminate()
        await make_current(client, "")  # the others' workers have no build


def build(id_: str) -> dict[str, str]:
    return {"DEALTHREAD_WORKER__DEPLOYMENT_NAME": "plant", "DEALTHREAD_WORKER__BUILD_ID": id_}


async def make_current(client: Client, build_id: str) -> None:
    """Send what begins from here on to a build, as `set-current-version` does."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name="plant",
        build_id=build_id,
        ignore_missing_task_queues=True,
        allow_no_pollers=not build_id,
    )
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await client.workflow_service.set_worker_deployment_current_version(request)
                return
            except RPCError as error:
                if error.status not in NOT_YET:
                    raise
            await asyncio.sleep(0.1)


async def project_of(plant: Plant, handle: Handle) -> str:
    view = await plant.office.sagas.view(handle.id)
    (step,) = [each for each in view.steps if each.step == "provision_psa_project"]
    assert step.receipt is not None
    return step.receipt.record.id


async def until_on_build(handle: WorkflowHandle[Any, Any], build_id: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if (await standing(handle))[1] == build_id:
                return
            await asyncio.sleep(0.1)


async def standing(handle: WorkflowHandle[Any, Any]) -> tuple[int, str]:
    """Return how a run is versioned, and which build had its last task."""
    info = (await handle.describe()).raw_description.workflow_execution_info.versioning_info
    return info.behavior, info.deployment_version.build_id


async def test_health_and_metrics_tell_when_a_server_is_gone(plant: Plant) -> None:
    worker = await (await plant.worker()).ready()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        metrics = (await http.get(f"{worker.url}/metrics")).text
        assert "dealthread_work_items_open 0.0" in metrics
        assert "temporal_worker_task_slots_available" in metrics
        # A stopped process does not answer, and comes back: the stack is needed by the others.
        for server in ("temporal", "postgres"):
            pid = plant.ground.info.processes[server].pid
            os.kill(pid, signal.SIGSTOP)  # first, so that it starts no child that is not seen here
            group = [pid, *children(pid)]
            for each in group:
                os.kill(each, signal.SIGSTOP)
            try:
                answer = await http.get(f"{worker.url}/healthz")
                metrics = (await http.get(f"{worker.url}/metrics")).text
            finally:
                for each in group:
                    os.kill(each, signal.SIGCONT)
            name = "store" if server == "postgres" else server
            assert answer.status_code == 503, answer.text
            assert answer.json()[name] == "does not answer"
            assert "dealthread_connection_places" in metrics
    await worker.ready()


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


async def test_a_worker_that_cannot_start_says_why(plant: Plant) -> None:
    port = str(plant.ground.info.ports.simulators)
    started = [
        await plant.worker(
            DEALTHREAD_TEMPORAL__ADDRESS="127.0.0.1:1", DEALTHREAD_WORKER__START_SECONDS="2"
        ),
        await plant.worker(DEALTHREAD_WORKER__HEALTH_PORT=port),
    ]
    sentences = [
        "Temporal does not answer at 127.0.0.1:1: start it",
        f"worker.health_port: 127.0.0.1:{port} can't be opened (",
    ]
    for worker, sentence in zip(started, sentences, strict=True):
        assert await worker.ended() == 1
        said = worker.log.read_text()
        assert sentence in said.splitlines()[-1]
        assert "Traceback" not in said
    assert started[0].log.read_text().count('"event": "server_not_reached"') >= 2
