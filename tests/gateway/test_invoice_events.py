"""Milestones and invoices that changed: who is told, what is nobody's, and the poll of an ERP."""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.errors import ContractBroken, NotFound
from canonical.billing import PsaChange
from canonical.ids import milestone_to_invoice_id
from canonical.invoice_lifecycle import InvoiceKey, LifecycleInput, LookAgain
from canonical.invoicing import InvoiceChange
from canonical.lifecycle import InvoiceState
from canonical.milestone_to_invoice import MilestoneChanged, MilestoneInput
from canonical.records import RecordRef
from gateway.drain import Drain, Rules
from gateway.invoice_feed import FRESH, MEMORY, InvoiceFeed
from gateway.metrics import GatewayMetrics
from gateway.pollers import FeedEvent, Polled, Poller
from gateway.psa_feed import PsaFeed
from gateway.router import EventRouter
from gateway.routing import MILESTONES_CHANGED, Refused, Routed, Target, Verdict
from gateway.signals import TemporalSender
from store import Store
from store.inbox import EventState, NewEvent
from store.known_invoices import KnownInvoices
from tests.gateway.scene import Gateway, cloudevent, stripe, structured
from tests.store.invoicing import billed_contract, fee
from tests.support.invoicing import approved_milestone, handed_over, invoiced, pay, seen_as
from tests.support.world import World
from workflows.milestone_to_invoice import MilestoneToInvoice

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OURS = "in_ours"


async def open_period(_psa: str, _project: str) -> str:
    return "2026-11"


@dataclass
class FakeInvoices:
    """One invoice is ours, and one payment was applied to it."""

    asked: list[str] = field(default_factory=list)
    sent: dict[str, str] = field(default_factory=dict)

    async def of(self, connection: str, ids: Collection[str]) -> frozenset[str]:
        self.asked.append(connection)
        return frozenset(ids) & {OURS}

    async def paid_with(
        self, connection: str, references: Collection[str]
    ) -> dict[str, frozenset[str]]:
        assert connection
        return {each: frozenset({OURS}) for each in references if each in {"pi_ours", "ch_ours"}}

    async def transmitted(self, connection: str, sent: Mapping[str, str]) -> None:
        assert connection == "stripe"
        self.sent.update(sent)


def about(event_id: str, kind: str, **record: object) -> bytes:
    content = {"id": event_id, "object": "event", "type": kind, "data": {"object": record}}
    return json.dumps(content).encode()


async def routed(gateway: Gateway, router: EventRouter) -> Sequence[Routed | Refused]:
    async with gateway.inbox.batch(100) as batch:
        return await router.route(batch.taken)


def target(answer: Routed | Refused) -> Target:
    assert isinstance(answer, Routed), answer
    return answer.target


# Milestones.


async def test_each_milestone_of_an_event_starts_its_saga(gateway: Gateway) -> None:
    kind = "com.dealthread.milestones.changed"
    event = cloudevent(type=kind, data={"milestones": ["31", "32", "31"]}, correlationid="c-1")
    assert (await gateway.send(structured(event))).is_success
    answers = await routed(gateway, EventRouter(open_period))
    assert [target(each).workflow_id for each in answers] == [
        "milestone-to-invoice/kantata/31",
        "milestone-to-invoice/kantata/32",
    ]
    first = target(answers[0])
    assert (first.workflow, first.signal) == ("MilestoneToInvoice", "changed")
    assert first.message is not None
    assert first.message((), "c-1") == MilestoneChanged(correlation_id="c-1")
    assert first.start == MilestoneInput(psa="kantata", milestone_id="31", correlation_id="c-1")


@pytest.mark.parametrize(
    "data",
    [
        {"milestones": []},
        {"milestones": ["a/b"]},
        {"milestones": [7]},
        {"milestones": ["1"], "approved": True},
        {"milestones": [str(n) for n in range(101)]},
    ],
)
async def test_what_names_no_milestones_is_refused_at_the_door(
    gateway: Gateway, data: object
) -> None:
    event = cloudevent(type="com.dealthread.milestones.changed", data=data)
    answer = await gateway.send(structured(event))
    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid_data")


