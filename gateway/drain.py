"""Sends what the inbox holds on to workflows: one signal per workflow and tick, in order.

A batch stays locked in the inbox until its signals are sent. A drain that is killed in between
sends some of them again: at least once, and receivers count an id once. What fails for a reason of
its own is tried again, later each time, up to a budget; then it is a dead letter with a work item.
A server that is away costs no event an attempt.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from canonical.failures import FailureDetail, FailureKind
from canonical.saga import OpenWorkItem, WorkItem, WorkItemKind
from gateway import spans
from gateway.metrics import GatewayMetrics
from gateway.routing import IDS_MAX, Refused, Routed, Router, Target, Verdict
from gateway.signals import NotSent, Sender, ServerAway
from store.errors import StoreError
from store.inbox import EventState, Inbox, InboxEvent, Settled, Taken, work_item_id
from store.models import NAME_MAX, REASON_MAX

BATCH_MAX: Final = 1_000
"""Events of one tick."""
SEND_SECONDS: Final = 20
"""Of one tick, with a signal's own time on top: the database ends a transaction idle for 60."""
BUSY: Final = 100
"""Events of one tick from which on ticks come more rarely: a signal then carries more of them, and
costs Temporal, and us, once what it would have cost four times."""
RARER_MAX: Final = 4
AT_ONCE: Final = 8
"""Signals under way together: more would not be faster, and hold up what is being received."""
RETRY_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 300.0
AWAY_SECONDS_MAX: Final = 15.0
"""The longest pause between two looks at a server that is away."""
RESPOND_WITHIN: Final = timedelta(days=1)
FORGET_EVERY: Final = timedelta(hours=1)

_log = structlog.get_logger("dealthread.drain")


@dataclass(frozen=True)
class Rules:
    """How the drain behaves."""

    tick_seconds: float = 0.25
    attempts: int = 12
    keep: timedelta = timedelta(days=90)
    """How long events that ended well stay."""


@dataclass
class Group:
    """What one workflow gets in this tick, and what has to wait for the next ones."""

    target: Target
    events: list[Routed] = field(default_factory=list)
    ids: dict[str, None] = field(default_factory=dict)
    later: list[Routed] = field(default_factory=list)

    def add(self, routed: Routed) -> None:
        """Take an event in if there is room; once one has to wait, so do those behind it."""
        together = self.ids | dict.fromkeys(routed.ids)
        if self.later or len(together) > IDS_MAX:
            self.later.append(routed)
        else:
            self.ids = together
            self.events.append(routed)

    def delays(self, tick_seconds: float) -> dict[int, float]:
        """Return when each that waits has its turn, by event: so many ids every tick."""
        found: dict[int, float] = {}
        ticks, ids = 1, 0
        for routed in self.later:
            if ids and ids + len(routed.ids) > IDS_MAX:
                ticks, ids = ticks + 1, 0
            ids += len(routed.ids)
            found[routed.event] = ticks * tick_seconds
        return found


@dataclass
class Course:
    """How far the signals of one tick may go."""

    until: float
    """By the loop's clock."""
    away: ServerAway | None = None

    def is_over(self) -> bool:
        """Whether what is not sent yet is better left for the next tick."""
        return self.away is not None or asyncio.get_running_loop().time() > self.until


@dataclass
class Fate:
    """What happened to one event in a tick."""

    workflow_id: str = ""
    failure: tuple[str, str] | None = None
    """Code and sentence."""
    delay: float | None = None
    """Its turn comes later; nothing was wrong with it."""
    left: bool = False
    """The server is away: it stays as it was."""
    refused: Refused | None = None


