"""Pollers: nothing missed, nothing twice, and a gap noticed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from gateway.metrics import GatewayMetrics
from gateway.pollers import FeedEvent, Polled, Poller
from store import Store
from tests.gateway.scene import until

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass
class FakeFeed:
    """Events by the time at which they show up in the feed; read unordered, and twice."""

    events: dict[str, datetime] = field(default_factory=dict)
    spans: list[tuple[datetime, datetime]] = field(default_factory=list)
    broken: bool = False

    async def read(self, since: datetime, until: datetime) -> AsyncIterator[FeedEvent]:
        self.spans.append((since, until))
        found = [name for name, at in self.events.items() if since <= at <= until]
        for name in [*reversed(found), *found]:
            yield FeedEvent(name, "timesheet:updated", "77")
            if self.broken:
                raise ConnectionError("the feed broke off")


@dataclass
class Scene:
    store: Store
    now: datetime = NOW
    feed: FakeFeed = field(default_factory=FakeFeed)
    gaps: list[tuple[str, datetime | None, datetime]] = field(default_factory=list)
    compare_fails: bool = False

    async def gap(self, connection: str, since: datetime | None, until: datetime) -> None:
        if self.compare_fails:
            raise ConnectionError("away")
        self.gaps.append((connection, since, until))

    @property
    def poller(self) -> Poller:
        polled = Polled(
            "kantata",
            self.feed,
            self.gap,
            every=timedelta(milliseconds=20),
            clock=lambda: self.now,
        )
        return Poller(polled, self.store.inbox, self.store.poll_marks, GatewayMetrics())

    async def ids(self) -> list[str]:
        return sorted(event.event_id for event in await self.store.inbox.list())


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


async def test_reads_overlap_and_the_inbox_counts_once(scene: Scene) -> None:
    scene.feed.events = {"a": NOW - timedelta(minutes=1)}
    assert await scene.poller.poll() == 1
    assert scene.gaps == [("kantata", None, NOW)], "never read before: all is to be compared"
    # It happened before the mark and shows up after it.
    scene.feed.events["late"] = NOW - timedelta(minutes=3)
    scene.now += timedelta(seconds=30)
    scene.feed.events["b"] = scene.now
    assert await scene.poller.poll() == 2
    assert await scene.poller.poll() == 0
    assert await scene.ids() == ["a", "b", "late"]
    assert scene.feed.spans[1] == (NOW - timedelta(minutes=5), scene.now)
    assert len(scene.gaps) == 1
    assert await scene.store.poll_marks.get("kantata") == scene.now


async def test_a_broken_read_keeps_the_mark_and_is_read_again(scene: Scene) -> None:
    await scene.poller.poll()
    scene.now += timedelta(hours=1)
    scene.feed.events = {"a": scene.now, "b": scene.now}
    scene.feed.broken = True
    with pytest.raises(ConnectionError):
        await scene.poller.poll()
    assert await scene.store.poll_marks.get("kantata") == NOW
    scene.feed.broken = False
    assert await scene.poller.poll() == 2
    assert await scene.ids() == ["a", "b"]


async def test_an_outage_longer_than_the_memory_is_compared_before_the_mark_moves(
    scene: Scene,
) -> None:
    await scene.poller.poll()
    scene.now += timedelta(days=8, hours=23)
    await scene.poller.poll()
    assert len(scene.gaps) == 1, "the feed still knew everything"
    mark = scene.now
    scene.now += timedelta(days=10)
    scene.compare_fails = True
    with pytest.raises(ConnectionError):
        await scene.poller.poll()
    assert await scene.store.poll_marks.get("kantata") == mark
    scene.compare_fails = False
    await scene.poller.poll()
    assert scene.gaps[1:] == [("kantata", mark, scene.now)]
    assert scene.feed.spans[-1][0] == scene.now - timedelta(days=9)
    assert await scene.store.poll_marks.get("kantata") == scene.now


async def test_the_loop_goes_on_after_failures(scene: Scene) -> None:
    scene.compare_fails = True
    running = asyncio.create_task(scene.poller.run())
    await until(lambda: len(scene.feed.spans) > 2)
    scene.compare_fails = False
    await until(lambda: bool(scene.gaps))
    assert not running.done()
    running.cancel()
