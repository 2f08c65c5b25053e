"""One trace, and one correlation id, from a vendor's message to the calls that it brought about.

Over real processes: door, drain and worker share no memory. Then the collector goes away.
"""

import asyncio
import contextlib
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from pydantic import JsonValue
from temporalio.service import RPCError

from canonical.saga import Outcome, SagaResult
from embedded.configuration import ACCOUNT
from embedded.processes import ROOT, surroundings, tail
from embedded.stack import StackInfo
from operations.composition import Office, open_office
from simulators.kit.control import Control
from tests.support.collector import Collector, SeenSpan, collecting
from tests.support.embedded_stack import running_stack
from workflows.board import CORRELATION_ID

pytestmark = pytest.mark.e2e

READY_SECONDS = 120
"""Others may use the machine."""
WAIT_SECONDS = 90
STOP_SECONDS = 45
SECRET = "Bearer collector-secret-0815"
VENDORS = ("salesforce", "kantata", "netsuite")
COMMANDS = {
    "door": ("-m", "gateway", "door"),
    "drain": ("-m", "gateway", "drain"),
    "worker": (str(ROOT / "worker.py"),),
}


@dataclass
class Traced:
    """A stack whose processes send their traces to a collector that the test has."""

    office: Office
    control: Control
    collector: Collector
    folder: Path
    info: StackInfo
    processes: dict[str, asyncio.subprocess.Process]

    async def told(self, deal: str) -> SagaResult:
        """Let the CRM tell of a deal that was won, and return how its saga ended."""
        address = f"http://127.0.0.1:{self.info.ports.gateway}/events/salesforce"
        await self.control.emit("salesforce", ACCOUNT, {"url": address, "ids": [deal]})
        handle = self.office.sagas.client.get_workflow_handle(
            workflow_of(deal), result_type=SagaResult
        )
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                with contextlib.suppress(RPCError):  # it does not run yet
                    result: SagaResult = await handle.result()
                    return result
                await asyncio.sleep(0.1)

    async def stopped(self) -> dict[str, int]:
        """Stop the processes; return their exit codes."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            return {name: await process.wait() for name, process in self.processes.items()}

    def lines(self, process: str) -> list[dict[str, object]]:
        """Return what a process logged."""
        text = (self.folder / f"{process}.log").read_text()
        return [json.loads(line) for line in text.splitlines()]


def workflow_of(deal: str) -> str:
    return f"opportunity-to-project/salesforce/{deal}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackInfo]:
    folder = tmp_path_factory.mktemp("traces") / "stack"
    with running_stack(folder, without=frozenset({"worker", "gateway"})) as info:
        yield info


@pytest_asyncio.fixture
async def traced(stack: StackInfo, tmp_path: Path) -> AsyncIterator[Traced]:
    with collecting() as collector:
        async with (
            open_office(str(stack.config)) as office,
            Control(stack.addresses["simulators"]) as control,
        ):
            made = Traced(office, control, collector, tmp_path, stack, {})
            environment = {
                **surroundings().environment,
                "DEALTHREAD_TELEMETRY__OTLP_ENDPOINT": collector.url,
                "DEALTHREAD_TELEMETRY__OTLP_HEADERS": f"authorization={SECRET}",
            }
            try:
                for name, command in COMMANDS.items():
                    made.processes[name] = await started(made, name, command, environment)
                await all_ready(made)
                yield made
            finally:
                for process in made.processes.values():
                    if process.returncode is None:
                        process.kill()
                        await process.wait()


async def started(
    made: Traced, name: str, command: tuple[str, ...], environment: dict[str, str]
) -> asyncio.subprocess.Process:
    with (made.folder / f"{name}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *command, "--config", str(made.info.config)),
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env=environment,
        )


async def all_ready(made: Traced) -> None:
    ports = made.info.ports
    async with asyncio.timeout(READY_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        for name, port in zip(COMMANDS, (ports.gateway, ports.drain, ports.worker), strict=True):
            while True:
                assert made.processes[name].returncode is None, tail(made.folder / f"{name}.log")
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"http://127.0.0.1:{port}/healthz")).is_success:
                        break
                await asyncio.sleep(0.05)


async def test_from_the_message_to_the_vendor_calls_it_is_one_trace(traced: Traced) -> None:
    made = await traced.control.seed("bulk", count=2, account=ACCOUNT)
    first, second = (str(id_) for id_ in deals_of(made))

    result = await traced.told(first)
    assert result.outcome is Outcome.COMPLETED
    (received,) = await exported(traced.collector, "receive Opportunity", first)
    spans = [span for span in traced.collector.spans if span.trace == received.trace]
    check_tree(received, spans)
    check_calls(spans, first)
    await check_correlation(traced, first, received)
    assert {each["authorization"] for each in traced.collector.headers} == {SECRET}

    # Nobody takes the traces any more: all goes on, and each process says so once.
    traced.collector.status = 503
    assert (await traced.told(second)).outcome is Outcome.COMPLETED
    assert await traced.stopped() == dict.fromkeys(COMMANDS, 0)
    for name in COMMANDS:
        events = Counter(str(line["event"]) for line in traced.lines(name))
        assert events["traces_not_exported"] == 1, name
        assert SECRET.removeprefix("Bearer ") not in (traced.folder / f"{name}.log").read_text()
        assert not [event for event in events if "Transient error" in event], name


def deals_of(made: dict[str, dict[str, JsonValue]]) -> list[str]:
    deals = made["salesforce"]["deals"]
    assert isinstance(deals, dict)
    return [str(id_) for id_ in deals.values()]


async def exported(collector: Collector, name: str, deal: str) -> list[SeenSpan]:
    """Wait until the trace is whole, since exports come in batches; return the spans named so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not is_whole(collector, deal) or not collector.named(name):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # what is waited for is in other processes
    return collector.named(name)