class Drain:
    """Runs the loop; several processes may: what one has taken, the others do not see."""

    def __init__(
        self, inbox: Inbox, router: Router, sender: Sender, metrics: GatewayMetrics, rules: Rules
    ) -> None:
        self._inbox = inbox
        self._router = router
        self._sender = sender
        self._metrics = metrics
        self._rules = rules
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Tick until cancelled; a server that is away makes the ticks rarer."""
        loop, pause = asyncio.get_running_loop(), self._rules.tick_seconds
        forgotten = float("-inf")
        while True:
            started = loop.time()
            try:
                settled = await self.tick()
                if started - forgotten > FORGET_EVERY.total_seconds():
                    await self._inbox.forget(datetime.now(UTC) - self._rules.keep)
                    forgotten = started
                pause = self._rules.tick_seconds * _rarer(settled)
            except (ServerAway, StoreError) as error:
                pause = min(2 * pause, AWAY_SECONDS_MAX)
                _log.warning("drain_waits", error=str(error), seconds=pause)
            except Exception:
                pause = min(2 * pause, AWAY_SECONDS_MAX)
                _log.exception("drain_failed")
            await asyncio.sleep(max(0.0, pause - (loop.time() - started)))

    async def tick(self) -> int:
        """Send on what is due; return how many events were settled for good.

        Raises:
            ServerAway: some events wait for Temporal; the others were settled.
            StoreError: the inbox or the router's store does not answer; all is as before.
        """
        async with self._inbox.batch(BATCH_MAX) as batch:
            if not batch.taken:
                return 0
            fates = {each.event.id: Fate() for each in batch.taken}
            routed = await self._routed(batch.taken, fates)
            groups = self._grouped(routed, fates)
            taken = {each.event.id: each.event for each in batch.taken}
            course = Course(asyncio.get_running_loop().time() + SEND_SECONDS)
            sends = (
                self._send(group, [taken[each.event] for each in group.events], fates, course)
                for group in groups
            )
            await asyncio.gather(*sends)
            settled, dead = self._settled(batch.taken, fates)
            await batch.settle(settled, dead)
        for each in settled:
            self._metrics.settled.labels(each.state.value).inc()
        if course.away is not None:
            raise course.away
        return sum(each.state is not EventState.RECEIVED for each in settled)

    async def _routed(self, taken: Sequence[Taken], fates: dict[int, Fate]) -> list[Routed]:
        readable = [each for each in taken if not each.unreadable]
        for each in taken:
            if each.unreadable:
                fates[each.event.id].refused = Refused(
                    each.event.id, Verdict.DEAD, "unreadable", f"Its body: {each.unreadable}."
                )
        answers = await self._asked(readable, fates) if readable else []
        answered = {answer.event for answer in answers}
        for each in readable:
            if each.event.id not in answered and fates[each.event.id].failure is None:
                fates[each.event.id].failure = ("not_routed", "The router gave no answer.")
        found = []
        for answer in answers:
            if isinstance(answer, Refused):
                fates[answer.event].refused = answer
            else:
                found.append(answer)
        return found

    async def _asked(
        self, events: Sequence[Taken], fates: dict[int, Fate]
    ) -> Sequence[Routed | Refused]:
        """Ask for all at once; where that fails, one by one, so that a bad one stands alone."""
        try:
            return await self._router.route(events)
        except StoreError:
            raise
        except Exception as error:
            if len(events) == 1:
                _log.exception("event_not_routed", event_id=events[0].event.event_id)
                fates[events[0].event.id].failure = ("not_routed", type(error).__name__)
                return ()
        return [answer for each in events for answer in await self._asked([each], fates)]

    def _grouped(self, routed: Sequence[Routed], fates: dict[int, Fate]) -> list[Group]:
        groups: dict[Target, Group] = {}
        for each in sorted(routed, key=lambda one: one.event):
            if each.target not in groups:
                groups[each.target] = Group(each.target)
            groups[each.target].add(each)
        for group in groups.values():
            for event, delay in group.delays(self._rules.tick_seconds).items():
                fates[event].delay = max(fates[event].delay or 0.0, delay)
        return list(groups.values())

    async def _send(
        self, group: Group, events: Sequence[InboxEvent], fates: dict[int, Fate], course: Course
    ) -> None:
        mine = [fates[each.event] for each in group.events]
        async with self._places:
            if course.is_over():
                for fate in mine:
                    fate.left = True
                return
            with spans.sending(events, group.target):
                failure = await self._sent(group, events[0].correlation_id, course)
        for fate in mine:
            fate.left |= course.away is not None and failure is not None
            fate.failure = fate.failure or failure
            fate.workflow_id = group.target.workflow_id

    async def _sent(
        self, group: Group, correlation_id: str, course: Course
    ) -> tuple[str, str] | None:
        """Send one signal and return what went wrong."""
        workflow_id = group.target.workflow_id
        try:
            await self._sender.send(group.target, tuple(group.ids), correlation_id)
        except ServerAway as error:
            course.away = error
            return "server_away", str(error)
        except NotSent as error:
            return "not_sent", str(error)
        except Exception as error:
            _log.exception("signal_failed", workflow_id=workflow_id, correlation_id=correlation_id)
            return "not_sent", type(error).__name__
        _log.info(
            "signal_sent",
            workflow_id=workflow_id,
            correlation_id=correlation_id,
            events=len(group.events),
        )
        self._metrics.signals.inc()
        return None

    def _settled(
        self, taken: Sequence[Taken], fates: dict[int, Fate]
    ) -> tuple[list[Settled], list[OpenWorkItem]]:
        settled: list[Settled] = []
        dead: list[OpenWorkItem] = []
        for each in taken:
            outcome = self._outcome(each.event, fates[each.event.id])
            if outcome is None:
                continue
            settled.append(outcome)
            if outcome.state is EventState.DEAD:
                dead.append(_dead_letter(each.event, outcome))
        return settled, dead

    def _outcome(self, event: InboxEvent, fate: Fate) -> Settled | None:
        refused, failure = fate.refused, fate.failure
        if refused is not None and refused.verdict is Verdict.RETRY:
            failure = (refused.reason, refused.detail)
        elif refused is not None:
            state = EventState(refused.verdict.value)
            return Settled(event.id, state, reason=_reason(refused.reason, refused.detail))
        if fate.left:
            return None
        if failure is not None:
            return self._failed(event, _reason(*failure))
        if fate.delay is not None:
            return Settled(
                event.id,
                EventState.RECEIVED,
                reason=event.reason,
                tried=False,
                delay_seconds=fate.delay,
            )
        return Settled(event.id, EventState.DELIVERED, workflow_id=fate.workflow_id)

    def _failed(self, event: InboxEvent, reason: str) -> Settled:
        if event.attempts + 1 >= self._rules.attempts:
            return Settled(event.id, EventState.DEAD, reason=reason)
        delay = min(RETRY_SECONDS * 2**event.attempts, RETRY_SECONDS_MAX)
        # Spread, so that what failed together does not come back together.
        delay *= random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return Settled(event.id, EventState.RECEIVED, reason=reason, delay_seconds=delay)


def _rarer(settled: int) -> float:
    """Return how many times the usual pause is due after a tick; one that lags has no time."""
    return 1.0 if settled >= BATCH_MAX else min(max(settled / BUSY, 1.0), RARER_MAX)


def _reason(code: str, detail: str) -> str:
    return f"{code}: {detail}".replace("\x00", "")[:REASON_MAX]


def _dead_letter(event: InboxEvent, outcome: Settled) -> OpenWorkItem:
    code, _, detail = outcome.reason.partition(": ")
    now = datetime.now(UTC)
    # Not those of a saga: nothing waits for an answer, and a replay opens another one.
    workflow_id = f"events/{event.connection}"
    return OpenWorkItem(
        item=WorkItem(
            id=work_item_id(event),
            workflow_id=workflow_id[:NAME_MAX],
            generation=1,
            step="deliver_event",
            key=f"{workflow_id}/{event.event_id}",
            park=event.replays + 1,
            kind=WorkItemKind.DEAD_LETTER,
            failure=FailureDetail(
                kind=FailureKind.REJECTED, reason=code, message=detail, system=event.connection
            ),
            title=f"Event {event.kind} {event.subject}".strip(),
            connection=event.connection,
            opened_at=now,
            respond_by=now + RESPOND_WITHIN,
        )
    )
