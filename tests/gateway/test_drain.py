"""The drain: groups, orders, retries, buries, and loses nothing when it is killed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from canonical.saga import WorkItemKind
from canonical.time_to_billing import EntriesChanged, ProjectPeriod, TimeToBillingInput
from gateway.drain import BUSY, Drain, Rules
from gateway.metrics import GatewayMetrics
from gateway.routing import (
    EntriesChangedData,
    ProjectEntries,
    Refused,
    Routed,
    Target,
    Verdict,
    entries_changed,
    entry_ref,
)
from gateway.signals import NotSent, ServerAway
from store import Store
from store.errors import StoreUnavailable
from store.inbox import EventState, NewEvent, Taken
from tests.gateway.scene import until


def target(project: str, signal: str = "changed") -> Target:
    of = ProjectPeriod(psa="kantata", project_id=project, period="2026-11")
    return Target(
        workflow="ApprovedTimeToBilling",
        workflow_id=f"time-to-billing/kantata/{project}/2026-11",
        task_queue="sagas",
        start=TimeToBillingInput(of=of),
        signal=signal,
        message=lambda ids, correlation_id: EntriesChanged(
            entries=tuple(map(entry_ref, ids)), correlation_id=correlation_id
        ),
    )


def event(number: int, project: str = "p", ids: Sequence[str] = ()) -> NewEvent:
    return NewEvent(
        connection="kantata",
        event_id=f"e-{number}",
        protocol="cloudevents",
        kind="changed",
        subject=project,
        body=",".join(ids or [f"time:{number}"]).encode(),
        correlation_id=f"c-{number}",
    )


@dataclass
class PlainRouter:
    """The subject is the project, the body the ids; `verdicts` by subject."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    fails: Callable[[Taken], Exception | None] = lambda _: None

    async def route(self, events: Sequence[Taken]) -> Sequence[Routed | Refused]:
        for each in events:
            error = self.fails(each)
            if error is not None:
                raise error
        return [self._one(each) for each in events if each.event.subject != "forgotten"]

    def _one(self, taken: Taken) -> Routed | Refused:
        event = taken.event
        if event.subject in self.verdicts:
            verdict = self.verdicts[event.subject]
            return Refused(event.id, verdict, "unknown_project", f"Nobody knows {event.subject}.")
        return Routed(event.id, target(event.subject), tuple(taken.body.decode().split(",")))


@dataclass
class Recorder:
    """Takes signals; `fails` by project."""

    sent: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
        project = target.workflow_id.split("/")[2]
        await asyncio.sleep(0)
        if project in self.fails:
            raise self.fails[project]
        self.sent.append((project, tuple(ids), correlation_id))


