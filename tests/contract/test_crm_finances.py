"""What every CRM shows of a deal's money, and who it says is not to be billed for now."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import JsonValue

from adapters.errors import AdapterError, Invalid, NotFound, OutcomeUnknown, Transient
from adapters.ports import Crm
from canonical.invoicing import DealFinances
from canonical.money import Money
from canonical.records import RecordRef
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    READ_FAULTS,
    SLOW_SECONDS,
    WITH_EFFECT,
    WRITE_FAULTS,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

Fields = dict[str, JsonValue]


@dataclass(frozen=True)
class CrmFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    deal: str
    client: str
    case: str
    slug: str
    """Field of a deal that has its name in the scenario."""
    client_of: str
    hold: str
    """Field of a client that asks for no billing."""
    dispute: Fields
    """A case that does."""
    question: Fields
    closed: Fields
    shown: Mapping[str, str]
    """Name in `DealFinances` -> the vendor's field."""
    absent_deal: str
    absent_client: str
    bad_ids: tuple[str, ...]
    write_faults: Mapping[FaultKind, type[AdapterError]] = field(default_factory=dict)


CRMS: dict[str, CrmFacts] = {
    "salesforce": CrmFacts(
        deal="Opportunity",
        client="Account",
        case="Case",
        slug="Seed_Slug__c",
        client_of="AccountId",
        hold="Billing_Hold__c",
        dispute={"Type": "Billing Dispute", "Subject": "Rate of November"},
        question={"Type": "Question", "Reason": "Complex functionality", "Subject": "How?"},
        closed={"Status": "Closed"},
        shown={
            "invoiced": "Dealthread_Invoiced__c",
            "outstanding": "Dealthread_Outstanding__c",
            "overdue": "Dealthread_Overdue__c",
            "unbilled": "Dealthread_Unbilled__c",
            "margin_percent": "Dealthread_Margin__c",
            "status": "Dealthread_Invoice_Status__c",
            "as_of": "Dealthread_As_Of__c",
        },
        absent_deal="006DT0000009999",
        absent_client="001DT0000009999",
        bad_ids=("", "006", "006DT0000000001' OR Name != '", "../Account/001DT0000000001"),
        # SERVER_UNAVAILABLE is documented as "server too busy": nothing took effect.
        write_faults={FaultKind.FAIL_BEFORE: Transient},
    ),
}


@pytest_asyncio.fixture(loop_scope="session", params=CRMS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Crm]]:
    async with open_scene(control, request.param) as opened:
        yield opened


def facts(scene: Scene[Crm]) -> CrmFacts:
    return CRMS[scene.vendor]


async def deal(scene: Scene[Crm], slug: str = "tm-us") -> str:
    known = facts(scene)
    found = await scene.records(known.deal)
    return next(each["id"] for each in found if each["fields"].get(known.slug) == slug)


async def client(scene: Scene[Crm], slug: str = "tm-us") -> str:
    fields = (await scene.record(facts(scene).deal, await deal(scene, slug)))["fields"]
    return str(fields[facts(scene).client_of])


async def case(scene: Scene[Crm], fields: Fields, slug: str = "tm-us") -> str:
    """Let a person open a case of a deal's client."""
    whole: Fields = {**fields, facts(scene).client_of: await client(scene, slug)}
    return await scene.put(facts(scene).case, whole)


async def stored(scene: Scene[Crm], id_: str) -> Fields:
    """Return the deal's money as it stands in the vendor's records."""
    fields = (await scene.record(facts(scene).deal, id_))["fields"]
    return {name: fields.get(column) for name, column in facts(scene).shown.items()}


def finances(currency: str = "USD", **changes: object) -> DealFinances:
    def money(amount: str) -> Money:
        return Money(amount=Decimal(amount), currency=currency)

    cents = "" if currency == "JPY" else ".25"
    shown = DealFinances(
        invoiced=money(f"120000{cents}"),
        outstanding=money(f"60000{cents}"),
        overdue=money("0"),
        unbilled=money(f"4500{cents}"),
        margin_percent=Decimal("37.5"),
        status="INV-1042 open, due 2026-12-30",
        as_of=date(2026, 11, 30),
    )
    return shown.model_copy(update=changes)


