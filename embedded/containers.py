"""Fills the simulators of `docker-compose.yml` and writes the configuration that signs in to them.

`python -m embedded.containers FOLDER CONTROL`, once per start of the profile `demo`. The folder is
the volume that worker and gateway read; where they find Temporal and PostgreSQL, the environment
says.
"""

import asyncio
import sys
from pathlib import Path
from urllib.parse import urlsplit

from embedded.configuration import ACCOUNT, Vendors, write_configuration
from embedded.files import StackFiles
from embedded.ports import PORT_BASE, Ports
from simulators.kit.control import Control

SCENARIO = "standard"


async def configure(folder: Path, control_url: str) -> None:
    """Seed the simulators unless that was done before, and write dealthread.toml with its secrets.

    Raises:
        ControlRefused: the simulators refuse.
        httpx.HTTPError: they do not answer.
    """
    files = StackFiles.of(folder)
    files.secrets.mkdir(mode=0o700, exist_ok=True)
    async with Control(control_url) as control:
        if not files.config.exists():
            await control.seed(SCENARIO, account=ACCOUNT)
        vendors = await _vendors(control, control_url)
    write_configuration(files, Ports.from_base(PORT_BASE), None, vendors)


async def _vendors(control: Control, control_url: str) -> Vendors:
    # They listen on all addresses; others reach them by the name that they reached this one by.
    host = urlsplit(control_url).hostname
    return {
        name: (
            f"http://{host}:{urlsplit(url).port}",
            await control.credentials(name, ACCOUNT),
        )
        for name, url in (await control.vendors()).items()
    }


if __name__ == "__main__":
    asyncio.run(configure(Path(sys.argv[1]), sys.argv[2]))
