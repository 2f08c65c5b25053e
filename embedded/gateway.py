"""Dealthread's gateway as two children of the stack: the door and, behind it, the drain."""

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
    """Return the door's address: events go to `/events/<connection>` below it."""
    return f"http://{HOST}:{ports.gateway}"


def drain_url(ports: Ports) -> str:
    """Return the address below which the drain's health and metrics are."""
    return f"http://{HOST}:{ports.drain}"


def door_spec(config: Path, surroundings: Surroundings) -> ChildSpec:
    """Say how to run the door.

    Raises:
        StackError: it is not there.
    """
    return _spec("gateway", "The gateway", "door", config, surroundings)


def drain_spec(config: Path, surroundings: Surroundings) -> ChildSpec:
    """Say how to run the drain.

    Raises:
        StackError: it is not there.
    """
    return _spec("drain", "The gateway's drain", "drain", config, surroundings)


async def set_up(child: Child, url: str) -> None:
    """Wait until the door or the drain is healthy at its address.

    Raises:
        StackError: it does not get so.
    """
    async with httpx.AsyncClient(timeout=PROBE_SECONDS, trust_env=False) as http:

        async def answers() -> bool:
            try:
                return (await http.get(f"{url}/healthz")).status_code == OK
            except httpx.TransportError:
                return False

        await child.ready(answers, READY_SECONDS)


def _spec(
    name: str, title: str, command: str, config: Path, surroundings: Surroundings
) -> ChildSpec:
    if not (surroundings.directory / "gateway" / "__main__.py").is_file():
        raise StackError(f"The gateway is missing from {surroundings.directory}.")
    return ChildSpec(
        name=name,
        title=title,
        command=[sys.executable, "-m", "gateway", command, "--config", str(config)],
        surroundings=surroundings,
        stop_seconds=20,
    )