class FakePsa:
    """Milestones of two projects; one milestone is gone."""

    def __init__(self, changes: Sequence[PsaChange]) -> None:
        self._changes = changes

    async def read_changes(self, _since: datetime, _until: datetime) -> AsyncIterator[PsaChange]:
        for change in self._changes:
            yield change

    async def read_entries(self, _refs: object) -> tuple[()]:
        return ()

    async def read_milestone(self, milestone_id: str) -> Any:
        if milestone_id == "odd":
            raise ContractBroken("it has no amount")
        if milestone_id == "gone":
            raise NotFound("gone", vendor="kantata", operation="read")
        project = "billed" if milestone_id == "31" else "internal"
        return type("Milestone", (), {"project_id": project})


def change(event_id: str, milestone: str, *, own: bool = False) -> PsaChange:
    return PsaChange(
        event_id=event_id,
        subject_type="milestone",
        subject_id=milestone,
        action="updated",
        occurred_at=NOW,
        own=own,
    )


async def test_the_feed_tells_of_milestones_of_billed_projects(store: Store) -> None:
    psa = FakePsa(
        [
            change("1", "31"),
            change("2", "32"),
            change("3", "gone"),
            change("4", "31", own=True),
            change("5", "odd"),
        ]
    )

    async def bills(project: str) -> bool:
        return project == "billed"

    feed = PsaFeed("kantata", psa, store, bills)  # type: ignore[arg-type]  # stands in for it
    told = [event async for event in feed.read(NOW, NOW)]
    assert [(each.id, each.kind, each.subject, each.body) for each in told] == [
        ("1", "com.dealthread.milestones.changed", "31", b'{"milestones": ["31"]}'),
        # What can't be read parks its own saga.
        ("5", "com.dealthread.milestones.changed", "odd", b'{"milestones": ["odd"]}'),
    ]
    await store.inbox.put([from_feed(told[0])])
    async with store.inbox.batch(10) as batch:
        (answer,) = await EventRouter(open_period).route(batch.taken)
    assert target(answer).workflow_id == "milestone-to-invoice/kantata/31"


async def test_the_feed_tells_of_a_deleted_milestone_that_is_being_billed(store: Store) -> None:
    async def bills(_project: str) -> bool:
        return False

    async def told() -> list[str]:
        feed = PsaFeed("kantata", FakePsa([change("1", "gone")]), store, bills)  # type: ignore[arg-type]  # stands in for it
        return [event.subject async for event in feed.read(NOW, NOW)]

    assert await told() == []
    await store.engagements.put(billed_contract())
    await store.fees.reserve("run", fee("kantata/gone"))
    assert await told() == ["gone"]
    await store.fees.release("run")
    assert await told() == []


def from_feed(event: FeedEvent) -> NewEvent:
    return NewEvent("kantata", event.id, "feed", event.kind, event.subject, event.body)


