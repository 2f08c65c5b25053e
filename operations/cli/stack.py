"""Commands on the embedded stack: up and down."""

from typing import Annotated

import typer

from embedded.options import DIRECTORY
from embedded.ports import PORT_BASE
from embedded.stack import StackInfo, StackOptions, up_detached
from embedded.stack import down as stop_stack
from embedded.stack import up as run_stack
from operations.cli.options import Dir, Json, PortBase
from operations.cli.output import command, fail, say, show_json, show_table


@command
async def up(
    directory: Dir = DIRECTORY,
    port_base: PortBase = PORT_BASE,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it running in the background.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Start Temporal, PostgreSQL, the simulators, a worker and the gateway on this machine."""
    options = StackOptions(
        directory=directory,
        port_base=port_base,
        progress=lambda text: None if as_json else say(text),
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
async def down(directory: Dir = DIRECTORY, as_json: Json = False) -> None:
    """Stop the stack that runs in a folder; its data stays."""
    stopped = await stop_stack(directory)
    if as_json:
        show_json({"stopped": stopped})
    elif stopped:
        say("Stopped; the data is kept.")
    if not stopped:
        fail(f"Nothing runs in {directory}.")
