"""Commands on engagements: what contracts fix about billing, as versions in the store."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from canonical.engagement import Engagement
from operations.cli.options import Config, Json
from operations.cli.output import command, fail, say, show_json, show_table
from operations.composition import open_office

FILE_BYTES_MAX = 1_000_000

engagements_app = typer.Typer(no_args_is_help=True, help="Contracts as billing needs them.")


@engagements_app.command("import", epilog="Example: starter.py engagement import contract.yaml")
@command
async def import_engagement(
    file: Annotated[Path, typer.Argument(help="YAML: one engagement, see docs/howto/billing.md.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep one version of an engagement; the same file again changes nothing."""
    engagement = read_engagement(file)
    async with open_office(config) as office:
        await office.store.engagements.put(engagement)
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
            "starter.py engagement import FILE."
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


def read_engagement(file: Path) -> Engagement:
    """Return the engagement in a YAML file; a mistake ends the command, naming the field."""
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            fail(f"{file} is larger than {FILE_BYTES_MAX} bytes.")
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        fail(f"{file} cannot be read: {error}")
    try:
        return Engagement.model_validate(content, extra="forbid")
    except ValidationError as error:
        wrong = "\n".join(
            f"{file}: {'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}."
            for each in error.errors(include_input=False)
        )
        fail(wrong)