# Invoices.


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("invoice.paid", {"id": OURS}),
        ("invoice.voided", {"id": OURS}),
        ("credit_note.created", {"id": "cn_1", "invoice": OURS}),
        ("credit_note.voided", {"id": "cn_1", "invoice": {"id": OURS}}),
        ("invoice_payment.paid", {"id": "inpay_1", "invoice": OURS}),
        ("charge.refunded", {"id": "ch_1", "payment_intent": "pi_ours"}),
        ("charge.refunded", {"id": "ch_ours", "payment_intent": None}),
        ("charge.dispute.created", {"id": "du_1", "charge": "ch_1", "payment_intent": "pi_ours"}),
        ("charge.dispute.closed", {"id": "du_1", "payment_intent": {"id": "pi_ours"}}),
    ],
)
async def test_what_happens_to_our_invoice_asks_for_a_look(
    gateway: Gateway, kind: str, record: dict[str, object]
) -> None:
    assert (await gateway.send(stripe(about("evt_1", kind, **record)))).is_success
    (answer,) = await routed(gateway, EventRouter(open_period, invoices=FakeInvoices()))
    found = target(answer)
    assert found.workflow_id == f"invoice/stripe/{OURS}"
    assert (found.workflow, found.signal) == ("InvoiceLifecycle", "look")
    key = InvoiceKey(connection="stripe", invoice_id=OURS)
    assert found.start == LifecycleInput(of=key)
    assert found.message is not None
    assert found.message((), "c") == LookAgain(correlation_id="c")


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("invoice.paid", {"id": "in_theirs"}),
        ("invoice.upcoming", {}),
        ("credit_note.created", {"id": "cn_1", "invoice": ["no", "id"]}),
        ("charge.refunded", {"id": "ch_9", "payment_intent": "pi_theirs"}),
        ("customer.updated", {"id": "cus_1"}),
    ],
)
async def test_what_is_not_ours_is_ignored(
    gateway: Gateway, kind: str, record: dict[str, object]
) -> None:
    assert (await gateway.send(stripe(about("evt_1", kind, **record)))).is_success
    (answer,) = await routed(gateway, EventRouter(open_period, invoices=FakeInvoices()))
    assert isinstance(answer, Refused)
    assert answer.verdict is Verdict.IGNORED


async def test_an_invoice_that_stripe_sent_is_noted_before_the_look(gateway: Gateway) -> None:
    invoices = FakeInvoices()
    for event_id, id_ in (("evt_1", OURS), ("evt_2", "in_theirs")):
        await gateway.send(stripe(about(event_id, "invoice.sent", id=id_)))
    answers = await routed(gateway, EventRouter(open_period, invoices=invoices))
    assert invoices.sent == {OURS: "evt_1"}
    assert [isinstance(each, Refused) for each in answers] == [False, True]


