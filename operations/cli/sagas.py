"""Commands on sagas: start, status, stuck, resolve, approve, cancel, sweep, trace."""

from typing import Annotated

import typer

from canonical.saga import Sweep, Verb, WorkItem
from operations.cli.output import OUT, command, fail, show_json, show_table
from operations.composition import Office, open_office
from operations.sagas import Proposal

Config = Annotated[
    str | None,
    typer.Option("--config", help="Path of dealthread.toml.", envvar="DEALTHREAD_CONFIG"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
As = Annotated[str, typer.Option("--as", help="Who decides: a name under [people].")]
Id = Annotated[str, typer.Argument(help="A work item, a saga's workflow id, or an opportunity id.")]

start_app = typer.Typer(no_args_is_help=True, help="Start sagas.")


@start_app.command("opportunity", epilog="Example: starter.py start opportunity 006DT0000000001")
@command
async def start_opportunity(
    ids: Annotated[list[str], typer.Argument(help="One or more opportunity ids.")],
    crm: Annotated[str, typer.Option(help="CRM connection.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait until each has ended.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Start opportunity-to-project; a deal that runs or is done is not started twice."""
    async with open_office(config) as office:
        handles = [await office.sagas.start_opportunity(id_, crm=crm) for id_ in ids]
        if wait:
            results = [await handle.result() for handle in handles]
            show_json(results)
            return
        rows = [(handle.id, office.sagas.deep_link(handle.id)) for handle in handles]
        if as_json:
            show_json([{"workflow_id": id_, "link": link} for id_, link in rows])
        else:
            show_table("Started", ("saga", "Web UI"), rows)


@command
async def status(id_: Id, config: Config = None, as_json: Json = False) -> None:
    """Show where a saga stands, step by step.

    Example: starter.py status 006DT0000000001
    """
    async with open_office(config) as office:
        view = await office.sagas.view(id_)
        if as_json:
            show_json(view)
            return
        OUT.print(f"{view.title or view.workflow_id}: {view.state}", style="bold", markup=False)
        OUT.print(office.sagas.deep_link(view.workflow_id), markup=False)
        show_table(
            "Steps",
            ("step", "system", "state", "record", "note"),
            (
                (
                    step.step,
                    step.system,
                    step.state,
                    f"{step.receipt.record.type} {step.receipt.record.id}" if step.receipt else "",
                    f"{step.undo.result} {step.undo.residue}" if step.undo else step.note,
                )
                for step in view.steps
            ),
        )
        _show_items(office, list(view.work_items))


@command
async def stuck(config: Config = None, as_json: Json = False) -> None:
    """List what waits for a person, the most urgent first, with its page in the Web UI.

    Example: starter.py stuck
    """
    async with open_office(config) as office:
        items = await office.sagas.stuck()
        if as_json:
            links = [office.sagas.deep_link(item.workflow_id) for item in items]
            show_json(
                [
                    {**item.model_dump(mode="json"), "link": link}
                    for item, link in zip(items, links, strict=True)
                ]
            )
        else:
            _show_items(office, items)


def _show_items(office: Office, items: list[WorkItem]) -> None:
    show_table(
        "Waiting for a person",
        ("work item", "what", "step", "why", "by", "possible"),
        (
            (
                f"{item.id}\npark {item.park}",
                f"{item.title or item.workflow_id}\n{item.amount}",
                f"{item.step}\n{item.connection}",
                _why(item),
                f"{item.respond_by:%Y-%m-%d %H:%M}",
                ", ".join(item.verbs),
            )
            for item in items
        ),
    )
    for item in items:
        OUT.print(
            f"{item.id}  {office.sagas.deep_link(item.workflow_id)}",
            markup=False,
            soft_wrap=True,
        )


def _why(item: WorkItem) -> str:
    failure = item.failure
    lines = [f"{failure.reason}: {failure.message}"]
    if failure.field:
        owner = f" (owned by {failure.owner})" if failure.owner else ""
        lines.append(f"correct: {failure.field}{owner}")
    lines += [
        f"candidate {candidate.record.id}: {candidate.name} {candidate.tax_id} {candidate.country}"
        for candidate in failure.candidates
    ]
    return "\n".join(lines)


@command
async def resolve(
    id_: Id,
    verb: Annotated[Verb, typer.Argument(help="What to do.")],
    park: Annotated[int | None, typer.Option(help="Refuse if it is at another park.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Correct the input: field=value.")
    ] = None,
    record: Annotated[str, typer.Option(help="The existing record to adopt.")] = "",
    because: Annotated[str, typer.Option(help="The evidence or reason.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Show the external effects only.")] = False,
    by: As = "operator",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Decide about a work item.

    Example: starter.py resolve 006DT0000000010 retry --set template=implementation --as olivia
    """
    corrections = _corrections(set_ or [])
    async with open_office(config) as office:
        item = await office.sagas.work_item(id_, park)
        if dry_run:
            effects = await office.sagas.effects(item, verb)
            if as_json:
                show_json(list(effects))
            else:
                show_table(
                    f"{verb} would",
                    ("act", "step", "system", "what"),
                    ((e.act, e.step, e.system, e.what) for e in effects),
                )
            return
        proposal = await office.sagas.resolve(
            item, verb, by=by, corrections=corrections, record_id=record, because=because
        )
        _show_proposal(proposal, as_json)


def _corrections(pairs: list[str]) -> dict[str, str]:
    corrections: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            fail(f"--set {pair!r}: write field=value, for example template=implementation.")
        corrections[name.strip()] = value.strip()
    return corrections


def _show_proposal(proposal: Proposal, as_json: bool) -> None:
    if as_json:
        show_json({"decision": proposal.decision, "taken": proposal.taken})
    elif proposal.taken is None:
        OUT.print(
            f"{proposal.decision.id} needs a second person: "
            f"starter.py approve {proposal.decision.id} --as NAME",
            markup=False,
        )
    else:
        planned = ", ".join(proposal.taken.replanned) or "nothing"
        OUT.print(f"{proposal.taken.verb}: taken. Planned anew: {planned}.", markup=False)


@command
async def approve(id_: Id, by: As, config: Config = None, as_json: Json = False) -> None:
    """Approve a decision as the second person, or let a saga pass its gate.

    Example: starter.py approve D-1a2b3c4d5e6f --as fiona
    """
    async with open_office(config) as office:
        _show_proposal(await office.sagas.approve(id_, by=by), as_json)


@command
async def cancel(id_: Id, config: Config = None, as_json: Json = False) -> None:
    """Ask a saga to roll back; past its pivot it only takes note.

    Example: starter.py cancel 006DT0000000001
    """
    async with open_office(config) as office:
        await office.sagas.cancel(id_)
        workflow_id = office.sagas.workflow_id(id_)
        if as_json:
            show_json({"workflow_id": workflow_id, "asked": True})
        else:
            OUT.print(f"{workflow_id}: asked to roll back.", markup=False)


@command
async def sweep(config: Config = None, as_json: Json = False) -> None:
    """Start terminated sagas again, now instead of at the next Schedule.

    Example: starter.py sweep
    """
    async with open_office(config) as office:
        swept = await office.sweeper.sweep(Sweep())
        if as_json:
            show_json(swept)
            return
        rows = [(id_, "rolled back") for id_ in swept.rolled_back]
        show_table("Swept", ("saga", "how"), rows + [(id_, "forward") for id_ in swept.forward])


@command
async def trace(id_: Id, config: Config = None, as_json: Json = False) -> None:
    """Show everything that was done for a saga, from the audit trail.

    Example: starter.py trace 006DT0000000001
    """
    async with open_office(config) as office:
        workflow_id = office.sagas.workflow_id(id_)
        entries = await office.store.audit.trail(workflow_id)
        if not entries:
            fail(f"Nothing is known of {workflow_id}.")
        if as_json:
            show_json(entries)
            return
        show_table(
            workflow_id,
            ("at", "who", "act", "what"),
            ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, e.act, e.data_json) for e in entries),
        )
        broken = await office.store.audit.verify(workflow_id)
        OUT.print("chain intact" if broken is None else f"CHAIN BROKEN at entry {broken}")
