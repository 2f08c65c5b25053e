"""Commands on alerts: what is up, which channels work, who is left in peace for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from operations.alerts import send_test, silence
from operations.cli.options import Config as ConfigPath
from operations.cli.options import Json
from operations.cli.output import command, progress, say, short, show_json, show_table
from operations.composition import load_policies
from operations.config import Config, find_config, load_config
from operations.servers import check_store
from policies.alerting import Rule, Standing
from store import Store, make_store
from store.alerts import Round, StoredState
from store.outbox import ChannelBacklog

ERROR_SHOWN: Final = 80

alerts_app = typer.Typer(no_args_is_help=True, help="Service levels, and who is told: list, test.")

By = Annotated[str, typer.Option("--as", help="Who, by name in dealthread.toml.")]


@asynccontextmanager
async def _opened(path: str | None) -> AsyncIterator[tuple[Config, Store]]:
    config = load_config(find_config(path))
    store = make_store(config.store.secret_url, 1)
    try:
        await check_store(store, config)
        yield config, store
    finally:
        await store.aclose()


@alerts_app.command("list", epilog="Example: starter.py alerts list --all")
@command
async def list_alerts(
    everything: Annotated[
        bool, typer.Option("--all", help="Also rules that hold, and when they were measured.")
    ] = False,
    config: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Show the alerts that are up, and how the channels fare."""
    async with _opened(config) as (loaded, store):
        rules = load_policies(loaded).policies.alerts.rules
        states = await store.alerts.states(datetime.now(UTC))
        rounds = await store.alerts.rounds()
        backlog = {each.channel: each for each in await store.outbox.backlog()}
    raised = [each for each in states if each.standing == Standing.RAISED]
    known = {*loaded.alerts.channels, *backlog}
    channels = [backlog.get(name) or _idle(name) for name in sorted(known)]
    unknown = sorted(
        {name for rule in rules.values() for name in rule.channels if name not in known}
    )
    if as_json:
        show_json(
            {
                "alerts": states if everything else raised,
                "rules": {name: _measured(name, rules[name], rounds) for name in sorted(rules)},
                "channels": channels,
                "unknown_channels": unknown,
            }
        )
        return
    _show_alerts(raised)
    if everything:
        _show_rules(rules, rounds)
    _show_channels(channels)
    for each in rounds:
        if each.error and each.rule in rules:
            say(f"not measured  {each.rule}: {short(each.error, ERROR_SHOWN)}", style="red")
    for name in unknown:
        say(f"unknown       {name}: alerts.yaml names it, dealthread.toml does not", style="yellow")


@alerts_app.command("test", epilog="Example: starter.py alerts test ops_chat")
@command
async def check_channel(
    channel: Annotated[str, typer.Argument(help="Its name in dealthread.toml.")],
    config: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Send a test message to a channel."""
    loaded = load_config(find_config(config))
    with progress() as shown:
        shown.add_task("sending …")
        scheme = await send_test(loaded, channel)
    if as_json:
        show_json({"channel": channel, "scheme": scheme, "sent": True})
    else:
        say(f"sent  {channel}: a test message by {scheme}")


@alerts_app.command(
    "silence",
    epilog='Example: starter.py alerts silence inbox_late --for 4h --because "migration" --as maya',
)
@command
async def silence_rule(
    rule: Annotated[str, typer.Argument(help="A rule of alerts.yaml.")],
    by: By,
    because: Annotated[str, typer.Option(help="The reason, for the audit trail.")],
    span: Annotated[str, typer.Option("--for", help="How long: 30m, 4h, 2d; 30 days at most.")],
    entity: Annotated[str, typer.Option(help="Only at this legal entity.")] = "",
    config: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Let nobody be told of a rule for a while; what is still up afterwards is told then."""
    async with _opened(config) as (loaded, store):
        bundle = load_policies(loaded)
        until = await silence(loaded, store, bundle, rule, entity, span, by=by, because=because)
    if as_json:
        show_json({"rule": rule, "entity": entity, "silenced_until": until})
    else:
        say(f"silenced  {rule}{f' at {entity}' if entity else ''} until {until:%Y-%m-%d %H:%M} UTC")


def _idle(name: str) -> ChannelBacklog:
    return ChannelBacklog(channel=name, waiting=0, given_up=0)


def _measured(name: str, rule: Rule, rounds: tuple[Round, ...]) -> dict[str, object]:
    found = next((each for each in rounds if each.rule == name), None)
    judged = None if found is None else found.judged_at
    error = "" if found is None else found.error
    return {**rule.model_dump(mode="json"), "judged_at": judged, "error": error}


def _show_alerts(raised: list[StoredState]) -> None:
    if not raised:
        say("No alert is up.")
        return
    rows = (
        (
            each.rule,
            each.entity,
            each.alert.severity,
            each.alert.count,
            "" if each.alert.since is None else f"{each.alert.since:%Y-%m-%d %H:%M}",
            "; ".join(map(str, each.alert.money)),
            "" if each.raised_at is None else f"{each.raised_at:%Y-%m-%d %H:%M}",
            "" if each.silenced_until is None else f"{each.silenced_until:%Y-%m-%d %H:%M}",
        )
        for each in raised
    )
    columns = ("rule", "at", "severity", "count", "oldest (UTC)", "money", "raised", "silenced to")
    show_table("Alerts", columns, rows)


def _show_rules(rules: dict[str, Rule], rounds: tuple[Round, ...]) -> None:
    judged = {each.rule: f"{each.judged_at:%Y-%m-%d %H:%M}" for each in rounds}
    rows = (
        (name, rule.measure, f"{rule.over_seconds:g}", rule.severity, judged.get(name, "never"))
        for name, rule in rules.items()
    )
    show_table("Rules", ("rule", "measure", "over (s)", "severity", "measured (UTC)"), rows)


def _show_channels(channels: list[ChannelBacklog]) -> None:
    if not channels:
        say("No channel is configured: docs/howto/alerts.md says how.")
        return
    rows = (
        (
            each.channel,
            each.waiting,
            "" if each.oldest is None else f"{each.oldest:%Y-%m-%d %H:%M}",
            each.given_up,
            short(each.error, ERROR_SHOWN),
        )
        for each in channels
    )
    columns = ("channel", "waiting", "since (UTC)", "given up (7 days)", "last error")
    show_table("Channels", columns, rows)