class TestFinances:
    @pytest.mark.parametrize(
        ("slug", "currency"),
        [("tm-us", "USD"), ("fixed-de", "EUR"), ("retainer-gb", "GBP"), ("mixed-jp", "JPY")],
    )
    async def test_what_is_shown_is_read_back_in_the_deal_s_currency(
        self, scene: Scene[Crm], slug: str, currency: str
    ) -> None:
        id_ = await deal(scene, slug)
        assert await scene.adapter.read_finances(id_) is None
        shown = finances(currency)

        record = await scene.adapter.write_finances(id_, shown)

        assert record == RecordRef(system=scene.connection, type="deal", id=id_)
        assert await scene.adapter.read_finances(id_) == shown
        kept = await stored(scene, id_)
        assert Decimal(str(kept["invoiced"])) == shown.invoiced.amount
        assert (kept["status"], kept["as_of"]) == (shown.status, "2026-11-30")

    async def test_the_same_again_changes_nothing_and_later_figures_replace_it(
        self, scene: Scene[Crm]
    ) -> None:
        id_ = await deal(scene)
        await scene.adapter.write_finances(id_, finances())
        once = await scene.state()
        await scene.adapter.write_finances(id_, finances())
        assert await scene.state() == once

        later = finances(margin_percent=None, status="", as_of=date(2026, 12, 31))
        await scene.adapter.write_finances(id_, later)

        assert await scene.adapter.read_finances(id_) == later
        assert (await stored(scene, id_))["margin_percent"] is None

    async def test_a_margin_is_shown_with_two_decimals(self, scene: Scene[Crm]) -> None:
        id_ = await deal(scene)
        for given, shown in (("33.335", "33.34"), ("-12.3449", "-12.34"), ("100", "100")):
            await scene.adapter.write_finances(id_, finances(margin_percent=Decimal(given)))
            found = await scene.adapter.read_finances(id_)
            assert found is not None
            assert found.margin_percent == Decimal(shown)

    async def test_nothing_else_of_the_deal_changes_and_each_act_is_one_call(
        self, scene: Scene[Crm]
    ) -> None:
        id_ = await deal(scene)
        before = await scene.adapter.read_deal(id_)
        await scene.calls()

        await scene.adapter.write_finances(id_, finances())
        await scene.adapter.read_finances(id_)

        assert [method for method, _ in await scene.calls()] == ["PATCH", "GET"]
        after = await scene.adapter.read_deal(id_)
        assert after.model_copy(update={"version": before.version}) == before

    async def test_what_cannot_be_shown_is_refused_before_any_call(self, scene: Scene[Crm]) -> None:
        id_ = await deal(scene)
        euro = Money(amount=Decimal(1), currency="EUR")
        with pytest.raises(Invalid, match="one currency"):
            await scene.adapter.write_finances(id_, finances(overdue=euro))
        with pytest.raises(Invalid, match="255"):
            await scene.adapter.write_finances(id_, finances(status="x" * 256))
        for bad in facts(scene).bad_ids:
            with pytest.raises(Invalid):
                await scene.adapter.write_finances(bad, finances())
            with pytest.raises(Invalid):
                await scene.adapter.read_finances(bad)
            with pytest.raises(Invalid):
                await scene.adapter.read_billing_holds(bad)
        assert await scene.calls() == []

    async def test_a_missing_deal_is_not_found(self, scene: Scene[Crm]) -> None:
        with pytest.raises(NotFound):
            await scene.adapter.read_finances(facts(scene).absent_deal)
        with pytest.raises(NotFound):
            await scene.adapter.write_finances(facts(scene).absent_deal, finances())


class TestBillingHolds:
    async def test_an_open_dispute_of_the_client_holds_and_a_closed_one_does_not(
        self, scene: Scene[Crm]
    ) -> None:
        held = await client(scene)
        assert await scene.adapter.read_billing_holds(held) == ()
        before = datetime.now(UTC) - timedelta(minutes=1)
        id_ = await case(scene, facts(scene).dispute)

        (hold,) = await scene.adapter.read_billing_holds(held)

        assert hold.client_id == held
        assert hold.source == f"{facts(scene).case}/{id_}"
        assert "Rate of November" in hold.reason
        assert hold.since is not None
        assert before < hold.since < datetime.now(UTC) + timedelta(minutes=1)
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).case, id_, facts(scene).closed
        )
        assert await scene.adapter.read_billing_holds(held) == ()

    async def test_other_cases_and_other_clients_hold_nothing(self, scene: Scene[Crm]) -> None:
        await case(scene, facts(scene).question)
        await case(scene, facts(scene).dispute, "fixed-de")

        assert await scene.adapter.read_billing_holds(await client(scene)) == ()

    async def test_the_client_s_own_field_holds_until_it_is_cleared(
        self, scene: Scene[Crm]
    ) -> None:
        held, known = await client(scene), facts(scene)
        for value, count in ((True, 1), (False, 0)):
            await scene.control.patch_record(
                scene.vendor, scene.name, known.client, held, {known.hold: value}
            )
            found = await scene.adapter.read_billing_holds(held)
            assert len(found) == count
            assert all(known.hold in hold.reason for hold in found)
            assert all(hold.source == f"{known.client}/{held}" for hold in found)

    async def test_every_hold_is_told(self, scene: Scene[Crm]) -> None:
        held, known = await client(scene), facts(scene)
        await scene.control.patch_record(
            scene.vendor, scene.name, known.client, held, {known.hold: True}
        )
        ids = [await case(scene, known.dispute) for _ in range(2)]

        found = await scene.adapter.read_billing_holds(held)

        sources = [hold.source for hold in found]
        assert sources[0] == f"{known.client}/{held}"
        assert sorted(sources[1:]) == sorted(f"{known.case}/{id_}" for id_ in ids)

    async def test_which_cases_hold_is_a_setting_and_any_of_it_may_be_off(
        self, scene: Scene[Crm]
    ) -> None:
        held, hostile = await client(scene), 'It\'s \\ "theirs"'
        await case(scene, facts(scene).dispute)
        theirs = await case(scene, {**facts(scene).question, "Reason": hostile})
        settings: dict[str, dict[str, JsonValue]] = {
            "reasons": {"case_types": [], "case_reasons": [hostile], "account_field": ""},
            "nothing": {"case_types": [], "case_reasons": [], "account_field": ""},
        }
        by_reason = await scene.another(settings={"billing_holds": settings["reasons"]})
        off = await scene.another(settings={"billing_holds": settings["nothing"]})

        (hold,) = await by_reason.read_billing_holds(held)
        assert hold.source.endswith(theirs)
        await scene.calls()
        assert await off.read_billing_holds(held) == ()
        assert await scene.calls() == []

    async def test_a_missing_client_is_not_found(self, scene: Scene[Crm]) -> None:
        with pytest.raises(NotFound):
            await scene.adapter.read_billing_holds(facts(scene).absent_client)


