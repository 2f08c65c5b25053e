"""Starts the children of a stack, watches them, and stops them in order."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import SecretStr

from embedded import gateway, simulators, temporal, worker
from embedded.configuration import Vendors, write_configuration
from embedded.errors import StackError
from embedded.files import StackFiles
from embedded.options import (
    CHILDREN,
    PARTS,
    Record,
    StackInfo,
    StackOptions,
    read_record,
    write_model,
)
from embedded.ports import HOST, Ports, check_free
from embedded.postgres import DATABASE, Postgres
from embedded.processes import Child, ChildSpec, ProcessId, kill_leftovers, start, surroundings


class Supervisor:
    """One run of one stack."""

    def __init__(self, options: StackOptions, files: StackFiles) -> None:
        self.hurry = asyncio.Event()
        """Once set, children are killed instead of asked."""
        self._options = options
        self._files = files
        self._ports = Ports.from_base(options.port_base)
        self._surroundings = surroundings()
        self._children: dict[str, Child] = {}
        self._record = Record(supervisor=ProcessId.of(os.getpid()))
        unknown = options.without.difference(PARTS)
        if unknown:
            names = ", ".join(PARTS)
            raise StackError(
                f"There is no {', '.join(sorted(unknown))} to leave out, only {names}."
            )

    async def run(self, ready: Callable[[StackInfo], None]) -> None:
        """Start everything, say so, and watch it until cancelled.

        Raises:
            StackError: something does not start, or ends.
        """
        self._clear()
        self._check()
        try:
            async with asyncio.TaskGroup() as group:
                postgres = group.create_task(self._postgres())
                group.create_task(self._temporal())
                vendors = group.create_task(self._simulators())
        except BaseExceptionGroup as errors:
            # One cause is enough; what it pulled down with it says nothing.
            raise _cause(errors) from None
        write_configuration(self._files, self._ports, postgres.result(), vendors.result())
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._worker())
                group.create_task(self._gateway())
        except BaseExceptionGroup as errors:
            raise _cause(errors) from None
        info = self._info(vendors.result())
        write_model(self._files.info, info)
        ready(info)
        await self._watch()

    async def stop(self) -> None:
        """Stop all children, the last started first; forget them."""
        for name in reversed(CHILDREN):
            child = self._children.get(name)
            if child is not None:
                self._say(f"stopping {name}")
                await child.stop(self.hurry)
        self._files.info.unlink(missing_ok=True)
        self._files.processes.unlink(missing_ok=True)

    async def _postgres(self) -> SecretStr | None:
        if "postgres" in self._options.without:
            return None
        postgres = Postgres(
            self._files.postgres,
            self._files.secrets / "postgres_password",
            self._ports.postgres,
        )
        spec = await asyncio.to_thread(postgres.prepare, self._surroundings)
        url = await postgres.set_up(await self._start(spec))
        self._say(f"PostgreSQL is ready: {HOST}:{self._ports.postgres}/{DATABASE}")
        return url

    async def _temporal(self) -> None:
        if "temporal" in self._options.without:
            return
        spec = temporal.spec(self._files.temporal, self._ports, self._surroundings)
        await temporal.set_up(await self._start(spec), self._ports)
        self._say(f"Temporal is ready: http://{HOST}:{self._ports.temporal_ui}")

    async def _simulators(self) -> Vendors:
        if "simulators" in self._options.without:
            return {}
        is_first = not self._files.simulators.exists()
        child = await self._start(simulators.spec(self._files, self._ports, self._surroundings))
        vendors = await simulators.set_up(child, self._ports, seed=is_first)
        filled = ", filled with the standard deals" if is_first else ""
        self._say(f"The simulators are ready{filled}: {', '.join(vendors)}")
        return vendors

    async def _worker(self) -> None:
        if "worker" in self._options.without:
            return
        child = await self._start(worker.spec(self._files.config, self._surroundings))
        await worker.set_up(child, self._ports)
        self._say("The worker is ready")

    async def _gateway(self) -> None:
        if "gateway" in self._options.without:
            return
        config, url = self._files.config, gateway.base_url(self._ports)
        door = await self._start(gateway.door_spec(config, self._surroundings))
        drain = await self._start(gateway.drain_spec(config, self._surroundings))
        await gateway.set_up(door, url)
        await gateway.set_up(drain, gateway.drain_url(self._ports))
        self._say(f"The gateway is ready: {url}")

    async def _start(self, spec: ChildSpec) -> Child:
        child = await start(spec, self._files.logs)
        self._children[spec.name] = child
        if child.identity is not None:
            self._record.children[spec.name] = child.identity
            write_model(self._files.processes, self._record)
        return child

    async def _watch(self) -> None:
        ends = [asyncio.ensure_future(child.process.wait()) for child in self._children.values()]
        try:
            if ends:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.get_running_loop().create_future()
        finally:
            for end in ends:
                end.cancel()
        raise next(child.death() for child in self._children.values() if not child.is_alive)

    def _clear(self) -> None:
        """Remove what a supervisor that was killed left behind."""
        left = read_record(self._files)
        if left is not None:
            names = kill_leftovers(left.children)
            if names:
                self._say(f"stopped what an earlier stack left running: {', '.join(names)}")
        self._files.info.unlink(missing_ok=True)
        write_model(self._files.processes, self._record)

    def _check(self) -> None:
        """Refuse what can be seen to fail before anything is started."""
        wanted = [name for name in PARTS if name not in self._options.without]
        for name in wanted:
            check_free(self._ports.of(name))
        if "temporal" in wanted:
            temporal.binary()
        if "worker" in wanted:
            worker.spec(self._files.config, self._surroundings)
        if "gateway" in wanted:
            gateway.door_spec(self._files.config, self._surroundings)

    def _info(self, vendors: Vendors) -> StackInfo:
        ports = self._ports
        addresses = {
            "postgres": f"{HOST}:{ports.postgres}/{DATABASE}",
            "temporal": f"{HOST}:{ports.temporal}",
            "temporal_ui": f"http://{HOST}:{ports.temporal_ui}",
            "simulators": simulators.control_url(ports),
            "worker": worker.health_url(ports),
            "gateway": gateway.base_url(ports),
        }
        left_out = self._options.without
        kept = {
            name: address
            for name, address in addresses.items()
            if name.removesuffix("_ui") not in left_out
        }
        return StackInfo(
            directory=self._files.root,
            config=self._files.config,
            port_base=self._options.port_base,
            started_at=datetime.now(UTC),
            addresses=kept | {name: url for name, (url, _) in vendors.items()},
            ports=ports,
            supervisor=self._record.supervisor,
            processes=dict(self._record.children),
        )

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):  # whoever listened may be gone
            self._options.progress(text)


def _cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    found, _ = errors.split(StackError)
    first = (found or errors).exceptions[0]
    return _cause(first) if isinstance(first, BaseExceptionGroup) else first
