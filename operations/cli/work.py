"""Commands on the worklist: what waits for people, who sees to it, one decision over many."""

from typing import Annotated

import typer

from canonical.saga import WorkItemKind
from canonical.worklist import Cluster, WorkFilter, WorkSort
from operations.cli.items import show_work
from operations.cli.options import Config, Json
from operations.cli.output import command, progress, say, short, show_json, show_table
from operations.composition import open_office
from operations.worklist import Bulk, BulkResult, bulk
from operations.worklist.bulk import BULK_MAX, BulkState
from operations.worklist.desk import LISTED_MAX

work_app = typer.Typer(no_args_is_help=True, help="All that waits for people, as one list.")

WorkId = Annotated[str, typer.Argument(help="Its id, as `work list` shows it.")]
By = Annotated[str, typer.Option("--as", help="Who, by name in dealthread.toml.")]
Kind = Annotated[list[WorkItemKind] | None, typer.Option(help="May be repeated.")]
Reason = Annotated[str, typer.Option(help="The code of the reason.")]
Connection = Annotated[str, typer.Option(help="A connection of dealthread.toml.")]
Client = Annotated[str, typer.Option(help="The client's CRM id.")]
Project = Annotated[str, typer.Option(help="The project's code or id.")]
Entity = Annotated[str, typer.Option(help="Code of the legal entity.")]
Owner = Annotated[str, typer.Option(help="Who sees to it.")]
Overdue = Annotated[bool, typer.Option("--overdue", help="Only what is past its deadline.")]
TITLE_SHOWN = 40