class TestFaults:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[Crm], kind: FaultKind
    ) -> None:
        id_ = await deal(scene)
        assert await scene.adapter.read_finances(id_) is None  # signs in
        await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await scene.adapter.write_finances(id_, finances())

        expected = {**WRITE_FAULTS, **facts(scene).write_faults}[kind]
        assert isinstance(caught.value, expected)
        found = await scene.adapter.read_finances(id_)
        assert (found is not None) is (kind in WITH_EFFECT)
        await scene.adapter.write_finances(id_, finances())
        assert await scene.adapter.read_finances(id_) == finances()

    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[Crm]
    ) -> None:
        id_ = await deal(scene)
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await impatient.read_finances(id_)
        fault = await scene.fault(FaultKind.HOLD, write=True)

        with pytest.raises(OutcomeUnknown):
            await impatient.write_finances(id_, finances())

        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await scene.adapter.write_finances(id_, finances())
        assert await scene.adapter.read_finances(id_) == finances()

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_read_is_tried_again_or_parks(
        self, scene: Scene[Crm], kind: FaultKind
    ) -> None:
        id_, held = await deal(scene), await client(scene)
        await case(scene, facts(scene).dispute)
        crm = scene.adapter
        for look in (lambda: crm.read_finances(id_), lambda: crm.read_billing_holds(held)):
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_read_that_takes_too_long_is_tried_again(self, scene: Scene[Crm]) -> None:
        held = await client(scene)
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await impatient.read_billing_holds(held)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.read_billing_holds(held)

    async def test_an_expired_session_is_renewed_once(self, scene: Scene[Crm]) -> None:
        id_ = await deal(scene)
        await scene.adapter.read_finances(id_)
        await scene.calls()
        await scene.fault(FaultKind.EXPIRE_AUTH)

        await scene.adapter.write_finances(id_, finances())

        assert len(await scene.calls()) == 3  # refused, signed in, repeated
        assert await scene.adapter.read_finances(id_) == finances()


class TestConnectionCheck:
    async def check(self, adapter: Crm, name: str) -> str:
        (found,) = [check for check in adapter.checks() if check.name == name]
        return await found.run()

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"finances": {"invoiced": "Nope__c"}}, "Opportunity.Nope__c"),
            ({"finances": {"as_of": "IsClosed"}}, r"IsClosed \(not editable\)"),
            ({"billing_holds": {"account_field": "Nope__c"}}, "Account.Nope__c"),
        ],
    )
    async def test_fields_that_are_missing_or_cannot_be_edited_are_named(
        self, scene: Scene[Crm], settings: dict[str, JsonValue], says: str
    ) -> None:
        assert await self.check(scene.adapter, "fields")
        wrong = await scene.another(settings=settings)

        with pytest.raises(Invalid, match=says):
            await self.check(wrong, "fields")

    async def test_cases_are_read_as_billing_holds_read_them(self, scene: Scene[Crm]) -> None:
        await scene.calls()

        assert "cases" in await self.check(scene.adapter, "read")

        assert {method for method, _ in await scene.calls()} <= {"GET", "POST"}


class TestMessages:
    async def test_a_changed_case_is_told_like_any_other_record(self, scene: Scene[Crm]) -> None:
        bodies: list[str] = []

        async def take(request: web.Request) -> web.Response:
            bodies.append(await request.text())
            ack = '<notificationsResponse xmlns="x"><Ack>true</Ack></notificationsResponse>'
            return web.Response(text=ack, content_type="text/xml")

        application = web.Application()
        application.router.add_post("/", take)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        id_ = await case(scene, facts(scene).dispute)
        try:
            told = await scene.control.emit(
                scene.vendor, scene.name, {"url": site_url(runner), "ids": [id_]}
            )
        finally:
            await runner.cleanup()

        assert told["acknowledged"] == 1
        (body,) = bodies
        assert f'xsi:type="sf:{facts(scene).case}"' in body
        assert f"<sf:Id>{id_}</sf:Id>" in body


def site_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}/"