@dataclass
class Held(Recorder):
    """Takes signals, and does not answer before it may."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
        self.entered.set()
        await self.release.wait()
        await super().send(target, ids, correlation_id)


@dataclass
class Scene:
    store: Store
    router: PlainRouter = field(default_factory=PlainRouter)
    sender: Recorder = field(default_factory=Recorder)
    rules: Rules = field(default_factory=lambda: Rules(tick_seconds=0.05, attempts=3))

    @property
    def drain(self) -> Drain:
        metrics = GatewayMetrics()
        return Drain(self.store.inbox, self.router, self.sender, metrics, self.rules)

    async def states(self) -> dict[str, tuple[str, int, str]]:
        events = await self.store.inbox.list(limit=1000)
        return {each.event_id: (each.state.value, each.attempts, each.reason) for each in events}

    async def due_now(self) -> None:
        """Let all that wait for their turn have it."""
        await self.store.database.run(
            text("UPDATE event_inbox SET next_attempt_at = now() - interval '1 second'")
        )


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


async def test_a_workflow_gets_one_signal_of_all_its_ids_in_order(scene: Scene) -> None:
    numbers = range(300)
    await scene.store.inbox.put([event(n, f"p{n % 3}") for n in numbers])
    await scene.store.inbox.put([event(300, "p0", ["time:0", "expense:9"])])
    assert await scene.drain.tick() == 301
    assert sorted(project for project, _, _ in scene.sender.sent) == ["p0", "p1", "p2"]
    for project, ids, correlation in scene.sender.sent:
        own = [f"time:{n}" for n in numbers if f"p{n % 3}" == project]
        assert list(ids) == own + (["expense:9"] if project == "p0" else [])
        assert correlation == f"c-{project[1]}"
    events = await scene.store.inbox.list(limit=1000)
    assert {each.state for each in events} == {EventState.DELIVERED}
    assert {each.workflow_id for each in events} == {
        f"time-to-billing/kantata/p{n}/2026-11" for n in range(3)
    }
    assert await scene.drain.tick() == 0


async def test_a_signal_has_at_most_500_ids_and_the_rest_follows_tick_by_tick(scene: Scene) -> None:
    batches = [[f"time:{n}-{i}" for i in range(200)] for n in range(6)]
    await scene.store.inbox.put([event(n, ids=ids) for n, ids in enumerate(batches)])
    await scene.store.inbox.put([event(9, "other")])
    drain = scene.drain
    assert await drain.tick() == 3
    assert [len(ids) for _, ids, _ in scene.sender.sent] == [400, 1]
    waits = (await scene.states())["e-2"]
    assert waits == ("received", 0, "")
    running = asyncio.create_task(drain.run())
    await until(lambda: len(scene.sender.sent) == 4)
    running.cancel()
    ids = [id_ for project, ids, _ in scene.sender.sent if project == "p" for id_ in ids]
    assert ids == [id_ for batch in batches for id_ in batch]


async def test_two_drains_share_the_work_and_neither_waits(scene: Scene) -> None:
    held = Held()
    slow = Drain(scene.store.inbox, scene.router, held, GatewayMetrics(), scene.rules)
    await scene.store.inbox.put([event(n, f"p{n % 3}") for n in range(30)])
    ticking = asyncio.create_task(slow.tick())
    await held.entered.wait()
    assert await scene.drain.tick() == 0, "the other one has them all"
    await scene.store.inbox.put([event(n, "p0") for n in range(30, 40)])
    assert await scene.drain.tick() == 10
    assert [ids for _, ids, _ in scene.sender.sent] == [tuple(f"time:{n}" for n in range(30, 40))]
    held.release.set()
    assert await ticking == 30
    assert {state for state, _, _ in (await scene.states()).values()} == {"delivered"}
    sent = [id_ for _, ids, _ in held.sent + scene.sender.sent for id_ in ids]
    assert sorted(sent) == sorted(f"time:{n}" for n in range(40)), "each of them once"


async def test_a_busy_drain_waits_so_that_a_signal_carries_more(scene: Scene) -> None:
    scene.rules = Rules(tick_seconds=0.25)
    loop, drain = asyncio.get_running_loop(), scene.drain
    await scene.store.inbox.put([event(n) for n in range(4 * BUSY)])
    started = loop.time()
    running = asyncio.create_task(drain.run())
    await until(lambda: bool(scene.sender.sent))
    await scene.store.inbox.put([event(4 * BUSY)])
    await until(lambda: len(scene.sender.sent) == 2)
    running.cancel()
    assert loop.time() - started >= 4 * scene.rules.tick_seconds


async def test_verdicts_bury_ignore_or_wait(scene: Scene) -> None:
    scene.router.verdicts = {
        "nobody": Verdict.DEAD,
        "boring": Verdict.IGNORED,
        "early": Verdict.RETRY,
    }
    subjects = ("nobody", "boring", "early", "forgotten", "good")
    await scene.store.inbox.put([event(n, subject) for n, subject in enumerate(subjects)])
    assert await scene.drain.tick() == 3
    reason = "unknown_project: Nobody knows "
    assert await scene.states() == {
        "e-0": ("dead", 1, f"{reason}nobody."),
        "e-1": ("ignored", 1, f"{reason}boring."),
        "e-2": ("received", 1, f"{reason}early."),
        "e-3": ("received", 1, "not_routed: The router gave no answer."),
        "e-4": ("delivered", 1, ""),
    }
    (stored,) = await scene.store.work_items.list()
    item = stored.item
    assert item.kind is WorkItemKind.DEAD_LETTER
    assert (item.failure.reason, item.failure.message) == (
        "unknown_project",
        "Nobody knows nobody.",
    )
    assert item.connection == "kantata"
    assert [message.kind for message in await scene.store.outbox.unsent()] == ["work_item_opened"]
    assert [sent[0] for sent in scene.sender.sent] == ["good"]


async def test_what_fails_comes_back_later_each_time_and_dies_after_its_budget(
    scene: Scene,
) -> None:
    scene.sender.fails = {"bad": NotSent("workflow is not well")}
    await scene.store.inbox.put([event(1, "bad"), event(2, "good")])
    delays = []
    for attempt in (1, 2):
        await scene.drain.tick()
        assert (await scene.states())["e-1"] == (
            "received",
            attempt,
            "not_sent: workflow is not well",
        )
        (waits,) = await scene.store.inbox.list(state=EventState.RECEIVED)
        row = await scene.store.database.first(text("SELECT now() AS now"))
        assert row is not None
        delays.append((waits.next_attempt_at - row.now).total_seconds())
        assert await scene.drain.tick() == 0, "it is not due yet"
        await scene.due_now()
    assert 0.5 < delays[0] < 1.3
    assert 1.4 < delays[1] < 2.6
    assert await scene.drain.tick() == 1
    assert (await scene.states())["e-1"][0] == "dead"
    assert [sent[0] for sent in scene.sender.sent] == ["good"]
    assert len(await scene.store.work_items.list()) == 1


async def test_a_replay_tries_again_closes_the_item_and_may_die_anew(scene: Scene) -> None:
    scene.router.verdicts = {"p": Verdict.DEAD}
    await scene.store.inbox.put([event(1)])
    await scene.drain.tick()
    (dead,) = await scene.store.inbox.list(state=EventState.DEAD)
    assert await scene.store.inbox.replay([dead.id, 4711], actor="olivia") == {dead.id}
    assert await scene.store.work_items.list() == ()
    await scene.drain.tick()
    (second,) = await scene.store.work_items.list()
    assert second.item.park == 2
    scene.router.verdicts = {}
    assert await scene.store.inbox.replay([dead.id], actor="olivia") == {dead.id}
    assert await scene.drain.tick() == 1
    assert (await scene.states())["e-1"] == ("delivered", 1, "")
    assert await scene.store.work_items.list() == ()
    trail = await scene.store.audit.trail("events/kantata")
    replays = [entry for entry in trail if entry.act == "event_replayed"]
    assert [entry.actor for entry in replays] == ["olivia", "olivia"]
    assert await scene.store.inbox.replay([4711], actor="olivia") == set()


async def test_a_server_that_is_away_costs_no_attempt_and_stops_only_its_share(
    scene: Scene,
) -> None:
    scene.sender.fails = {"bad": ServerAway("unavailable")}
    await scene.store.inbox.put([event(1, "good"), event(2, "bad")])
    for _ in range(5):
        with pytest.raises(ServerAway):
            await scene.drain.tick()
    assert await scene.states() == {"e-1": ("delivered", 1, ""), "e-2": ("received", 0, "")}
    scene.sender.fails = {}
    assert await scene.drain.tick() == 1
    assert [sent[0] for sent in scene.sender.sent] == ["good", "bad"]


async def test_an_event_on_which_the_router_breaks_stands_alone(scene: Scene) -> None:
    scene.router.fails = lambda taken: (
        ValueError("what is this?") if taken.event.subject == "poison" else None
    )
    await scene.store.inbox.put([event(1, "good"), event(2, "poison"), event(3, "good")])
    assert await scene.drain.tick() == 2
    assert (await scene.states())["e-2"] == ("received", 1, "not_routed: ValueError")
    scene.router.fails = lambda _: StoreUnavailable("gone")
    await scene.store.inbox.put([event(4, "good")])
    with pytest.raises(StoreUnavailable):
        await scene.drain.tick()
    assert (await scene.states())["e-4"] == ("received", 0, "")


async def test_two_drains_share_the_events_and_a_killed_one_gives_its_own_back(
    scene: Scene,
) -> None:
    await scene.store.inbox.put([event(n) for n in range(4)])
    async with scene.store.inbox.batch(2) as first, scene.store.inbox.batch(10) as second:
        assert [each.event.event_id for each in first.taken] == ["e-0", "e-1"]
        assert [each.event.event_id for each in second.taken] == ["e-2", "e-3"]
    # Cancelled between its signals and its note of them: sent again, never lost.
    held = asyncio.Event()

    class Stuck(Recorder):
        async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
            await super().send(target, ids, correlation_id)
            held.set()
            await asyncio.Event().wait()

    scene.sender = Stuck()
    tick = asyncio.create_task(scene.drain.tick())
    await held.wait()
    tick.cancel()
    await asyncio.gather(tick, return_exceptions=True)
    assert {state for state, _, _ in (await scene.states()).values()} == {"received"}
    sent = scene.sender.sent
    scene.sender = Recorder()
    assert await scene.drain.tick() == 4
    assert [ids for _, ids, _ in scene.sender.sent] == [ids for _, ids, _ in sent]


def test_entries_of_many_events_are_those_of_their_project_and_period_each_once() -> None:
    def said(project: str, *entries: str, period: str | None = None) -> EntriesChangedData:
        return EntriesChangedData(project=project, entries=entries, period=period)

    changes = [
        said("1", "time:2", "time:1"),
        said("2", "expense:1"),
        said("1", "time:1", "time:3"),
        said("1", "time:1", period="2026-10"),
    ]
    assert entries_changed(changes) == (
        ProjectEntries("1", None, ("time:2", "time:1", "time:3")),
        ProjectEntries("2", None, ("expense:1",)),
        ProjectEntries("1", "2026-10", ("time:1",)),
    )