@work_app.command("list", epilog="Example: starter.py work list --overdue --sort money")
@command
async def work_list(
    kind: Kind = None,
    reason: Reason = "",
    connection: Connection = "",
    client: Client = "",
    project: Project = "",
    entity: Entity = "",
    owner: Owner = "",
    unowned: Annotated[bool, typer.Option("--unowned", help="Only what nobody sees to.")] = False,
    overdue: Overdue = False,
    sort: Annotated[WorkSort, typer.Option(help="What comes first.")] = WorkSort.URGENCY,
    limit: Annotated[int, typer.Option(min=1, max=LISTED_MAX)] = 50,
    offset: Annotated[int, typer.Option(min=0, help="How many to leave out.")] = 0,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what waits, the most urgent first; --sort money: the largest of each currency first."""
    wanted = WorkFilter(
        kinds=tuple(kind or ()),
        reason=reason,
        connection=connection,
        client_id=client,
        project_code=project,
        legal_entity=entity,
        owner=owner,
        unowned=unowned,
        overdue=overdue,
    )
    async with open_office(config) as office:
        listed = await office.worklist.list(wanted, sort=sort, limit=limit + 1, offset=offset)
    more, listed = len(listed) > limit, listed[:limit]
    if as_json:
        show_json({"work": list(listed), "more": more})
        return
    show_work(listed)
    if more:
        say("")
        say(f"There is more: --offset {offset + limit}.")


@work_app.command("show", epilog="Example: starter.py work show WI-held-3f2c")
@command
async def work_show(work: WorkId, config: Config = None, as_json: Json = False) -> None:
    """Show one piece of work with its comments and all that can be done about it."""
    async with open_office(config) as office:
        listed, comments = await office.worklist.show(work)
    if as_json:
        show_json({**listed.model_dump(), "comments": list(comments)})
        return
    show_work((listed,), everything=True)
    for each in comments:
        say(f"  {each.at:%Y-%m-%d %H:%M} UTC  {each.by}: {each.text}")


@work_app.command("take", epilog="Example: starter.py work take WI-7 --as olivia")
@command
async def work_take(work: WorkId, by: By, config: Config = None, as_json: Json = False) -> None:
    """See to it oneself."""
    async with open_office(config) as office:
        taken = await office.worklist.assign(work, by, by=by)
    _done(taken.id, f"{by} sees to {taken.id}", {"owner": taken.owner}, as_json=as_json)


@work_app.command("assign", epilog="Example: starter.py work assign WI-7 --to fiona --as olivia")
@command
async def work_assign(
    work: WorkId,
    to: Annotated[str, typer.Option("--to", help="Who is to see to it.")],
    by: By,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let somebody else see to it."""
    async with open_office(config) as office:
        given = await office.worklist.assign(work, to, by=by)
    _done(given.id, f"{to} sees to {given.id}", {"owner": given.owner}, as_json=as_json)


@work_app.command(
    "comment", epilog='Example: starter.py work comment WI-7 "asked the client" --as olivia'
)
@command
async def work_comment(
    work: WorkId,
    text: Annotated[str, typer.Argument(help="The comment; it can't be changed later.")],
    by: By,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Add a comment."""
    async with open_office(config) as office:
        said = await office.worklist.comment(work, text, by=by)
    told = f"{said.id} has {said.comments} comments"
    _done(said.id, told, {"comments": said.comments}, as_json=as_json)


@work_app.command(
    "acknowledge",
    epilog='Example: starter.py work acknowledge WI-residue-9 --because "removed" --as olivia',
)
@command
async def work_acknowledge(
    work: WorkId,
    because: Annotated[str, typer.Option(help="What became of it.")],
    by: By,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Say that what a rollback left behind has been seen to."""
    async with open_office(config) as office:
        seen = await office.worklist.acknowledge(work, by=by, because=because)
    _done(seen.id, f"{seen.id} is seen to", {"acknowledged_by": by}, as_json=as_json)


@work_app.command(
    "retry",
    epilog="Example: starter.py work retry --reason missing_mapping --connection netsuite "
    "--dry-run --as olivia",
)
@command
async def work_retry(
    by: By,
    kind: Kind = None,
    reason: Reason = "",
    connection: Connection = "",
    client: Client = "",
    project: Project = "",
    entity: Entity = "",
    owner: Owner = "",
    overdue: Overdue = False,
    limit: Annotated[int, typer.Option(min=1, max=BULK_MAX, help="How many at most.")] = 100,
    because: Annotated[str, typer.Option(help="The reason, for the audit trail.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do, and do nothing.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let all that matches be tried again, once its cause is mended; say what became of each.

    Exit code 1 says that some were refused.
    """
    wanted = WorkFilter(
        kinds=tuple(kind or ()),
        reason=reason,
        connection=connection,
        client_id=client,
        project_code=project,
        legal_entity=entity,
        owner=owner,
        overdue=overdue,
    )
    if wanted == WorkFilter():
        raise typer.BadParameter("say which: --reason, --connection, --client or another filter")
    asked = Bulk(wanted=wanted, because=because, limit=limit, dry_run=dry_run)
    async with open_office(config) as office:
        with progress() as shown:
            shown.add_task("deciding …")
            results = await bulk(office.worklist, office.sagas, asked, by=by)
    _tell(results, as_json=as_json)


@work_app.command("clusters", epilog="Example: starter.py work clusters --kind stuck")
@command
async def work_clusters(
    kind: Kind = None,
    connection: Connection = "",
    entity: Entity = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what waits by its cause, with the money at risk: mend a cause, and all of it goes on."""
    wanted = WorkFilter(kinds=tuple(kind or ()), connection=connection, legal_entity=entity)
    async with open_office(config) as office:
        show_clusters(await office.worklist.clusters(wanted), as_json=as_json)


def show_clusters(clusters: tuple[Cluster, ...], *, as_json: bool) -> None:
    """Print work by cause."""
    if as_json:
        show_json(list(clusters))
        return
    rows = (
        (
            each.entries,
            each.kind,
            each.reason,
            each.connection,
            "; ".join(map(str, each.money)),
            f"{each.oldest:%Y-%m-%d %H:%M}",
            each.overdue or "",
            each.example,
        )
        for each in clusters
    )
    columns = ("count", "kind", "reason", "at", "at risk", "since (UTC)", "overdue", "for example")
    show_table("What waits, by cause", columns, rows)


def _tell(results: tuple[BulkResult, ...], *, as_json: bool) -> None:
    if as_json:
        show_json(list(results))
    else:
        for each in results:
            style = "red" if each.state is BulkState.REFUSED else ""
            title = short(each.title, TITLE_SHOWN)
            say(f"{each.state:<14}{each.id}  {title}: {each.message}", style=style)
        if not results:
            say("Nothing matches.")
    if any(each.state is BulkState.REFUSED for each in results):
        raise typer.Exit(1)


def _done(work_id: str, said: str, told: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        show_json({"id": work_id, **told})
    else:
        say(said)
