"""Commands that check: `connections check` and `policies check`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from adapters.errors import AdapterError
from adapters.ports import Connected
from operations.cli.output import OUT, command, fail, show_json, show_table
from operations.cli.sagas import Config, Json
from operations.composition import build_house
from operations.config import find_config, load_config
from policies.bundle import load_bundle

connections_app = typer.Typer(no_args_is_help=True, help="The connections of dealthread.toml.")
policies_app = typer.Typer(no_args_is_help=True, help="The policy bundle.")


class CheckResult(BaseModel):
    """What one step of a check saw."""

    connection: str
    step: str
    ok: bool
    seen: str
    remedy: str = ""


@connections_app.command("check", epilog="Example: starter.py connections check netsuite")
@command
async def check_connections(
    name: Annotated[str, typer.Argument(help="One connection; all without it.")] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell an administrator what is missing, step by step; nothing is written anywhere."""
    house = build_house(load_config(find_config(config)))
    try:
        ports = house.ports.all()
        if name and name not in ports:
            fail(f"There is no connection {name!r}; there are {', '.join(sorted(ports))}.")
        results = [
            result
            for each in ([ports[name]] if name else ports.values())
            for result in await _check(each)
        ]
    finally:
        await house.aclose()
    if as_json:
        show_json(results)
    else:
        show_table(
            "Connections",
            ("connection", "step", "", "seen"),
            ((r.connection, r.step, "ok" if r.ok else "FAILED", _told(r)) for r in results),
        )
    if not all(result.ok for result in results):
        raise typer.Exit(1)


async def _check(port: Connected) -> list[CheckResult]:
    """Run the steps until one fails: the later ones assume it."""
    results = []
    for check in port.checks():
        try:
            seen, ok, remedy = await check.run(), True, ""
        except AdapterError as error:
            seen, ok, remedy = str(error), False, check.remedy
        results.append(
            CheckResult(
                connection=port.connection, step=check.name, ok=ok, seen=seen, remedy=remedy
            )
        )
        if not ok:
            break
    return results


def _told(result: CheckResult) -> str:
    return result.seen if result.ok else f"{result.seen}\n{result.remedy}"


@policies_app.command("check", epilog="Example: starter.py policies check policies/bundles/default")
@command
async def check_policies(
    folder: Annotated[Path | None, typer.Argument(help="The bundle's folder.")] = None,
    as_json: Json = False,
) -> None:
    """Load a bundle and say all that is wrong with it, by file, line and field."""
    bundle = load_bundle(folder)
    if as_json:
        show_json({"hash": bundle.hash, "effective": bundle.policies.effective})
    else:
        entities = ", ".join(sorted(bundle.policies.legal_entities))
        OUT.print(f"The bundle is valid: {bundle.hash[:12]}, legal entities {entities}.")
