"""Commands on sagas: start, status, stuck, cancel, sweep."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from temporalio.client import WorkflowFailureError, WorkflowHandle

from canonical.saga import Outcome, SagaResult, StepReport, Sweep
from canonical.worklist import WorkFilter
from operations.cli.items import show_items
from operations.cli.options import Config, Json, Saga
from operations.cli.output import command, fail, progress, say, short, show_json, show_table
from operations.cli.work import show_clusters
from operations.composition import Office, open_office
from operations.sagas import SagaDesk
from workflows.opportunity_to_project import OpportunityToProject

Handle = WorkflowHandle[OpportunityToProject, SagaResult]

TITLE_LENGTH = 120
COMPLETED = {Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE}
LOOK_SECONDS = 1.0

start_app = typer.Typer(no_args_is_help=True, help="Start sagas.")


@start_app.command("milestone", epilog="Example: starter.py start milestone 90001")
@command
async def start_milestone(
    ids: Annotated[list[str], typer.Argument(help="One or more billing milestones of the PSA.")],
    psa: Annotated[str, typer.Option(help="PSA connection; the first one without it.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Start milestone-to-invoice, as the PSA's feed does; one that is not approved ends at once."""
    async with open_office(config) as office:
        started = [await office.billing.start_milestone(id_, psa=psa) for id_ in ids]
        rows = [(id_, office.sagas.deep_link(id_)) for id_ in started]
    if as_json:
        show_json([{"workflow_id": id_, "link": link} for id_, link in rows])
        return
    for id_, link in rows:
        say(f"started  {id_}\n  look   {link}")


@start_app.command("opportunity", epilog="Example: starter.py start opportunity 006DT0000000001YAA")
@command
async def start_opportunity(
    ids: Annotated[list[str], typer.Argument(help="One or more opportunity ids.")],
    crm: Annotated[str, typer.Option(help="CRM connection; the first one without it.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until each has ended.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Start opportunity-to-project; a deal that runs or is done is not started twice.

    Nothing is started if one of the ids is wrong. With --wait, exit code 1 says that not all were
    completed.
    """
    wanted = list(dict.fromkeys(ids))
    async with open_office(config) as office:
        for id_ in wanted:
            office.sagas.check_opportunity(id_, crm)
        handles = [await office.sagas.start_opportunity(id_, crm=crm) for id_ in wanted]
        if not wait:
            rows = [(handle.id, office.sagas.deep_link(handle.id)) for handle in handles]
            if as_json:
                show_json([{"workflow_id": id_, "link": link} for id_, link in rows])
            for id_, link in () if as_json else rows:
                say(f"started  {id_}\n  look   {link}")
            return
        results = await _ended(office, handles)
        if as_json:
            show_json(results)
        else:
            show_table(
                "Ended",
                ("saga", "outcome", "reason"),
                ((r.workflow_id, r.outcome, r.reason) for r in results),
            )
        if not all(result.outcome in COMPLETED for result in results):
            raise typer.Exit(1)


async def _ended(office: Office, handles: Sequence[Handle]) -> list[SagaResult]:
    """Wait for all, and meanwhile say how many are under way and how many are stuck."""
    waiting = [asyncio.ensure_future(handle.result()) for handle in handles]
    with progress() as shown:
        task = shown.add_task("waiting", total=None)
        try:
            while not all(each.done() for each in waiting):
                shown.update(task, description=await _how_far(office.sagas, handles, waiting))
                await asyncio.wait(waiting, timeout=LOOK_SECONDS)
        finally:
            for each in waiting:
                each.cancel()
    try:
        return [await each for each in waiting]
    except WorkflowFailureError as error:
        fail(f"A saga was ended from outside ({error.cause}); `starter.py sweep` takes it up.")


async def _how_far(
    desk: SagaDesk, handles: Sequence[Handle], waiting: Sequence[asyncio.Future[SagaResult]]
) -> str:
    ours = {handle.id for handle in handles}
    stuck = sum(item.workflow_id in ours for item in await desk.stuck())
    ended = sum(each.done() for each in waiting)
    hint = " (see `starter.py stuck`)" if stuck else ""
    return f"{ended} of {len(waiting)} ended, {stuck} wait for a person{hint}"


@command
async def status(saga: Saga, config: Config = None, as_json: Json = False) -> None:
    """Show where a saga stands, step by step; of one that ended, how."""
    async with open_office(config) as office:
        view = await office.sagas.view(saga)
        if as_json:
            show_json(view)
            return
        title = short(view.title, TITLE_LENGTH) or view.workflow_id
        say(f"{title}: {view.state}", style="bold")
        say(office.sagas.deep_link(view.workflow_id))
        show_table("Steps", ("step", "system", "state", "record", "note"), map(_step, view.steps))
        if view.work_items:
            links = [office.sagas.deep_link(item.workflow_id) for item in view.work_items]
            show_items(list(view.work_items), links)


def _step(step: StepReport) -> tuple[object, ...]:
    record = step.receipt.record if step.receipt else None
    shown = f"{record.type} {record.id}".strip() if record else ""
    undo = f"{step.undo.result} {step.undo.residue}".strip() if step.undo else step.note
    item = step.key.rpartition("/")[2].split(":", 2)[2:]
    return " ".join([step.step, *item]), step.system, step.state, shown, undo


@command
async def stuck(
    clusters: Annotated[
        bool, typer.Option("--clusters", help="By cause, with the money at risk.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List what waits for a person, the most urgent first, and what would likely help.

    With --clusters by cause; `work list` has held entries and residue too, filters and owners.
    """
    async with open_office(config) as office:
        if clusters:
            show_clusters(await office.worklist.clusters(WorkFilter()), as_json=as_json)
            return
        items = await office.sagas.stuck()
        links = [office.sagas.deep_link(item.workflow_id) for item in items]
        if as_json:
            show_json(
                [
                    {**item.model_dump(mode="json"), "link": link}
                    for item, link in zip(items, links, strict=True)
                ]
            )
        else:
            show_items(items, links)


@command
async def cancel(saga: Saga, config: Config = None, as_json: Json = False) -> None:
    """Ask a saga to roll back; past its pivot it only takes note."""
    async with open_office(config) as office:
        said = await office.sagas.cancel(saga)
        if as_json:
            show_json({"workflow_id": office.sagas.workflow_id(saga), "asked": True, "note": said})
        else:
            say(said)


@command
async def sweep(config: Config = None, as_json: Json = False) -> None:
    """Start terminated sagas again, now instead of at the next Schedule."""
    async with open_office(config) as office:
        swept = await office.sweeper.sweep(Sweep())
        if as_json:
            show_json(swept)
            return
        rows = [(id_, "rolled back") for id_ in swept.rolled_back]
        show_table("Swept", ("saga", "how"), rows + [(id_, "forward") for id_ in swept.forward])
