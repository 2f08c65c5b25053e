"""Cases and accounts of the CRM: whose billing is held, whose invoice disputed, until when."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.errors import NotFound, Transient
from canonical.invoicing import BillingHold
from gateway import salesforce
from gateway.client_holds import CLIENTS_MAX, ClientHoldDesk
from gateway.drain import Drain, Rules
from gateway.metrics import GatewayMetrics
from gateway.router import EventRouter
from gateway.routing import Refused, Routed, Target, Verdict
from store import Store
from store.inbox import EventState, NewEvent
from tests.store.invoicing import MAYA
from tests.store.test_invoices import issued
from tests.support.world import World

ACCOUNT = "001000000000001AAA"
CASE = "500000000000001AAA"
CLIENT = "C1"


async def open_period(_psa: str, _project: str) -> str:
    return "2026-11"


@dataclass
class FakeCrm:
    """What the CRM holds now, by client."""

    held: dict[str, tuple[BillingHold, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    error: Exception | None = None

    async def read_billing_holds(self, client_id: str) -> tuple[BillingHold, ...]:
        self.asked.append(client_id)
        if self.error is not None:
            raise self.error
        return self.held.get(client_id, ())


def case_hold(reason: str = "Case 00001001: Billing Dispute", case: str = CASE) -> BillingHold:
    return BillingHold(client_id=CLIENT, source=f"Case/{case}", reason=reason)


def message(account: str, case: str, kind: str = "Case") -> bytes:
    account_id = f"<sf:AccountId>{account}</sf:AccountId>" if account else ""
    return (
        '<Envelope><Notification xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>{case}</sf:Id>{account_id}</sObject></Notification></Envelope>"
    ).encode()


@dataclass
class Scene:
    store: Store
    crm: FakeCrm = field(default_factory=FakeCrm)
    sent: list[str] = field(default_factory=list)
    count: int = 0

    async def tell(self, account: str = ACCOUNT, case: str = CASE, kind: str = "Case") -> None:
        self.count += 1
        subject = case if kind == "Case" else account
        body = message(account if kind == "Case" else "", subject, kind)
        event = NewEvent("salesforce", f"m{self.count}", salesforce.PROTOCOL, kind, subject, body)
        await self.store.inbox.put([event])

    async def answers(self) -> Sequence[Routed | Refused]:
        async with self.store.inbox.batch(100) as batch:
            return await self.router.route(batch.taken)

    @property
    def router(self) -> EventRouter:
        def full_id(_crm: str, id_: str) -> str:
            return CLIENT if id_ == ACCOUNT else id_

        desk = ClientHoldDesk(self.store, lambda _name: self.crm, full_id)  # type: ignore[arg-type,return-value]
        return EventRouter(open_period, holds=desk)

    async def drain(self) -> None:
        scene = self

        class Sends:
            async def send(self, target: Target, ids: Sequence[str], correlation_id: str) -> None:
                del ids, correlation_id
                scene.sent.append(f"{target.workflow_id} {target.signal}")

        await Drain(self.store.inbox, self.router, Sends(), GatewayMetrics(), Rules()).tick()

    async def sources(self) -> list[str]:
        return sorted(hold.source for hold in await self.store.client_holds.open(CLIENT))

    async def disputed(self) -> str:
        return (await self.store.invoices.get("netsuite", "9001")).disputed


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


async def test_an_open_case_holds_its_client_until_it_is_closed(scene: Scene) -> None:
    scene.crm.held = {CLIENT: (case_hold(),)}
    by_hand = BillingHold(client_id=CLIENT, source="person/fiona", reason="ask me first")
    await scene.store.client_holds.put(by_hand)
    await scene.tell()
    await scene.tell()
    await scene.drain()
    assert scene.crm.asked == [CLIENT], "two messages are one question"
    assert await scene.sources() == [f"Case/{CASE}", "person/fiona"]
    assert {event.state for event in await scene.store.inbox.list()} == {EventState.DELIVERED}
    scene.crm.held = {}
    # Closed by a message that does not say whose it is: the hold does.
    await scene.tell(account="")
    await scene.drain()
    assert await scene.sources() == ["person/fiona"]


async def test_an_account_that_changed_is_read_too(scene: Scene) -> None:
    source = f"Account/{ACCOUNT}"
    scene.crm.held = {CLIENT: (BillingHold(client_id=CLIENT, source=source, reason="set"),)}
    await scene.tell(kind="Account")
    await scene.drain()
    assert await scene.sources() == [source]


async def test_a_case_that_names_an_invoice_disputes_it_until_it_is_closed(scene: Scene) -> None:
    await issued(scene.store)
    reason = "Case 00001001: Billing Dispute, INV-9001: wrong rate, see INV-0000"
    scene.crm.held = {CLIENT: (case_hold(reason),)}
    await scene.tell()
    await scene.drain()
    assert await scene.disputed() == f"Case/{CASE}: {reason}"
    assert scene.sent == ["invoice/netsuite/9001 look"]
    await scene.tell()
    await scene.drain()
    assert len(scene.sent) == 1, "nothing is new"
    scene.crm.held = {}
    await scene.tell()
    await scene.drain()
    assert await scene.disputed() == ""
    assert await scene.sources() == []
    assert len(scene.sent) == 2
    trail = await scene.store.audit.trail("netsuite/9001")
    acts = [(each.actor, each.act) for each in trail if "dispute" in each.act]
    assert sorted(acts) == [(f"Case/{CASE}", "dispute"), (f"Case/{CASE}", "undispute")]


async def test_what_a_person_disputes_a_case_neither_rewords_nor_ends(scene: Scene) -> None:
    await issued(scene.store)
    await scene.store.invoices.dispute("netsuite", "9001", "wrong hours", by=MAYA)
    scene.crm.held = {CLIENT: (case_hold("Case 00001001: Billing Dispute, INV-9001"),)}
    await scene.tell()
    await scene.drain()
    assert await scene.disputed() == "wrong hours"
    scene.crm.held = {}
    await scene.tell()
    await scene.drain()
    assert await scene.disputed() == "wrong hours"
    assert scene.sent == []


async def test_a_case_of_another_client_disputes_nothing(scene: Scene) -> None:
    await issued(scene.store)
    hold = case_hold("Case 00001001: Billing Dispute, INV-9001").model_copy(
        update={"client_id": "C2"}
    )
    scene.crm.held = {"001000000000002AAA": (hold,)}
    await scene.tell(account="001000000000002AAA")
    await scene.drain()
    assert await scene.disputed() == ""


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (Transient("away", vendor="salesforce", operation="read"), Verdict.RETRY, "holds_not_read"),
        (TimeoutError(), Verdict.RETRY, "holds_not_read"),
        (NotFound("gone", vendor="salesforce", operation="read"), Verdict.DEAD, "unknown_client"),
    ],
)
async def test_what_cannot_be_read_releases_nothing(
    scene: Scene, error: Exception, verdict: Verdict, reason: str
) -> None:
    await scene.store.client_holds.put(case_hold())
    scene.crm.error = error
    await scene.tell()
    (answer,) = await scene.answers()
    assert isinstance(answer, Refused)
    assert (answer.verdict, answer.reason) == (verdict, reason)
    assert await scene.sources() == [f"Case/{CASE}"]


async def test_a_case_of_nobody_is_buried_and_too_many_come_again(scene: Scene) -> None:
    await scene.tell(account="")
    for number in range(CLIENTS_MAX + 1):
        await scene.tell(account=f"001{number:012d}BBB", case=f"500{number:012d}BBB")
    first, *others = await scene.answers()
    assert isinstance(first, Refused)
    assert (first.verdict, first.reason) == (Verdict.DEAD, "no_account")
    assert len(scene.crm.asked) == CLIENTS_MAX
    verdicts = [each.verdict for each in others if isinstance(each, Refused)]
    assert verdicts == [Verdict.DONE] * CLIENTS_MAX + [Verdict.RETRY]


async def test_on_the_simulated_crm_a_dispute_holds_and_its_end_frees(
    world: World, store: Store
) -> None:
    account = await world.account()
    (client, *_) = await world.control.records("salesforce", account, type="Account")
    fields: dict[str, Any] = {
        "AccountId": client["id"],
        "Type": "Billing Dispute",
        "Subject": "Rate of November",
    }
    case = str((await world.control.put_record("salesforce", account, "Case", fields))["id"])
    crm = f"salesforce@{account}"
    desk = ClientHoldDesk(store, world.ports.crm, lambda _crm, id_: id_)
    router = EventRouter(open_period, holds=desk)

    async def told(event: str) -> list[str]:
        body = message(client["id"], case)
        await store.inbox.put([NewEvent(crm, event, salesforce.PROTOCOL, "Case", case, body)])
        async with store.inbox.batch(10) as batch:
            await router.route(batch.taken)
        return [hold.source for hold in await store.client_holds.open(client["id"])]

    assert await told("1") == [f"Case/{case}"]
    await world.control.patch_record("salesforce", account, "Case", case, {"Status": "Closed"})
    assert await told("2") == []
