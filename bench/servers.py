"""The servers of a bench, each a process of its own: Temporal in memory, PostgreSQL, simulators.

PostgreSQL keeps its defaults, fsync among them. Everything listens on 127.0.0.1 and is stopped by
pid; the data lie in a temporary folder.
"""

import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, SecretStr
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from embedded import simulators, temporal
from embedded.configuration import SIGN_INS
from embedded.errors import StackError
from embedded.files import StackFiles, write_secret
from embedded.ports import HOST, Ports, check_free
from embedded.postgres import Postgres
from embedded.processes import Child, ChildSpec, start, surroundings
from simulators.kit.control import Control

GRACE_SECONDS = 25
TRIES = 20


@dataclass
class Servers:
    """What is running, and how to reach it."""

    files: StackFiles
    ports: Ports
    children: dict[str, Child] = field(default_factory=dict)
    store_url: SecretStr = field(init=False)
    urls: dict[str, str] = field(default_factory=dict)
    control: Control = field(init=False)
    client: Client = field(init=False)

    async def configuration(self, account: str) -> Path:
        """Write a `dealthread.toml` whose connections sign in to one account.

        The CRM is called after the account, and so are the sagas: two accounts never meet.
        """
        root = self.files.root / account
        root.mkdir(exist_ok=True)
        lines = [
            *_table("temporal", address=f"{HOST}:{self.ports.temporal}"),
            *_table("worker", health_port=self.ports.worker, grace_seconds=GRACE_SECONDS),
            *_table("store", url_file="store_url"),
        ]
        write_secret(root / "store_url", self.store_url.get_secret_value())
        for vendor, sign_in in SIGN_INS.items():
            credentials = await self.control.credentials(vendor, account)
            name = crm_of(account) if vendor == "salesforce" else vendor
            lines += _table(
                f"connections.{name}",
                vendor=vendor,
                role=sign_in.role,
                base_url=self.urls[vendor],
                secrets_dir=f"secrets/{name}",
            )
            lines += _table(f"connections.{name}.http", read_seconds=10, total_seconds=20)
            auth = {key: value.format_map(credentials) for key, value in sign_in.settings.items()}
            lines += _table(f"connections.{name}.settings.auth", **auth) if auth else []
            folder = root / "secrets" / name
            folder.mkdir(parents=True, exist_ok=True)
            for key, credential in sign_in.secrets.items():
                write_secret(folder / key, credentials[credential])
        path = root / "dealthread.toml"
        path.write_text("\n".join(lines))
        return path

    @asynccontextmanager
    async def worker(self, command: Sequence[str]) -> AsyncIterator[Child]:
        """Run a worker process until the block ends."""
        spec = ChildSpec(
            name="worker",
            title="The worker",
            command=command,
            surroundings=surroundings(),
            stop_seconds=GRACE_SECONDS + 10,
        )
        child = await start(spec, self.files.logs)
        self.children["worker"] = child
        try:
            yield child
        finally:
            await child.stop(asyncio.Event())
            del self.children["worker"]


def crm_of(account: str) -> str:
    """Return the name of an account's CRM connection, which is part of its sagas' ids."""
    return f"crm_{account}"


@asynccontextmanager
async def running_servers() -> AsyncIterator[Servers]:
    """Start the servers; stop them when the block ends."""
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dealthread-bench-")))
        files = StackFiles.of(root)
        files.make()
        servers = Servers(files, free_ports())
        ports = servers.ports

        async def started(spec: ChildSpec) -> Child:
            child = servers.children[spec.name] = await start(spec, files.logs)
            stack.push_async_callback(child.stop, asyncio.Event())
            return child

        postgres = Postgres(files.postgres, files.secrets / "postgres_password", ports.postgres)
        spec = await asyncio.to_thread(postgres.prepare, surroundings())
        servers.store_url = await postgres.set_up(await started(spec))
        await temporal.set_up(await started(_temporal_spec(servers)), ports)
        child = await started(simulators.spec(files, ports, surroundings()))
        await simulators.set_up(child, ports, seed=False)
        servers.control = await stack.enter_async_context(Control(simulators.control_url(ports)))
        servers.urls = await servers.control.vendors()
        servers.client = await Client.connect(
            f"{HOST}:{ports.temporal}", data_converter=pydantic_data_converter
        )
        yield servers


def _temporal_spec(servers: Servers) -> ChildSpec:
    """Return the dev server as the tests run it: in memory, without its Web UI."""
    ports = servers.ports
    command = [temporal.binary(), "server", "start-dev", "--ip", HOST, "--headless"]
    command += ["--log-level", "error", "--port", str(ports.temporal)]
    command += ["--http-port", str(ports.temporal_http)]
    command += ["--metrics-port", str(ports.temporal_metrics)]
    for value in temporal.DYNAMIC_CONFIG:
        command += ["--dynamic-config-value", value]
    return ChildSpec(
        name="temporal",
        title="The Temporal server",
        command=command,
        surroundings=surroundings(),
    )


def free_ports() -> Ports:
    """Return ports of which none is in use, below those that systems give to outgoing calls.

    Raises:
        StackError: none were found.
    """
    for _ in range(TRIES):
        ports = Ports.from_base(random.randrange(20_000, 30_000, 20))
        try:
            for name in ("postgres", "temporal", "simulators", "worker", "gateway"):
                check_free(ports.of(name))
        except StackError:
            continue
        return ports
    raise StackError("There are no ten free ports in a row.")


def _table(name: str, **keys: JsonValue) -> list[str]:
    # A JSON value of these types is a TOML value too.
    return [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""]
