"""Commands on the inbox: what arrived, what became of it, and another try for what died."""

from typing import Annotated

import typer

from operations.cli.options import Config, Json
from operations.cli.output import command, fail, first_of, say, short, show_json, show_table
from operations.codec import record_cipher
from operations.config import find_config, load_config
from operations.servers import check_store
from store import Store, make_store
from store.inbox import REPLAY_MAX, EventState, InboxEvent

ACTOR = "command line"
REASON_LENGTH = 120
BODY_LENGTH = 20_000

events_app = typer.Typer(no_args_is_help=True, help="Events in: list, show, replay.")

EventId = Annotated[int, typer.Argument(help="An event's number, as `events list` shows it.")]


async def _store(config: str | None) -> Store:
    """Connect to the store, and make sure that it answers."""
    loaded = load_config(find_config(config))
    cipher = record_cipher(loaded.worker.codec_key)
    store = make_store(loaded.store.secret_url, 1, cipher)
    await check_store(store, loaded)
    return store


@events_app.command("list", epilog="Example: starter.py events list --state dead")
@command
async def list_events(
    state: Annotated[EventState | None, typer.Option(help="Only those in this state.")] = None,
    connection: Annotated[str, typer.Option(help="Only those of this connection.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List events, the youngest first."""
    store = await _store(config)
    try:
        found = await store.inbox.list(state=state, connection=connection or None, limit=limit + 1)
    finally:
        await store.aclose()
    events = first_of(found, limit)
    if as_json:
        show_json(list(events))
        return
    columns = ("id", "arrived", "connection", "kind", "subject", "state", "tries", "reason")
    show_table("Events", columns, map(_row, events))


def _row(event: InboxEvent) -> tuple[object, ...]:
    return (
        event.id,
        f"{event.received_at:%Y-%m-%d %H:%M:%S}",
        event.connection,
        event.kind,
        event.subject,
        event.state,
        event.attempts,
        short(event.reason, REASON_LENGTH),
    )


@events_app.command("show", epilog="Example: starter.py events show 17")
@command
async def show_event(event: EventId, config: Config = None, as_json: Json = False) -> None:
    """Show an event with the body that came."""
    store = await _store(config)
    try:
        taken = await store.inbox.get(event)
    finally:
        await store.aclose()
    if taken is None:
        fail(f"There is no event {event}.")
    text = taken.body.decode(errors="replace")
    if as_json:
        show_json(
            {
                **taken.event.model_dump(mode="json"),
                "headers": taken.headers_json,
                "body": text,
                "unreadable": taken.unreadable,
            }
        )
        return
    for name, value in taken.event.model_dump(mode="json").items():
        if value not in ("", None):
            say(f"{name:<16}{value}")
    if taken.headers_json:
        say(f"{'headers':<16}{taken.headers_json}")
    said = f"not readable: {taken.unreadable}" if taken.unreadable else short(text, BODY_LENGTH)
    say(f"\n{said}")


@events_app.command("replay", epilog="Example: starter.py events replay 17 18")
@command
async def replay_events(
    events: Annotated[list[int] | None, typer.Argument(help="Events' numbers.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All that are dead.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let events that ended try again; the work items of dead ones are closed.

    Receivers count an id once: a replay of what was delivered does no harm. With --all-dead, at
    most 1,000 at a time. Exit code 1 says that a number named no event that has ended.
    """
    if bool(events) == all_dead:
        raise typer.BadParameter("give numbers of events, or --all-dead")
    store = await _store(config)
    try:
        wanted = list(dict.fromkeys(events or []))
        if all_dead:
            dead = await store.inbox.list(state=EventState.DEAD, limit=REPLAY_MAX)
            wanted = [event.id for event in dead]
        replayed = await store.inbox.replay(wanted, actor=ACTOR)
    finally:
        await store.aclose()
    missing = [event for event in wanted if event not in replayed]
    if as_json:
        show_json({"replayed": sorted(replayed), "not_replayed": missing})
    elif replayed or all_dead:
        say(f"Replayed: {len(replayed)}.")
    if missing:
        fail(f"No event that has ended: {', '.join(map(str, missing))}.")
