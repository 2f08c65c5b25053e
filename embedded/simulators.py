"""The vendors' simulators as a child of the stack: one process, their state kept in a file."""

import sys
from typing import Final

import httpx

from embedded.configuration import ACCOUNT, Vendors
from embedded.errors import StackError
from embedded.files import StackFiles
from embedded.ports import HOST, Ports
from embedded.processes import Child, ChildSpec, Surroundings
from simulators.kit.control import Control, ControlRefused

SCENARIO: Final = "standard"
READY_SECONDS: Final = 60


def control_url(ports: Ports) -> str:
    """Return the address of the control origin."""
    return f"http://{HOST}:{ports.simulators}"


def spec(files: StackFiles, ports: Ports, surroundings: Surroundings) -> ChildSpec:
    """Say how to run them."""
    command = [sys.executable, "-m", "simulators", "--host", HOST]
    command += ["--control-port", str(ports.simulators)]
    for vendor, port in ports.vendors.items():
        command += ["--port", f"{vendor}={port}"]
    command += ["--state-file", str(files.simulators)]
    return ChildSpec(
        name="simulators",
        title="The process of the simulators",
        command=command,
        surroundings=surroundings,
    )


async def set_up(child: Child, ports: Ports, *, seed: bool) -> Vendors:
    """Wait for them, fill the demo account if wanted, and return addresses and credentials.

    Raises:
        StackError: they do not get ready, or refuse.
    """
    async with Control(control_url(ports)) as control:

        async def answers() -> bool:
            try:
                await control.vendors()
            except httpx.TransportError:
                return False
            return True

        await child.ready(answers, READY_SECONDS)
        try:
            if seed:
                await control.seed(SCENARIO, account=ACCOUNT)
            return {
                name: (url, await control.credentials(name, ACCOUNT))
                for name, url in (await control.vendors()).items()
                if name in ports.vendors
            }
        except (ControlRefused, httpx.HTTPError, ValueError) as error:
            raise StackError(
                f"The simulators can't be filled ({error}); see {child.log}."
            ) from error
