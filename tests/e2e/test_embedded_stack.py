"""The embedded stack as people use it: up, down, side by side, and everything that goes wrong."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import psutil
import pytest
import pytest_asyncio
from pydantic import SecretStr
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client

from adapters.governor import LocalGovernor
from adapters.registry import build_adapter
from embedded import temporal
from embedded.options import Record
from embedded.ports import GATEWAY_OFFSET, UI_OFFSET, VENDOR_OFFSETS, Ports, check_free
from embedded.processes import Child, ChildSpec, ProcessId, start, surroundings
from embedded.stack import StackError, StackInfo, StackOptions, down, load, up, up_detached
from operations.composition import vendor_queue
from operations.config import ConnectionConfig, load_config
from simulators.kit.control import Control
from workflows.board import SEARCH_ATTRIBUTES

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 30
ALONE = frozenset({"worker", "gateway", "postgres", "simulators"})
"""Temporal alone, where the other children would only cost time."""


def free_base() -> int:
    """Return a port base of which every port is free."""
    gateway = (GATEWAY_OFFSET, GATEWAY_OFFSET + 1)
    offsets = (*range(5), *VENDOR_OFFSETS.values(), 8, *gateway, UI_OFFSET)
    while True:
        base = random.randrange(18_000, 30_000)
        with contextlib.suppress(StackError):
            check_free({str(offset): base + offset for offset in offsets})
            return base


@pytest_asyncio.fixture
async def options(tmp_path: Path) -> AsyncIterator[Callable[..., StackOptions]]:
    """Options of stacks in folders and on ports of their own; what still runs is stopped."""
    folders: list[Path] = []

    def make(name: str = "stack", **more: object) -> StackOptions:
        folders.append(tmp_path / name)
        given = {"port_base": free_base(), "without": ALONE} | more
        return StackOptions.model_validate({"directory": folders[-1], **given})

    yield make
    await asyncio.gather(*(down(folder) for folder in folders))


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


def alive(info: StackInfo) -> list[str]:
    return [name for name, process in info.processes.items() if process.find() is not None]


async def in_foreground(options: StackOptions) -> tuple[StackInfo, asyncio.Task[None]]:
    ready: asyncio.Future[StackInfo] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(up(options, ready.set_result))
    await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await task
    return ready.result(), task


async def test_data_survives_down_and_up(options: Callable[..., StackOptions]) -> None:
    said: list[str] = []
    asked = options(without=frozenset(), progress=said.append)
    first = await up_detached(asked)
    assert load(asked.directory) == first
    assert "The simulators are ready, filled with the standard deals: salesforce" in "\n".join(said)
    await leave_traces(first)
    await check_configuration(first)
    await check_temporal(first)
    await check_queues(first)
    assert {"The worker is ready", f"The gateway is ready: {first.addresses['gateway']}"} <= {*said}
    parts = {"postgres", "temporal", "simulators", "worker", "gateway"}
    assert set(first.processes) == parts | {"drain"}

    # Ports in use and a folder in use, while it runs.
    with pytest.raises(
        StackError,
        match=f"Port {first.ports.temporal}, wanted for Temporal, is in "
        f"use by temporal .pid {first.processes['temporal'].pid}.: free it, or",
    ):
        await up_detached(options("other", port_base=first.port_base))
    with pytest.raises(StackError, match=r"A stack already runs, starts or stops in .*stack: stop"):
        await up_detached(asked.model_copy(update={"port_base": free_base()}))

    assert await down(asked.directory)
    assert alive(first) == []
    assert load(asked.directory) is None
    assert not (asked.directory / "stack.json").exists()
    assert not await down(asked.directory)

    # On other ports: nothing of the data knows the old ones.
    second = await up_detached(asked.model_copy(update={"port_base": free_base()}))
    assert "filled" not in "\n".join(said[len(said) // 2 :])
    await check_traces(second)
    await check_configuration(second)


async def leave_traces(info: StackInfo) -> None:
    async with Control(info.addresses["simulators"]) as control:
        assert len(await control.records("salesforce", "demo", type="Opportunity")) > 20
        await control.put_record("salesforce", "demo", "Account", {"Name": "Left behind"})
    client = await Client.connect(info.addresses["temporal"])
    await client.start_workflow("Left", id="left-behind", task_queue="nobody")
    connection = await asyncpg.connect(store_url(info).get_secret_value())
    await connection.execute("CREATE TABLE left_behind AS SELECT 42 AS answer")
    assert await connection.fetchval("SELECT count(*) FROM alembic_version") == 1
    await connection.close()


async def check_traces(info: StackInfo) -> None:
    async with Control(info.addresses["simulators"]) as control:
        records = await control.records("salesforce", "demo", type="Account")
        names = [record["fields"]["Name"] for record in records]
        assert names.count("Left behind") == 1
        assert len(names) == len(set(names))
    client = await Client.connect(info.addresses["temporal"])
    assert (await client.get_workflow_handle("left-behind").describe()).workflow_type == "Left"
    connection = await asyncpg.connect(store_url(info).get_secret_value())
    assert await connection.fetchval("SELECT answer FROM left_behind") == 42
    await connection.close()


def store_url(info: StackInfo) -> SecretStr:
    return load_config(info.config).store.secret_url


async def check_configuration(info: StackInfo) -> None:
    config = load_config(info.config)
    assert config.temporal.address == info.addresses["temporal"]
    assert config.worker.health_port == info.ports.worker
    assert config.ui.base_url == info.addresses["temporal_ui"]
    for name, connection in config.connections.items():
        assert connection.base_url == info.addresses[name]
        await check_sign_in(name, connection)
    for secret in (info.directory / "secrets").rglob("*"):
        wanted = 0o700 if secret.is_dir() else 0o600
        assert stat.S_IMODE(secret.stat().st_mode) == wanted
    password = store_url(info).get_secret_value().split(":")[2].partition("@")[0]
    for file in ("stack.json", "processes.json", "dealthread.toml"):
        assert password not in (info.directory / file).read_text()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(store_url(info).get_secret_value().replace(password, "guess"))


async def check_sign_in(name: str, connection: ConnectionConfig) -> None:
    adapter = build_adapter(
        connection.vendor,
        name,
        base_url=connection.base_url,
        settings=connection.settings,
        secrets=connection.secrets,
        timeouts=connection.http.model_dump(),
        ca_file=connection.ca_file,
        governor=LocalGovernor(connection.concurrency),
    )
    for check in adapter.checks():
        assert await check.run()
    await adapter.aclose()


async def check_temporal(info: StackInfo) -> None:
    client = await Client.connect(info.addresses["temporal"])
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace="default")
    )
    kept = described.config.workflow_execution_retention_ttl.ToTimedelta()
    assert kept == timedelta(days=30)
    attributes = [attribute.name for attribute in SEARCH_ATTRIBUTES]
    query = " AND ".join(f"{name} IS NULL" for name in attributes)

    async def known() -> bool:  # the server learns of new ones within a moment
        with contextlib.suppress(Exception):
            return (await client.count_workflows(query)).count >= 0
        return False

    await until(known)
    await temporal.ensure_search_attributes(client)  # a second time is no error


async def check_queues(info: StackInfo) -> None:
    """Every connection's queue is served, the billing engine's among them."""
    client = await Client.connect(info.addresses["temporal"])
    queues = [vendor_queue(name) for name in load_config(info.config).connections]
    assert vendor_queue("stripe") in queues

    async def served() -> bool:
        answers = [
            await client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace="default",
                    task_queue=TaskQueue(name=queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
                )
            )
            for queue in queues
        ]
        return all(answer.pollers for answer in answers)

    await until(served)


async def test_two_stacks_live_side_by_side(options: Callable[..., StackOptions]) -> None:
    one, two = options("one"), options("two")
    first, second = await asyncio.gather(up_detached(one), up_detached(two))
    client = await Client.connect(first.addresses["temporal"])
    await client.start_workflow("Left", id="only-here", task_queue="nobody")
    other = await Client.connect(second.addresses["temporal"])
    assert (await other.count_workflows("WorkflowType = 'Left'")).count == 0
    assert await down(one.directory)
    assert alive(first) == []
    assert alive(second) == ["temporal"]
    assert load(two.directory) == second


async def test_a_dead_child_is_named_and_takes_the_rest_with_it(
    options: Callable[..., StackOptions],
) -> None:
    asked = options(without={"worker", "gateway", "postgres"})
    info, task = await in_foreground(asked)
    os.kill(info.processes["simulators"].pid, signal.SIGKILL)
    with pytest.raises(StackError) as caught:
        await asyncio.wait_for(task, WAIT_SECONDS)
    assert str(caught.value).startswith(
        "The process of the simulators ended unexpectedly by signal SIGKILL; "
        "everything else was stopped. The last lines of "
    )
    assert alive(info) == []
    assert load(asked.directory) is None


async def test_a_child_that_cannot_start_is_named_with_its_last_words(
    options: Callable[..., StackOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options()
    asked.directory.mkdir()
    (asked.directory / "temporal.db").write_text("this is no database " * 1000)
    with pytest.raises(StackError, match=r"(?s)^The Temporal server ended .*not a database"):
        await up_detached(asked)
    assert load(asked.directory) is None


async def test_ctrl_c_ends_it_cleanly(options: Callable[..., StackOptions]) -> None:
    info, task = await in_foreground(options())
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(task, WAIT_SECONDS)
    assert alive(info) == []
    assert not (info.directory / "processes.json").exists()


async def test_a_killed_supervisor_leaves_nothing_that_up_or_down_cannot_clear(
    options: Callable[..., StackOptions],
) -> None:
    said: list[str] = []
    asked = options(progress=said.append)
    first = await up_detached(asked)
    await kill(first)
    assert load(asked.directory) is None
    assert alive(first) == ["temporal"]
    second = await up_detached(asked)
    assert said[0] == "Temporal is ready: " + first.addresses["temporal_ui"]
    assert said[1] == "stopped what an earlier stack left running: temporal"
    assert alive(first) == []
    await kill(second)
    assert await down(asked.directory)
    assert alive(second) == []


async def kill(info: StackInfo) -> None:
    os.kill(info.supervisor.pid, signal.SIGKILL)
    await until(lambda: info.supervisor.find() is None)


async def test_files_of_a_stack_long_gone_are_not_believed(tmp_path: Path) -> None:
    ours = ProcessId.of(os.getpid())
    reused = ProcessId(pid=ours.pid, created=ours.created - 3600)
    info = StackInfo(
        directory=tmp_path,
        config=tmp_path / "dealthread.toml",
        port_base=7233,
        started_at=datetime.now(UTC),
        addresses={},
        ports=Ports.from_base(7233),
        supervisor=reused,
        processes={"temporal": reused},
    )
    (tmp_path / "stack.json").write_text(info.model_dump_json())
    record = Record(supervisor=reused, children={"temporal": reused})
    (tmp_path / "processes.json").write_text(record.model_dump_json())
    assert load(tmp_path) is None
    assert not await down(tmp_path)  # it would have ended this very process
    (tmp_path / "stack.json").write_text(info.model_dump_json()[:40])
    assert load(tmp_path) is None


class TestRefusals:
    async def test_a_missing_binary_is_one_sentence(
        self,
        options: Callable[..., StackOptions],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(StackError, match=r"^The `temporal` command is missing: install the"):
            await up(options())

    async def test_a_folder_that_cannot_be_written_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        directory = tmp_path / "file" / "stack"
        with pytest.raises(StackError, match=r"can't keep its data in .*/file/stack: Not a direc"):
            await up(StackOptions(directory=directory, port_base=free_base()))

    @pytest.mark.parametrize("use", ["Temporal's Web UI", "PostgreSQL", "the kantata simulator"])
    async def test_a_port_in_use_is_named_before_anything_starts(
        self, options: Callable[..., StackOptions], use: str
    ) -> None:
        asked = options(without={"worker"})
        ports = Ports.from_base(asked.port_base)
        uses = ports.of("postgres") | ports.of("temporal") | ports.of("simulators")
        with socket.create_server(("127.0.0.1", uses[use])):
            sentence = f"^Port {uses[use]}, wanted for {use}, is in use by .*--port-base.$"
            with pytest.raises(StackError, match=sentence):
                await up(asked)
        assert not (asked.directory / "postgres").exists()

    @pytest.mark.parametrize("base", [80, 65_000])
    async def test_a_port_base_without_room_is_refused(
        self, options: Callable[..., StackOptions], base: int
    ) -> None:
        with pytest.raises(StackError, match=f"--port-base {base} leaves no room"):
            await up_detached(options(port_base=base))

    async def test_a_child_there_is_not_cannot_be_left_out(
        self, options: Callable[..., StackOptions]
    ) -> None:
        with pytest.raises(StackError, match="There is no wrker to leave out"):
            await up(options(without={"wrker"}))


class TestChild:
    STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(99)"

    async def started(self, tmp_path: Path, code: str, **more: float) -> Child:
        command = [shutil.which("python3") or sys.executable, "-c", code]
        spec = ChildSpec("it", "It", command, surroundings(), **more)  # type: ignore[arg-type]
        child = await start(spec, tmp_path)
        await until(lambda: child.log.stat().st_size > 0 or not child.is_alive)
        return child

    async def test_one_that_does_not_stop_is_killed(self, tmp_path: Path) -> None:
        child = await self.started(tmp_path, self.STUBBORN, stop_seconds=0.2)
        await child.stop(asyncio.Event())
        assert child.process.returncode == -signal.SIGKILL

    async def test_a_second_signal_kills_at_once(self, tmp_path: Path) -> None:
        child = await self.started(tmp_path, self.STUBBORN, stop_seconds=3600)
        hurry = asyncio.Event()
        stopping = asyncio.create_task(child.stop(hurry))
        await asyncio.sleep(0)
        hurry.set()
        await asyncio.wait_for(stopping, WAIT_SECONDS)
        assert child.process.returncode == -signal.SIGKILL

    async def test_settings_meant_for_other_servers_do_not_reach_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEALTHREAD_STORE__URL", "production")
        monkeypatch.setenv("TEMPORAL_ADDRESS", "production")
        monkeypatch.setenv("PGHOST", "production")
        child = await self.started(tmp_path, "import os; print(sorted(os.environ.values()))")
        await child.process.wait()
        assert "production" not in child.log.read_text()

    async def test_one_that_never_gets_ready_is_named(self, tmp_path: Path) -> None:
        child = await self.started(tmp_path, self.STUBBORN, stop_seconds=0)

        async def never() -> bool:
            return False

        with pytest.raises(StackError, match=r"^It did not get ready within 0.1 seconds; see "):
            await child.ready(never, 0.1)
        await child.stop(asyncio.Event())
        assert not psutil.pid_exists(child.process.pid)