def is_whole(collector: Collector, deal: str) -> bool:
    """Whether the workflow's end is there, and of all spans of its trace those above them."""
    for end in collector.named("CompleteWorkflow:OpportunityToProject"):
        if end.attributes["temporalWorkflowID"] == workflow_of(deal):
            spans = [span for span in collector.spans if span.trace == end.trace]
            return {span.parent for span in spans} - {""} <= {span.id for span in spans}
    return False


def check_tree(received: SeenSpan, spans: list[SeenSpan]) -> None:
    """All hang together below the receipt, and come from the three processes."""
    assert received.parent == ""
    assert [span.name for span in spans if not span.parent] == [received.name]
    assert {span.service for span in spans} == {f"dealthread-{name}" for name in COMMANDS}
    names = {span.name for span in spans}
    assert {
        "send to OpportunityToProject",
        "StartWorkflow:OpportunityToProject",
        "RunWorkflow:OpportunityToProject",
        "RunActivity:provision_erp_project",
    } <= names


def check_calls(spans: list[SeenSpan], deal: str) -> None:
    """Every system was called within the trace, each call below the activity that made it."""
    by_id = {span.id: span for span in spans}
    calls = [span for span in spans if "http.request.method" in span.attributes]
    assert {span.attributes["dealthread.connection"] for span in calls} == set(VENDORS)
    for span in calls:
        assert by_id[span.parent].name.startswith("RunActivity:")
        assert span.attributes["dealthread.correlation_id"].startswith(workflow_of(deal))


async def check_correlation(traced: Traced, deal: str, received: SeenSpan) -> None:
    """The event's correlation id is in attribute, store and log; calls carry the step's key."""
    id_ = received.attributes["dealthread.correlation_id"]
    handle = traced.office.sagas.client.get_workflow_handle(workflow_of(deal))
    assert (await handle.describe()).typed_search_attributes.get(CORRELATION_ID) == id_
    events = [e for e in await traced.office.store.inbox.list() if e.subject == deal]
    assert {event.correlation_id for event in events} == {id_}
    (sent,) = [line for line in traced.lines("drain") if line["event"] == "signal_sent"]
    assert (sent["correlation_id"], sent["workflow_id"]) == (id_, workflow_of(deal))
    calls = [
        line
        for line in traced.lines("worker")
        if line["event"] == "vendor_call" and line.get("workflow_id") == workflow_of(deal)
    ]
    assert calls
    assert {line["correlation_id"] for line in calls} == {id_}
    for line in calls:
        assert re.search(rf":{line['step']}\b", f"{line['key']}:{line['step']}")
    keys = {line["key"] for line in calls}
    for vendor in VENDORS:
        seen = await traced.control.calls(vendor, ACCOUNT)
        assert keys & {call["correlation_id"] for call in seen}, vendor
