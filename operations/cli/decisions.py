"""Commands by which people decide: resolve and approve."""

from typing import Annotated

import typer

from canonical.saga import Effect, Verb
from operations.cli.options import Config, Id, Json
from operations.cli.output import command, fail, say, show_json, show_table
from operations.composition import open_office
from operations.sagas import Proposal

As = Annotated[str, typer.Option("--as", help="Who decides: a name under [people].")]


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the external effects only.")
    ] = False,
    by: As = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Decide about a work item."""
    if not by and not dry_run:
        raise typer.BadParameter("say who decides: --as NAME", param_hint="--as")
    corrections = _corrections(set_ or [])
    async with open_office(config) as office:
        item = await office.sagas.work_item(id_, park)
        if dry_run:
            _show_effects(verb, await office.sagas.effects(item, verb), as_json)
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


def _show_effects(verb: Verb, effects: tuple[Effect, ...], as_json: bool) -> None:
    if as_json:
        show_json(list(effects))
    elif not effects:
        say(f"{verb} would touch no system by itself.")
    else:
        rows = ((e.act, e.step, e.system, e.what) for e in effects)
        show_table(f"{verb} would, in this order", ("act", "step", "system", "what"), rows)


@command
async def approve(id_: Id, by: As, config: Config = None, as_json: Json = False) -> None:
    """Approve a decision (D-…) as the second person, or let a saga pass its gate."""
    async with open_office(config) as office:
        _show_proposal(await office.sagas.approve(id_, by=by), as_json)


def _show_proposal(proposal: Proposal, as_json: bool) -> None:
    if as_json:
        show_json({"decision": proposal.decision, "taken": proposal.taken})
    elif proposal.taken is None:
        say(
            f"{proposal.decision.id} needs a second person: "
            f"starter.py approve {proposal.decision.id} --as NAME"
        )
    else:
        planned = ", ".join(proposal.taken.replanned)
        anew = f" Planned anew: {planned}." if planned else ""
        say(f"{proposal.taken.verb}: the saga has taken it.{anew}")
