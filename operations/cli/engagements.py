"""Commands on engagements: what contracts fix about billing, as versions in the store."""

from pathlib import Path
from typing import Annotated

import typer

from canonical.ids import Role
from operations.cli.options import Config, Json
from operations.cli.output import command, fail, say, show_json, show_table
from operations.composition import load_policies, open_office
from operations.config import Config as Loaded
from operations.engagements import Known, read_engagement
from operations.people import ADMIN, FINANCE, OPERATOR, check_role

engagements_app = typer.Typer(no_args_is_help=True, help="Contracts as billing needs them.")


@engagements_app.command(
    "import", epilog="Example: starter.py engagement import contract.yaml --as olivia"
)
@command
async def import_engagement(
    file: Annotated[Path, typer.Argument(help="YAML; see docs/howto/bill-approved-time.md.")],
    by: Annotated[str, typer.Option("--as", help="Who says so, by name in dealthread.toml.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep one version of an engagement; the same file again changes nothing.

    Whose import changes the rates of a draft's lines prepared it, and never releases it.
    """
    async with open_office(config) as office:
        check_role(office.config.people_roles(), by, {OPERATOR, FINANCE, ADMIN}, "importing rates")
        engagement = read_engagement(file, _known(office.config))
        await office.store.engagements.put(engagement, by=by)
    if as_json:
        show_json(engagement)
    else:
        say(
            f"kept  {engagement.id} from {engagement.effective_from}: "
            f"{len(engagement.lines)} contract lines, project {engagement.project_id} "
            f"in {engagement.psa}"
        )


@engagements_app.command("show", epilog="Example: starter.py engagement show 5001")
@command
async def show_engagement(
    project: Annotated[str, typer.Argument(help="The PSA project's id.")],
    psa: Annotated[str, typer.Option(help="PSA connection; the first one without it.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show every version of the engagement that bills a project."""
    async with open_office(config) as office:
        versions = await office.store.engagements.of_project(psa or office.psa, project)
    if not versions:
        fail(
            f"Nothing bills project {project}: provision its deal, or import its contract with "
            "starter.py engagement import FILE --as NAME."
        )
    if as_json:
        show_json(versions)
        return
    rows = (
        (
            str(version.effective_from),
            line.ref,
            line.type,
            line.legal_entity,
            line.currency,
            line.billing_method,
            line.rating,
        )
        for version in versions
        for line in version.lines
    )
    header = ("from", "line", "type", "entity", "currency", "billed by", "rated by")
    show_table(f"Engagement {versions[-1].id}", header, rows)


def _known(config: Loaded) -> Known:
    return Known(
        psas=frozenset(config.role(Role.PSA)),
        erps=frozenset(config.role(Role.ERP)),
        legal_entities=frozenset(load_policies(config).policies.legal_entities),
    )
