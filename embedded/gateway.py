"""Dealthread's gateway as a child of the stack."""

import sys
from pathlib import Path
from typing import Final

import httpx

from embedded.errors import StackError
from embedded.ports import HOST, Ports
from embedded.processes import Child, ChildSpec, Surroundings

READY_SECONDS: Final = 60
PROBE_SECONDS: Final = 2
OK: Final = 200


def base_url(ports: Ports) -> str:
    """Return its address: events go to `/events/<connection>` below it."""
    return f"http://{HOST}:{ports.gateway}"


def spec(config: Path, surroundings: Surroundings) -> ChildSpec:
    """Say how to run it.

    Raises:
        StackError: it is not there.
    """
    if not (surroundings.directory / "gateway" / "__main__.py").is_file():
        raise StackError(f"The gateway is missing from {surroundings.directory}.")
    return ChildSpec(
        name="gateway",
        title="The gateway",
        command=[sys.executable, "-m", "gateway", "--config", str(config)],
        surroundings=surroundings,
        stop_seconds=20,
    )


async def set_up(child: Child, ports: Ports) -> None:
    """Wait until it is healthy.

    Raises:
        StackError: it does not get so.
    """
    async with httpx.AsyncClient(timeout=PROBE_SECONDS, trust_env=False) as http:

        async def answers() -> bool:
            try:
                return (await http.get(f"{base_url(ports)}/healthz")).status_code == OK
            except httpx.TransportError:
                return False

        await child.ready(answers, READY_SECONDS)
