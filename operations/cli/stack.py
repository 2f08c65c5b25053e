"""Commands on the embedded stack: up and down."""

from pathlib import Path
from typing import Annotated

import typer

from embedded.options import DIRECTORY
from embedded.ports import PORT_BASE
from embedded.stack import StackInfo, StackOptions, load, up_detached
from embedded.stack import down as stop_stack
from embedded.stack import up as run_stack
from operations.cli.output import OUT, command, fail, show_json, show_table

Dir = Annotated[Path, typer.Option("--dir", help="Data, logs, secrets and configuration.")]
PortBase = Annotated[int, typer.Option(help="First port; every port moves with it.")]


@command
async def up(
    directory: Dir = DIRECTORY,
    port_base: PortBase = PORT_BASE,
    detach: Annotated[bool, typer.Option(help="Leave it running in the background.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print stack.json when ready.")] = False,
) -> None:
    """Start Temporal, PostgreSQL, the simulators and a worker on this machine.

    Example: starter.py up --detach
    """
    options = StackOptions(
        directory=directory,
        port_base=port_base,
        progress=lambda text: None if as_json else OUT.print(text, markup=False),
    )

    def ready(info: StackInfo) -> None:
        if as_json:
            show_json(info)
        else:
            show_table("Ready", ("what", "where"), sorted(info.addresses.items()))

    if detach:
        ready(await up_detached(options))
    else:
        await run_stack(options, ready)


@command
async def down(
    directory: Dir = DIRECTORY,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop the stack that runs in a folder; its data stays.

    Example: starter.py down
    """
    stopped = await stop_stack(directory)
    if as_json:
        show_json({"stopped": stopped})
    elif stopped:
        OUT.print("Stopped; the data is kept.")
    else:
        fail(f"Nothing runs in {directory}.")


def running(directory: Path) -> StackInfo:
    """Return the stack that runs in a folder, or end with a sentence."""
    info = load(directory)
    if info is None:
        fail(f"Nothing runs in {directory}: start it with `starter.py up --detach`.")
    return info
