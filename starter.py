"""The command line of Dealthread: start sagas, look at them, decide; run the embedded stack."""

import gc
import os
import sys

import typer

from operations.cli import checks, sagas, stack
from operations.cli.demo import demo

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Durable deal-to-cash sagas. Try `starter.py demo`.",
)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("demo")(demo)
app.add_typer(sagas.start_app, name="start")
app.command("status")(sagas.status)
app.command("stuck")(sagas.stuck)
app.command("resolve")(sagas.resolve)
app.command("approve")(sagas.approve)
app.command("cancel")(sagas.cancel)
app.command("sweep")(sagas.sweep)
app.command("trace")(sagas.trace)
app.add_typer(checks.connections_app, name="connections")
app.add_typer(checks.policies_app, name="policies")


def main() -> None:
    """Run a command and leave with its exit code."""
    code = 0
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
