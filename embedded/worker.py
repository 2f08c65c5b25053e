"""Dealthread's worker as a child of the stack."""

import sys
from pathlib import Path
from typing import Final

import httpx

from embedded.configuration import WORKER_GRACE_SECONDS
from embedded.errors import StackError
from embedded.ports import HOST, Ports
from embedded.processes import Child, ChildSpec, Surroundings

READY_SECONDS: Final = 60
PROBE_SECONDS: Final = 2
OK: Final = 200


def health_url(ports: Ports) -> str:
    """Return the address of its health page."""
    return f"http://{HOST}:{ports.worker}/healthz"


def spec(config: Path, surroundings: Surroundings) -> ChildSpec:
    """Say how to run it.

    Raises:
        StackError: it is not there.
    """
    script = surroundings.directory / "worker.py"
    if not script.is_file():
        raise StackError(f"The worker is missing: there is no {script}.")
    return ChildSpec(
        name="worker",
        title="The worker",
        command=[sys.executable, str(script), "--config", str(config)],
        surroundings=surroundings,
        stop_seconds=WORKER_GRACE_SECONDS + 10,
    )


async def set_up(child: Child, ports: Ports) -> None:
    """Wait until it is healthy.

    Raises:
        StackError: it does not get so.
    """
    async with httpx.AsyncClient(timeout=PROBE_SECONDS, trust_env=False) as http:

        async def answers() -> bool:
            try:
                return (await http.get(health_url(ports))).status_code == OK
            except httpx.TransportError:
                return False

        await child.ready(answers, READY_SECONDS)
