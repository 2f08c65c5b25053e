"""Commands for administrators: `connections check`, `policies check` and `migrate`."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from adapters.errors import AdapterError
from adapters.ports import Connected
from operations.cli.options import Config, Json
from operations.cli.output import ERR, command, fail, say, show_json, show_table
from operations.composition import build_house
from operations.config import ConfigInvalid, find_config, load_config
from policies.bundle import BundleInvalid, load_bundle
from store import make_store

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
        rows = ((r.connection, r.step, "ok" if r.ok else "FAILED", _told(r)) for r in results)
        show_table("Connections", ("connection", "step", "", "seen"), rows)
    failed = [result.connection for result in results if not result.ok]
    if failed:
        fail(f"Not usable yet: {', '.join(failed)}.")


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
    return result.seen if result.ok else f"{result.seen}\nRemedy: {result.remedy}"


@policies_app.command("check", epilog="Example: starter.py policies check policies/bundles/default")
@command
async def check_policies(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The bundle's folder; without it, that of dealthread.toml."),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Load a bundle and say all that is wrong with it, by file, line and field."""
    chosen = folder or _configured(config)
    try:
        bundle = load_bundle(chosen)
    except BundleInvalid as error:
        if as_json:
            show_json({"valid": False, "problems": error.problems})
            raise typer.Exit(1) from None
        for problem in error.problems:
            ERR.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
        count = len(error.problems)
        fail(f"The bundle can't be used: {count} problem{'s' if count > 1 else ''}.")
    entities = sorted(bundle.policies.legal_entities)
    if as_json:
        show_json(
            {
                "valid": True,
                "hash": bundle.hash,
                "effective": bundle.effective.isoformat(),
                "legal_entities": entities,
            }
        )
    else:
        say(
            f"The bundle is valid: {bundle.hash[:12]}, effective {bundle.effective}, "
            f"legal entities {', '.join(entities)}."
        )


def _configured(config: str | None) -> Path | None:
    """Return the configured bundle's folder; None, the one brought along, without a config."""
    try:
        path = find_config(config)
    except ConfigInvalid:
        if config:
            raise
        return None
    return load_config(path).policies.bundle


@command
async def migrate(config: Config = None, as_json: Json = False) -> None:
    """Bring the database's tables up to date; before a new version's workers start."""
    loaded = load_config(find_config(config))
    store = make_store(loaded.store.secret_url, 1)
    try:
        await store.database.migrate()
    finally:
        await store.aclose()
    if as_json:
        show_json({"migrated": True})
    else:
        say("The database is up to date.")
