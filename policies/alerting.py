"""Service-level rules: when something has waited too long, and who is told (DESIGN 8, 10).

Pure decisions. A rule counts what waits for longer than `over_seconds`; `next_state` decides when
that becomes an alert and when the alert is over. Both take `for_seconds`, so that what flaps is
told of once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from canonical.alerts import Alert, Measure, Severity, TellingKind, Waiting
from canonical.money import Money
from canonical.saga import WorkItem, WorkItemKind
from policies.schema_types import Code, Strict

EXAMPLES: Final = 5
"""Things that an alert names, with their links."""
URGENT: Final = frozenset({WorkItemKind.UNDO, WorkItemKind.STUCK, WorkItemKind.DEAD_LETTER})
"""Work items that matter more than a step that waits for a correction."""

RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=64)]
ChannelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=64)]
Wait = Annotated[float, Field(ge=0, le=366 * 86_400)]


class Rule(Strict):
    """One service level: `at_least` things may not wait longer than `over_seconds`."""

    measure: Measure
    title: Annotated[str, Field(min_length=1, max_length=200)]
    """What people are told, in their words."""
    over_seconds: Wait = 0.0
    """How long a thing may wait."""
    at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """How many of them break the rule."""
    for_seconds: Annotated[float, Field(ge=0, le=7 * 86_400)] = 0.0
    """How long it has to be so before the alert is raised, and to be over before it clears."""
    every_seconds: Annotated[float, Field(ge=60, le=86_400)] = 60.0
    """How often it is measured."""
    severity: Severity = Severity.WARNING
    channels: tuple[ChannelName, ...] = ()
    """Names of dealthread.toml; empty: whichever channels take such messages."""
    entities: tuple[Code, ...] = ()
    """Legal entities that it is for; empty: all."""
    command: Annotated[str, Field(max_length=200)] = ""
    """What shows more; empty: the worklist."""


class Alerting(Strict):
    """The file `alerts.yaml`."""

    rules: dict[RuleName, Rule] = {}


def alerting_disagreements(
    alerting: Alerting | None, entities: Iterable[str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where rules name legal entities that there are not."""
    known = set(entities)
    for name, rule in (alerting.rules if alerting else {}).items():
        for entity in rule.entities:
            if entity not in known:
                allowed = ", ".join(sorted(known))
                where = ("alerts", "rules", name, "entities")
                yield where, f"there is no legal entity {entity}; allowed: {allowed}"


# From what waits to an alert.


class Standing(StrEnum):
    """Whether an alert is up."""

    QUIET = "quiet"
    RAISED = "raised"


@dataclass(frozen=True)
class AlertState:
    """What is remembered of a rule at one legal entity."""

    standing: Standing = Standing.QUIET
    turning_since: datetime | None = None
    """Since when the measure says otherwise than the standing."""
    told: bool = False
    """People know that it is raised."""
    raised_at: datetime | None = None
    cleared_at: datetime | None = None


def next_state(
    state: AlertState, *, broken: bool, for_seconds: float, now: datetime, silenced: bool
) -> tuple[AlertState, TellingKind | None]:
    """Return the state after a measurement, and what people are told, if anything.

    While it is silenced nobody is told; what is still raised afterwards is told then, and an alert
    that nobody heard of is not cleared aloud.
    """
    if broken == (state.standing is Standing.RAISED):
        state = replace(state, turning_since=None)
    else:
        since = state.turning_since or now
        if now - since < timedelta(seconds=for_seconds):
            return replace(state, turning_since=since), None
        if not broken:
            over = replace(
                state, standing=Standing.QUIET, turning_since=None, told=False, cleared_at=now
            )
            return over, TellingKind.ALERT_CLEARED if state.told else None
        state = replace(state, standing=Standing.RAISED, turning_since=None, raised_at=now)
    if state.standing is Standing.RAISED and not state.told and not silenced:
        return replace(state, told=True), TellingKind.ALERT_RAISED
    return state, None


def by_entity(rule: Rule, found: Sequence[Waiting]) -> dict[str, list[Waiting]]:
    """Return what breaks a rule at each legal entity, the longest wait first."""
    groups: dict[str, list[Waiting]] = {}
    for each in sorted(found, key=lambda one: (one.since, one.subject)):
        if not rule.entities or each.entity in rule.entities:
            groups.setdefault(each.entity, []).append(each)
    return {entity: group for entity, group in groups.items() if len(group) >= rule.at_least}


def alert_of(name: str, rule: Rule, entity: str, found: Sequence[Waiting], now: datetime) -> Alert:
    """Return the alert of a rule at a legal entity; `found` is empty where it clears."""
    return Alert(
        rule=name,
        entity=entity,
        title=rule.title,
        command=rule.command or "starter.py work list --overdue",
        severity=rule.severity,
        channels=rule.channels,
        count=len(found),
        since=found[0].since if found else None,
        money=_sums(each.amount for each in found),
        examples=tuple(found[:EXAMPLES]),
        at=now,
    )


def _sums(amounts: Iterable[Money | None]) -> tuple[Money, ...]:
    totals: dict[str, Money] = {}
    for amount in amounts:
        if amount is not None:
            known = totals.get(amount.currency)
            totals[amount.currency] = amount if known is None else known + amount
    return tuple(totals[currency] for currency in sorted(totals))


# Who is told.


@dataclass(frozen=True)
class Taker:
    """What a channel takes."""

    kinds: frozenset[TellingKind] = frozenset()
    """Empty: all."""
    entities: frozenset[str] = frozenset()
    """Empty: all. What is of no entity reaches everybody."""
    severity: Severity = Severity.INFO
    """The least that matters to them."""


@dataclass(frozen=True)
class Address:
    """What decides who is told of a message."""

    kind: TellingKind
    severity: Severity
    entities: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


def address_of_item(kind: TellingKind, item: WorkItem) -> Address:
    """Return whom a work item concerns: past its deadline it is critical."""
    severity = Severity.WARNING if item.kind in URGENT else Severity.INFO
    if kind is TellingKind.WORK_ITEM_ESCALATED:
        severity = Severity.CRITICAL
    return Address(kind, severity, item.legal_entities)


def address_of_alert(kind: TellingKind, alert: Alert) -> Address:
    """Return whom an alert concerns."""
    entities = (alert.entity,) if alert.entity else ()
    return Address(kind, alert.severity, entities, alert.channels)


def takers(address: Address, channels: Mapping[str, Taker]) -> tuple[str, ...]:
    """Return the names of the channels that are told.

    A rule's own channels are told whatever else they take; where none of them exists any more, it
    goes the way of all others, so that no alert gets lost by a renamed channel.
    """
    named = tuple(name for name in address.channels if name in channels)
    return named or tuple(name for name, taker in channels.items() if _takes(taker, address))


def _takes(taker: Taker, address: Address) -> bool:
    return (
        (not taker.kinds or address.kind in taker.kinds)
        and (
            not taker.entities
            or not address.entities
            or bool(taker.entities.intersection(address.entities))
        )
        and address.severity.reaches(taker.severity)
    )