async def test_many_events_of_an_invoice_are_one_question_and_one_signal(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.send(stripe(about(f"evt_{number}", "invoice.updated", id=OURS)))
    sent: list[str] = []

    class Sends:
        async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
            assert (ids, correlation_id) == ((), "evt_0")
            sent.append(target.workflow_id)

    invoices = FakeInvoices()
    router = EventRouter(open_period, invoices=invoices)
    drain = Drain(gateway.inbox, router, Sends(), GatewayMetrics(), Rules())
    assert await drain.tick() == 5
    assert (invoices.asked, sent) == (["stripe"], [f"invoice/stripe/{OURS}"])


# The poll.


@dataclass
class FakeIssuer:
    """An ERP that keeps the time of a change by the minute."""

    changes: dict[str, datetime] = field(default_factory=dict)
    asked: list[datetime] = field(default_factory=list)
    broken: bool = False

    async def list_changed_invoices(
        self, since: datetime
    ) -> AsyncIterator[tuple[InvoiceChange, ...]]:
        self.asked.append(since)
        for id_, at in self.changes.items():
            if at >= since.replace(second=0):
                record = RecordRef(system="netsuite", type="invoice", id=id_)
                yield (InvoiceChange(record=record, changed_at=at),)
        if self.broken:
            raise ConnectionError("the answer broke off")


@dataclass
class Polling:
    store: Store
    now: datetime = NOW
    issuer: FakeIssuer = field(default_factory=FakeIssuer)

    @property
    def poller(self) -> Poller:
        feed = InvoiceFeed("netsuite", self.issuer, self.store.inbox.put)  # type: ignore[arg-type]
        polled = Polled("netsuite", feed, feed.catch_up, memory=MEMORY, clock=lambda: self.now)
        return Poller(polled, self.store.inbox, self.store.poll_marks, GatewayMetrics())

    async def subjects(self) -> list[str]:
        return sorted(event.subject for event in await self.store.inbox.list())


async def test_one_question_for_all_invoices_overlapping_and_nothing_told_twice(
    store: Store,
) -> None:
    polling = Polling(store)
    polling.issuer.changes = {"1": NOW - timedelta(minutes=4), "old": NOW - timedelta(days=20)}
    await polling.poller.poll()
    # Read for the first time: what changed in the month before is looked at too.
    assert await polling.subjects() == ["1", "old"]
    assert polling.issuer.asked == [NOW - timedelta(minutes=5), NOW - timedelta(days=30)]
    polling.now += timedelta(minutes=4)
    polling.issuer.changes["late"] = NOW - timedelta(minutes=1)
    assert await polling.poller.poll() == 1
    assert polling.issuer.asked[2:] == [NOW - timedelta(minutes=5)]
    assert await polling.poller.poll() == 0
    assert await polling.subjects() == ["1", "late", "old"]


async def test_a_second_change_within_the_minute_is_not_taken_for_the_first(store: Store) -> None:
    polling = Polling(store)
    await polling.poller.poll()
    polling.issuer.changes = {"1": NOW}
    polling.now += timedelta(seconds=20)
    assert await polling.poller.poll() == 1
    # It changes again, and the ERP says the same minute.
    polling.now += timedelta(seconds=60)
    assert await polling.poller.poll() == 1
    polling.now += FRESH
    assert await polling.poller.poll() == 1
    polling.now += timedelta(seconds=60)
    assert await polling.poller.poll() == 0


async def test_a_poll_that_breaks_off_is_read_again(store: Store) -> None:
    polling = Polling(store)
    await polling.poller.poll()
    polling.issuer.changes, polling.issuer.broken = {"1": NOW}, True
    polling.now += timedelta(hours=2)
    with pytest.raises(ConnectionError):
        await polling.poller.poll()
    assert await store.poll_marks.get("netsuite") == NOW
    polling.issuer.broken = False
    assert await polling.poller.poll() == 1


# On the real server.


async def test_an_approved_milestone_is_handed_over(world: World, store: Store) -> None:
    account, milestone = await approved_milestone(world)
    psa = f"kantata@{account}"
    body = json.dumps({"milestones": [milestone]}).encode()
    await store.inbox.put([NewEvent(psa, "e-1", "feed", MILESTONES_CHANGED, milestone, body)])
    sender = TemporalSender(world.env.client)
    drain = Drain(store.inbox, EventRouter(open_period), sender, GatewayMetrics(), Rules())
    assert await drain.tick() == 1
    handle = world.env.client.get_workflow_handle_for(
        MilestoneToInvoice.run, milestone_to_invoice_id(psa, milestone)
    )
    assert (await world.result(handle)).outcome == "completed"


async def test_a_payment_in_the_erp_is_polled_and_seen(world: World, store: Store) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    connection = invoice.record.system
    await pay(world, account, invoice, invoice.remaining.amount)
    # An inbox of its own: that of the world is shared.
    feed = InvoiceFeed(connection, world.ports.issuer(connection), store.inbox.put)
    polled = Polled(connection, feed, feed.catch_up, memory=MEMORY)
    metrics = GatewayMetrics()
    await Poller(polled, store.inbox, store.poll_marks, metrics).poll()
    kind = "com.dealthread.invoice.changed"
    await store.inbox.put([NewEvent(connection, "x", "feed", kind, "424242", b"{}")])
    router = EventRouter(open_period, invoices=KnownInvoices(world.store.database))
    sender = TemporalSender(world.env.client)
    await Drain(store.inbox, router, sender, metrics, Rules()).tick()
    states = {event.subject: event.state for event in await store.inbox.list()}
    assert states[invoice.record.id] is EventState.DELIVERED
    assert states["424242"] is EventState.IGNORED
    counted = await metrics.page(store.inbox)
    assert b'dealthread_events_settled_total{state="ignored"}' in counted
    await seen_as(world, invoice, InvoiceState.SETTLED)
