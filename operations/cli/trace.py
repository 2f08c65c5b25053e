"""The command `trace`: from any id to the whole thread, or to all detail of one thing."""

import json
from typing import Annotated

import typer

from operations.cli.options import Config, Json
from operations.cli.output import OUT, command, plain
from operations.cli.thread_tree import thread_tree
from operations.cli.trace_detail import show_detail
from operations.mistakes import Mistake
from operations.trace.mermaid import mermaid_of
from operations.trace.opening import open_tracer
from operations.trace.thread import SHOWN

BILLS = ("invoice:", "draft:")
"""Focuses of which the way back to people and rates is printed below the thread."""

What = Annotated[
    str,
    typer.Argument(
        help="An id of any system: an opportunity, client, project, entry, timesheet, milestone, "
        "draft, invoice (id or number), credit note, payment, charge, client PO, work item, "
        "correlation or workflow id. To be exact: kind:id, or connection/id."
    ),
]
All = Annotated[bool, typer.Option("--all", help="Everything, not the first of each kind.")]
Limit = Annotated[int, typer.Option(min=1, help="Of each kind, at most so many.")]
Depth = Annotated[
    int | None, typer.Option(min=0, help="Leave out what is further away than so many steps.")
]
Mermaid = Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")]
Detail = Annotated[
    bool,
    typer.Option(
        "--detail",
        help="All that is kept of this one thing: an invoice or draft down to people and rates, "
        "an entry's versions and moves, a saga's audit trail.",
    ),
]


@command
async def trace(
    what: What,
    everything: All = False,
    limit: Limit = SHOWN,
    depth: Depth = None,
    mermaid: Mermaid = False,
    detail: Detail = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell the whole thread of an id: deal, client, contract, work, drafts, invoices, payments.

    Backwards and forwards, with state, amounts and sagas at each; of an invoice or draft also the
    people, approvals and rates behind it. With --detail one thing alone, in depth; exit code 1
    then also says that a saga's audit trail is broken: someone changed it.
    """
    if mermaid and (as_json or detail):
        raise Mistake("--mermaid prints the graph alone: leave out --json and --detail.")
    async with open_tracer(config) as tracer:
        if detail:
            await show_detail(tracer, what, everything=everything, as_json=as_json)
            return
        graph = await tracer.trace(what, limit=None if everything else limit, depth=depth)
        if as_json:
            typer.echo(json.dumps(plain(graph), indent=2))
        elif mermaid:
            typer.echo(mermaid_of(graph), nl=False)
        else:
            OUT.print(thread_tree(graph), highlight=False)
            if graph.focus.startswith(BILLS):
                await show_detail(tracer, what, everything=everything, as_json=False)
