"""The command line of Dealthread: start sagas, look at them, decide; run the embedded stack."""

import gc

gc.disable()  # what is imported stays: to look through it for garbage costs a fifth of the start

import importlib.util
import os
import sys
from collections.abc import Callable

import typer

from operations.cli import (
    alerts,
    backfill,
    billing,
    checks,
    client_pos,
    decisions,
    engagements,
    events,
    invoices,
    kpis,
    milestones,
    queue,
    reconcile,
    sagas,
    schedules,
    work,
)
from operations.cli.trace import trace

gc.freeze()
gc.enable()

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Durable deal-to-cash sagas. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.",
    epilog="Example: starter.py demo",
)
COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("status", sagas.status, "status 006DT0000000001YAA"),
    ("stuck", sagas.stuck, "stuck --json"),
    (
        "resolve",
        decisions.resolve,
        "resolve 006DT0000000010YAA retry --set template=implementation --as olivia",
    ),
    ("approve", decisions.approve, "approve D-1a2b3c4d5e6f --as fiona"),
    ("cancel", sagas.cancel, "cancel 006DT0000000001YAA"),
    ("sweep", sagas.sweep, "sweep"),
    ("trace", trace, "trace 006DT0000000001YAA"),
    ("approve-time", billing.approve_time, "approve-time 5001 --week 2026-11-16"),
    ("why", billing.why, "why 4711"),
    ("kpi", kpis.kpi, "kpi unbilled_approved_time --by client"),
    ("close", kpis.close, "close US 2026-11 --csv close.csv"),
    ("migrate", checks.migrate, "migrate --config dealthread.toml"),
)
if importlib.util.find_spec("embedded") is not None:  # not part of a production image
    from operations.cli import stack
    from operations.cli.demo import demo

    COMMANDS = (
        ("up", stack.up, "up --detach"),
        ("down", stack.down, "down"),
        ("demo", demo, "demo --keep"),
        *COMMANDS,
    )
app.add_typer(sagas.start_app, name="start")
for _name, _run, _example in COMMANDS:
    app.command(_name, epilog=f"Example: starter.py {_example}")(_run)
app.add_typer(work.work_app, name="work")
app.add_typer(alerts.alerts_app, name="alerts")
app.add_typer(billing.billing_app, name="billing")
app.add_typer(backfill.backfill_app, name="backfill")
app.add_typer(milestones.milestone_app, name="milestone")
app.add_typer(queue.queue_app, name="queue")
app.add_typer(reconcile.reconcile_app, name="reconcile")
app.add_typer(client_pos.client_pos_app, name="po")
app.add_typer(invoices.invoice_app, name="invoice")
app.add_typer(schedules.schedules_app, name="schedule")
app.add_typer(engagements.engagements_app, name="engagement")
app.add_typer(events.events_app, name="events")
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
