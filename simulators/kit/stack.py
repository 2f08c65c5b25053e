"""All simulators and their control origin as one thing to start and stop."""

import contextlib
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from simulators.kit.control_origin import control_app
from simulators.kit.origin import VendorOrigin
from simulators.kit.vendor import Vendor
from simulators.kit.world import World

LINE_BYTES_MAX = 65_536
STOP_SECONDS_MAX = 1.0
"""How long requests under way may delay a stop; held ones are dropped at once."""


class SimulatorStack:
    """The servers of some vendors and their control origin, listening while its context is open.

    `async with SimulatorStack(vendors=[...]) as stack:` and then `stack.control_url` and
    `stack.urls["salesforce"]`. With `tls` the vendors speak https; the control origin stays plain.
    Port 0 takes a free one.
    """

    def __init__(
        self,
        *,
        vendors: Sequence[Vendor],
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        control_port: int = 0,
        ports: Mapping[str, int] | None = None,
        state_file: Path | None = None,
    ) -> None:
        """Say what to serve; nothing listens before the context is entered."""
        self.control_url = ""
        self.urls: dict[str, str] = {}
        self.world = World(vendors)
        self._tls = tls
        self._host = host
        self._control_port = control_port
        self._ports = dict(ports or {})
        self._state_file = state_file
        self._exit = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Load the state file when there is one, and listen."""
        if self._state_file is not None and self._state_file.exists():
            self.world.load(self._state_file)
        async with contextlib.AsyncExitStack() as started:
            for name, vendor in self.world.vendors.items():
                app = VendorOrigin(vendor, self.world).app()
                self.urls[name] = await self._listen(
                    started, app, self._ports.get(name, 0), self._tls
                )
            control = control_app(self.world, self.urls)
            self.control_url = await self._listen(started, control, self._control_port, None)
            started.callback(self.world.close)  # runs first, so that held requests delay no stop
            self._exit = started.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, then write the state file."""
        await self._exit.aclose()
        if self._state_file is not None:
            self.world.save(self._state_file)

    async def _listen(
        self,
        started: contextlib.AsyncExitStack,
        app: web.Application,
        port: int,
        tls: ssl.SSLContext | None,
    ) -> str:
        # Longer than any vendor's longest request line (Salesforce: 16 KB): its own limit answers.
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=STOP_SECONDS_MAX,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=LINE_BYTES_MAX,
        )
        await runner.setup()
        started.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._host, port, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        return f"{scheme}://{self._host}:{runner.addresses[0][1]}"
