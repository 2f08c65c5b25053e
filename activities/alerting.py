"""Service levels and the outbox: measures what waits, raises and clears, and tells people.

Both rounds are safe at any number of workers: states change under a lock, deliveries are leased.
A rule that can't be measured, or a channel that is down, stops no other.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from activities.registration import implements
from canonical import activities as ref
from canonical.alerts import (
    Alert,
    AlertsSent,
    JudgeRules,
    RulesJudged,
    SendAlerts,
    Telling,
    TellingKind,
)
from canonical.saga import WorkItem
from policies.alert_texts import of_alert, of_item, of_many
from policies.alerting import (
    AlertState,
    Rule,
    Standing,
    Taker,
    address_of_alert,
    address_of_item,
    alert_of,
    by_entity,
    next_state,
    takers,
)
from policies.bundle import Bundle
from store import Store
from store.alerts import Change, StoredState
from store.errors import StoreError
from store.outbox import Delivery, OutboxMessage

SINGLY: Final = 10
"""Messages that a channel gets one by one in one round; the rest comes as one summary."""
TAKEN_MAX: Final = 1_000
LEASE_SECONDS: Final = 300.0
ROUND_SECONDS: Final = 120.0
"""When a round stops sending to a channel: well before its lease ends."""
FIRST_DELAY: Final = 30.0
LONGEST_DELAY: Final = 1_800.0
GIVE_UP_SECONDS: Final = 86_400.0
"""How long a message waits for a channel that is down: older news is on the worklist."""
SUMMARY_COMMAND: Final = "starter.py alerts list"

_log = structlog.get_logger("dealthread.alerts")


class NotSent(Exception):
    """A channel did not take a message; the text says why, without secrets."""


class Channel(Protocol):
    """A way to tell people: a chat, a mailbox."""

    @property
    def taker(self) -> Taker:
        """What it takes."""
        ...

    async def send(self, telling: Telling) -> None:
        """Send one message, within a time limit of its own.

        Raises:
            NotSent: it was not taken, or nobody knows.
        """
        ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class AlertActivities:
    """Judges service levels, and hands the outbox to the channels."""

    store: Store
    bundle: Callable[[str], Bundle]
    channels: Mapping[str, Channel]
    """By name, from `dealthread.toml`."""
    link: Callable[[str], str]
    """Returns a workflow's page in the Web UI."""
    now: Callable[[], datetime] = field(default=_now)

    # Service levels.

    @implements(ref.JUDGE_RULES)
    async def judge_rules(self, _request: JudgeRules) -> RulesJudged:
        """Measure the rules that are due; safe to repeat."""
        now, rules = self.now(), self.bundle("").policies.alerts.rules
        await self.store.alerts.forget_all_but(list(rules))
        every = {name: rule.every_seconds for name, rule in rules.items()}
        due = await self.store.alerts.due(every, now)
        changes: list[Change] = []
        failed = []
        for name in sorted(due):
            try:
                changes += await self._judge(name, rules[name], now)
            except StoreError as error:
                # Too slow, for example. If the store is gone, the next line says so.
                failed.append(name)
                _log.error("rule_not_measured", rule=name, why=str(error))
                await self.store.alerts.judged(name, now, str(error))
        return RulesJudged(
            judged=tuple(sorted(due)),
            failed=tuple(failed),
            raised=_told(changes, TellingKind.ALERT_RAISED),
            cleared=_told(changes, TellingKind.ALERT_CLEARED),
        )

    async def _judge(self, name: str, rule: Rule, now: datetime) -> tuple[Change, ...]:
        before = now - timedelta(seconds=rule.over_seconds)
        found = by_entity(rule, await self.store.alert_measures.waiting(rule.measure, before))

        def judged(
            states: Mapping[str, StoredState], silenced: Callable[[str], bool]
        ) -> Sequence[Change]:
            changes = []
            for entity in sorted({*states, *found}):
                known = states.get(entity)
                alert = alert_of(name, rule, entity, found.get(entity, ()), now)
                state, tell = next_state(
                    _remembered(known),
                    broken=entity in found,
                    for_seconds=rule.for_seconds,
                    now=now,
                    silenced=silenced(entity),
                )
                changes.append(Change(_stored(alert, state), tell))
            return changes

        changes = await self.store.alerts.change(name, now, judged)
        await self.store.alerts.judged(name, now)
        return changes

    # The outbox.

    @implements(ref.SEND_ALERTS)
    async def send_alerts(self, _request: SendAlerts) -> AlertsSent:
        """Hand over what is new, and send what is due to each channel; safe to repeat."""
        who = {name: channel.taker for name, channel in self.channels.items()}
        await self.store.outbox.hand_over(lambda message: _route(message, who))
        moot = await self.store.outbox.drop_moot()
        given_up = await self.store.outbox.give_up(after_seconds=GIVE_UP_SECONDS)
        if given_up:
            _log.error("alerts_given_up", count=given_up)
        done = await asyncio.gather(*(self._send_to(name) for name in self.channels))
        return AlertsSent(
            sent=sum(sent for sent, _ in done),
            failed=sum(failed for _, failed in done),
            given_up=given_up,
            moot=moot,
        )

    async def _send_to(self, name: str) -> tuple[int, int]:
        """Send what is due to one channel; return how many messages were sent, and were not.

        After the first one that is not taken the others wait: the channel is down. But the one
        that failed comes later than those, so that it holds up nobody for long.
        """
        taken = await self.store.outbox.take(name, limit=TAKEN_MAX, lease_seconds=LEASE_SECONDS)
        until = time.monotonic() + ROUND_SECONDS
        sent = 0
        batches = _batches(taken)
        while batches and time.monotonic() < until:
            batch = batches.pop(0)
            ids = [each.message.id for each in batch]
            try:
                await self.channels[name].send(self._telling(batch))
            except NotSent as error:
                delay = _delay(max(each.attempts for each in batch))
                await self.store.outbox.failed(name, ids, error=str(error), delay_seconds=delay)
                await self.store.outbox.release(name, _ids(batches))
                _log.warning("alert_not_sent", channel=name, why=str(error), next_in=delay)
                return sent, len(ids)
            await self.store.outbox.sent(name, ids)
            sent += len(ids)
        await self.store.outbox.release(name, _ids(batches))
        return sent, 0

    def _telling(self, batch: Sequence[Delivery]) -> Telling:
        tellings = [self._of(each) for each in batch]
        return tellings[0] if len(batch) == 1 else of_many(tellings, 0, SUMMARY_COMMAND)

    def _of(self, delivery: Delivery) -> Telling:
        message = delivery.message
        kind = TellingKind(message.kind)
        if kind in _ABOUT_ALERTS:
            return of_alert(kind, Alert.model_validate_json(message.payload_json), self.link)
        item = WorkItem.model_validate_json(message.payload_json)
        return of_item(kind, item, delivery.owner, self.link)


