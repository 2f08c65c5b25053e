"""`starter.py events`: list, show, replay, on a database of its own."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.drain import Drain, Rules
from gateway.metrics import GatewayMetrics
from gateway.routing import Verdict
from store import make_store
from store.inbox import NewEvent
from tests.cli.conftest import Cli
from tests.gateway.test_drain import PlainRouter, Recorder


async def _filled(url: SecretStr) -> None:
    store = make_store(url, 1)
    events = [
        NewEvent("kantata", f"e-{n}", "cloudevents", "entries", subject, b'{"n": [1]}')
        for n, subject in enumerate(("good", "unknown", "boring"))
    ]
    await store.inbox.put(events)
    router = PlainRouter({"unknown": Verdict.DEAD, "boring": Verdict.IGNORED})
    await Drain(store.inbox, router, Recorder(), GatewayMetrics(), Rules()).tick()
    await store.aclose()


@pytest.fixture
def events(database_url: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    config = tmp_path / "dealthread.toml"
    config.write_text("[store]\n")
    monkeypatch.setenv("DEALTHREAD_STORE__URL", database_url.get_secret_value())
    asyncio.run(_filled(database_url))
    return Cli(config)


def test_lists_shows_and_replays(events: Cli) -> None:
    listed = events.run("events", "list").out
    assert all(word in listed for word in ("delivered", "ignored", "dead", "unknown_project"))
    dead = events.run("events", "list", "--state", "dead", "--json").data
    assert isinstance(dead, list)
    (event,) = dead
    assert isinstance(event, dict)
    assert event["reason"] == "unknown_project: Nobody knows unknown."
    number = str(event["id"])
    none = events.run("events", "list", "--connection", "stripe").out
    assert none == "Events: nothing.\n"

    shown = events.run("events", "show", number)
    assert '{"n": [1]}' in shown.out
    assert events.run("events", "show", number, "--json").data["body"] == '{"n": [1]}'  # type: ignore[index,call-overload]
    assert "There is no event 4711." in events.refused("events", "show", "4711")

    assert events.run("events", "replay", number).out == "Replayed: 1.\n"
    assert events.run("events", "replay", "--all-dead").out == "Replayed: 0.\n"
    assert f"No event that has ended: {number}." in events.refused("events", "replay", number)
    assert events.run("events", "replay").code == 2
    assert events.run("events", "replay", "1", "--all-dead").code == 2