_ABOUT_ALERTS: Final = {TellingKind.ALERT_RAISED, TellingKind.ALERT_CLEARED}


def _route(message: OutboxMessage, who: Mapping[str, Taker]) -> tuple[str, ...]:
    kind = TellingKind(message.kind)
    if kind in _ABOUT_ALERTS:
        return takers(address_of_alert(kind, Alert.model_validate_json(message.payload_json)), who)
    return takers(address_of_item(kind, WorkItem.model_validate_json(message.payload_json)), who)


def _batches(taken: Sequence[Delivery]) -> list[Sequence[Delivery]]:
    """Return what goes out as one message each: one by one, and the rest of many as a summary."""
    if len(taken) <= SINGLY:
        return [[each] for each in taken]
    singly = SINGLY - 1
    return [*([each] for each in taken[:singly]), taken[singly:]]


def _ids(batches: Iterable[Sequence[Delivery]]) -> list[int]:
    return [each.message.id for batch in batches for each in batch]


def _delay(attempts: int) -> float:
    return min(FIRST_DELAY * 2.0 ** min(attempts, 10), LONGEST_DELAY)


def _remembered(known: StoredState | None) -> AlertState:
    if known is None:
        return AlertState()
    return AlertState(
        standing=Standing(known.standing),
        turning_since=known.turning_since,
        told=known.told,
        raised_at=known.raised_at,
        cleared_at=known.cleared_at,
    )


def _stored(alert: Alert, state: AlertState) -> StoredState:
    return StoredState(
        rule=alert.rule,
        entity=alert.entity,
        standing=state.standing,
        turning_since=state.turning_since,
        told=state.told,
        raised_at=state.raised_at,
        cleared_at=state.cleared_at,
        alert=alert,
    )


def _told(changes: Iterable[Change], kind: TellingKind) -> tuple[str, ...]:
    return tuple(each.state.alert.id for each in changes if each.tell is kind)
