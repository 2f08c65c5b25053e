"""What every adapter in the role of a billing engine does, on its vendor's simulator."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal

import pytest
import pytest_asyncio

from adapters.billing_engine import BillingEngine
from adapters.errors import (
    Invalid,
    MissingMapping,
    NotFound,
    Rejected,
    UndoRefused,
)
from canonical.engine_invoices import (
    EngineCreditLine,
    EngineInvoiceStatus,
    EngineLine,
    Settlement,
)
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.records import UndoResult
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.engine_role import (
    CLIENT,
    CLIENT_KEY,
    CREDIT_KEY,
    DRAFT_KEY,
    EACH_NAME,
    ENGINES,
    ISSUE_KEY,
    LINES,
    NET,
    client,
    credit_wish,
    draft,
    facts,
    issued,
    pay,
    reference,
    usd,
    wish,
    with_empty_draft,
)
from tests.contract.suite import (
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

NEVER_RECALLED = ExternalId("dt-never-0000000000000000")


@pytest_asyncio.fixture(loop_scope="session", params=ENGINES)
async def scene(
    request: pytest.FixtureRequest, control: Control
) -> AsyncIterator[Scene[BillingEngine]]:
    async with open_scene(control, request.param) as opened:
        yield opened


async def things(scene: Scene[BillingEngine]) -> list[tuple[str, str, str]]:
    """Return all live records but the vendor's own log of events."""
    return [each for each in await scene.state() if each[0] != facts(scene).event]


async def ours(scene: Scene[BillingEngine], type_: str) -> list[str]:
    """Return the ids of all records that carry a key."""
    return [each["id"] for each in await scene.records(type_) if each["key"]]


class TestClients:
    async def test_a_client_is_made_found_and_removed(self, scene: Scene[BillingEngine]) -> None:
        before = await things(scene)
        assert await scene.adapter.find_client(CLIENT_KEY) is None

        record = await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        assert record == reference(scene, "client", record.id)
        assert await scene.adapter.find_client(CLIENT_KEY) == record
        kept = repr((await scene.record(facts(scene).client, record.id))["fields"])
        for said in (CLIENT.name, CLIENT.billing_email, "Floor 7", "10013", "'US'"):
            assert said in kept
        results = [(await scene.adapter.remove_client(CLIENT_KEY, record)).result for _ in range(2)]
        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.adapter.find_client(CLIENT_KEY) is None
        assert await things(scene) == before

    async def test_provisioning_twice_makes_one_client(self, scene: Scene[BillingEngine]) -> None:
        records = [await scene.adapter.provision_client(CLIENT_KEY, CLIENT) for _ in range(2)]

        assert records[0] == records[1]
        assert await ours(scene, facts(scene).client) == [records[0].id]

    async def test_a_client_removed_and_wanted_again_is_a_new_one(
        self, scene: Scene[BillingEngine]
    ) -> None:
        # The vendor still answers the first create by its key: with a record that is gone.
        removed = []
        for _ in range(3):
            record = await scene.adapter.provision_client(CLIENT_KEY, CLIENT)
            assert record.id not in removed
            assert await scene.adapter.find_client(CLIENT_KEY) == record
            await scene.adapter.remove_client(CLIENT_KEY, record)
            removed.append(record.id)

    async def test_what_is_no_longer_in_the_latest_is_found_by_search(
        self, scene: Scene[BillingEngine]
    ) -> None:
        await scene.control.clock(scene.name, set="2026-01-05T00:00:00Z")
        record = await client(scene)

        assert await scene.adapter.find_client(CLIENT_KEY) == record

    async def test_a_search_that_lags_hides_nothing(self, scene: Scene[BillingEngine]) -> None:
        await scene.control.add_fault(
            scene.vendor, scene.name, {}, FaultKind.STALE_SEARCH, key=str(CLIENT_KEY)
        )
        record = await client(scene)

        assert await scene.adapter.find_client(CLIENT_KEY) == record
        assert await scene.adapter.provision_client(CLIENT_KEY, CLIENT) == record
        gone = await scene.adapter.remove_client(CLIENT_KEY, None)

        assert gone.result is UndoResult.REMOVED
        assert await ours(scene, facts(scene).client) == []

    async def test_a_client_with_invoices_is_kept_and_said_so(
        self, scene: Scene[BillingEngine]
    ) -> None:
        record = await client(scene)
        await scene.put(facts(scene).item, {"customer": record.id, "amount": 1, "currency": "usd"})

        kept = await scene.adapter.remove_client(CLIENT_KEY, record)

        assert kept.result is UndoResult.KEPT
        assert kept.residue
        assert await scene.adapter.find_client(CLIENT_KEY) == record

    @EACH_NAME
    async def test_hostile_names_are_kept_or_shortened(
        self, scene: Scene[BillingEngine], name: str
    ) -> None:
        request = CLIENT.model_copy(update={"name": name})

        record = await scene.adapter.provision_client(CLIENT_KEY, request)

        shown = str((await scene.record(facts(scene).client, record.id))["fields"]["name"])
        assert shown == name or (shown.endswith("…") and name.startswith(shown[:-1]))


class TestDrafts:
    async def test_a_draft_has_all_that_was_asked_for(self, scene: Scene[BillingEngine]) -> None:
        request = await wish(scene)
        assert await scene.adapter.find_draft(DRAFT_KEY, request) is None

        made = await scene.adapter.provision_draft(DRAFT_KEY, request)

        assert made.record == reference(scene, "invoice", made.record.id)
        assert made.status is EngineInvoiceStatus.DRAFT
        assert (made.external_id, made.number, made.currency) == (DRAFT_KEY, "", "USD")
        assert (made.subtotal, made.tax, made.total) == (NET, usd("0"), NET)
        assert {line.item: (line.description, line.amount) for line in made.lines} == {
            line.item: (line.description, line.amount) for line in LINES
        }
        assert await scene.adapter.find_draft(DRAFT_KEY, request) == made
        assert await scene.adapter.read_invoice(made.record) == made
        assert "PO-4711" in repr(await scene.record(facts(scene).invoice, made.record.id))

    async def test_provisioning_twice_makes_one_draft_with_its_lines_once(
        self, scene: Scene[BillingEngine]
    ) -> None:
        first = await draft(scene)
        once = await scene.state()

        assert await scene.adapter.provision_draft(DRAFT_KEY, await wish(scene)) == first
        assert await scene.state() == once

    async def test_two_at_once_make_one_draft(self, scene: Scene[BillingEngine]) -> None:
        request = await wish(scene)

        await asyncio.gather(
            *(scene.adapter.provision_draft(DRAFT_KEY, request) for _ in range(4)),
            return_exceptions=True,
        )

        made = await scene.adapter.provision_draft(DRAFT_KEY, request)
        assert await ours(scene, facts(scene).invoice) == [made.record.id]
        assert (len(made.lines), made.total) == (len(LINES), NET)

    async def test_a_draft_is_completed_even_when_its_key_is_forgotten(
        self, scene: Scene[BillingEngine]
    ) -> None:
        await with_empty_draft(scene)
        request = await wish(scene)
        assert await scene.adapter.find_draft(DRAFT_KEY, request) is None
        await scene.control.clock(scene.name, advance_seconds=86_400 * 2)

        made = await scene.adapter.provision_draft(DRAFT_KEY, request)

        assert await ours(scene, facts(scene).invoice) == [made.record.id]
        assert (len(made.lines), made.total) == (len(LINES), NET)

    async def test_a_line_that_a_person_took_off_is_added_again(
        self, scene: Scene[BillingEngine]
    ) -> None:
        made = await draft(scene)
        items = await scene.records(facts(scene).item)
        first = next(each for each in items if "'M-1'" in repr(each["fields"]))
        await scene.control.delete_record(scene.vendor, scene.name, facts(scene).item, first["id"])
        request = await wish(scene)
        assert await scene.adapter.find_draft(DRAFT_KEY, request) is None

        again = await scene.adapter.provision_draft(DRAFT_KEY, request)

        assert again.record == made.record
        assert again.total == NET

    async def test_a_line_that_a_person_added_is_told(self, scene: Scene[BillingEngine]) -> None:
        made = await draft(scene)
        known = await client(scene)
        await scene.put(
            facts(scene).item,
            {
                "customer": known.id,
                "amount": 100,
                "currency": "usd",
                "description": "Extra",
                "invoice": made.record.id,
            },
        )

        with pytest.raises(Rejected, match="Extra was added"):
            await scene.adapter.provision_draft(DRAFT_KEY, await wish(scene))

    async def test_pending_items_of_the_client_stay_off_the_draft(
        self, scene: Scene[BillingEngine]
    ) -> None:
        known = await client(scene)
        await scene.put(facts(scene).item, {"customer": known.id, "amount": 1, "currency": "usd"})

        assert (await draft(scene)).total == NET

    async def test_more_lines_than_the_vendor_shows_at_once(
        self, scene: Scene[BillingEngine]
    ) -> None:
        lines = tuple(EngineLine(item=f"L-{n}", amount=usd("1.01")) for n in range(250))
        request = await wish(scene, lines=lines)

        made = await scene.adapter.provision_draft(DRAFT_KEY, request)

        assert {line.item for line in made.lines} == {line.item for line in lines}
        assert made.total == usd("252.50")
        assert await scene.adapter.find_draft(DRAFT_KEY, request) == made

    @pytest.mark.parametrize(("currency", "amount"), [("JPY", "12345"), ("KWD", "12.340")])
    async def test_minor_units_are_the_currency_s_own(
        self, scene: Scene[BillingEngine], currency: str, amount: str
    ) -> None:
        money = Money(amount=Decimal(amount), currency=currency)
        request = await wish(scene, currency=currency, lines=(EngineLine(item="a", amount=money),))

        made = await scene.adapter.provision_draft(DRAFT_KEY, request)

        assert made.total == made.lines[0].amount == money

    async def test_a_price_per_unit_is_computed_by_the_vendor(
        self, scene: Scene[BillingEngine]
    ) -> None:
        product = await scene.put("product", {"name": "Consulting"})
        scene.adapter = await scene.another(settings={"product": product})

        made = await draft(scene)

        assert made.total == NET
        kept = repr(await scene.records(facts(scene).item))
        assert "7.25" in kept
        assert "18500" in kept

    async def test_tax_is_the_vendor_s_and_read_back_by_line(
        self, scene: Scene[BillingEngine]
    ) -> None:
        rates = await scene.records("tax_rate")
        german = next(each["id"] for each in rates if each["fields"]["country"] == "DE")
        settings = {"tax_rates": {"standard": [german], "exempt": []}}
        scene.adapter = await scene.another(settings=settings)  # type: ignore[arg-type]
        lines = (
            EngineLine(item="a", amount=usd("10.55"), tax_category="standard"),
            EngineLine(item="b", amount=usd("5"), tax_category="exempt"),
        )

        made = await scene.adapter.provision_draft(DRAFT_KEY, await wish(scene, lines=lines))

        assert {line.item: line.tax for line in made.lines} == {"a": usd("2.00"), "b": usd("0")}
        assert (made.subtotal, made.tax, made.total) == (usd("15.55"), usd("2"), usd("17.55"))
        with pytest.raises(MissingMapping, match="other"):
            await scene.adapter.provision_draft(
                DRAFT_KEY,
                await wish(scene, lines=(lines[0].model_copy(update={"tax_category": "other"}),)),
            )

    async def test_what_cannot_be_sent_makes_no_call(self, scene: Scene[BillingEngine]) -> None:
        requests = [
            await wish(scene, lines=()),
            await wish(scene, lines=(LINES[0], LINES[0])),
            await wish(scene, currency="EUR"),
            await wish(scene, client=None),
            await wish(scene, client_po="x" * 10_000),
            await wish(scene, lines=(LINES[0].model_copy(update={"description": "x" * 10_000}),)),
            await wish(scene, lines=(LINES[0].model_copy(update={"amount": usd("1")}),)),
            *[
                await wish(scene, client=reference(scene, "client", bad))
                for bad in facts(scene).bad_ids
            ],
        ]
        await scene.calls()

        for request in requests:
            with pytest.raises(Invalid):
                await scene.adapter.provision_draft(DRAFT_KEY, request)
        for bad in facts(scene).bad_ids:
            with pytest.raises(Invalid):
                await scene.adapter.read_invoice(reference(scene, "invoice", bad))
        with pytest.raises(Invalid):
            await scene.adapter.find_client(ExternalId("a' OR 'b"))
        assert await scene.calls() == []

    async def test_a_draft_is_removed_once_with_its_items(
        self, scene: Scene[BillingEngine]
    ) -> None:
        await client(scene)
        before = await things(scene)
        request = await wish(scene)
        await draft(scene)

        results = [(await scene.adapter.remove_draft(DRAFT_KEY, request)).result for _ in range(2)]

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await things(scene) == before
        assert await scene.adapter.find_draft(DRAFT_KEY, request) is None
        nobody = await wish(scene, client=None)
        assert (await scene.adapter.remove_draft(DRAFT_KEY, nobody)).result is UndoResult.ABSENT

    async def test_a_draft_of_a_client_who_never_was_is_absent_or_rejected(
        self, scene: Scene[BillingEngine]
    ) -> None:
        request = await wish(scene, client=reference(scene, "client", "cus_0000000000"))

        with pytest.raises(Rejected):
            await scene.adapter.provision_draft(DRAFT_KEY, request)


class TestInvoices:
    async def test_issuing_gives_a_number_and_says_it_again(
        self, scene: Scene[BillingEngine]
    ) -> None:
        made = await draft(scene)

        first = await scene.adapter.finalize_invoice(ISSUE_KEY, made.record)

        assert first.status is EngineInvoiceStatus.OPEN
        assert first.number
        assert (first.total, first.remaining, first.paid) == (NET, NET, usd("0"))
        assert first.issued_on is not None
        assert first.due == first.issued_on + timedelta(days=30)
        assert await scene.adapter.finalize_invoice(ISSUE_KEY, made.record) == first
        assert await scene.adapter.finalize_invoice(NEVER_RECALLED, made.record) == first
        assert await scene.adapter.find_draft(DRAFT_KEY, await wish(scene)) == first

    async def test_the_invoice_date_is_the_one_asked_for(self, scene: Scene[BillingEngine]) -> None:
        scene.adapter = await scene.another(settings={"time_zone": "Pacific/Auckland"})
        request = await wish(scene, on=date(2026, 11, 2))
        made = await scene.adapter.provision_draft(DRAFT_KEY, request)

        invoice = await scene.adapter.finalize_invoice(ISSUE_KEY, made.record)

        assert invoice.issued_on == date(2026, 11, 2)

    async def test_what_was_paid_since_is_told_by_a_repeated_issue(
        self, scene: Scene[BillingEngine]
    ) -> None:
        invoice = await issued(scene)
        await pay(scene, invoice.record)

        again = await scene.adapter.finalize_invoice(ISSUE_KEY, invoice.record)

        assert again.status is EngineInvoiceStatus.PAID
        assert again == await scene.adapter.read_invoice(invoice.record)
        assert again.remaining == usd("0")

    async def test_an_issued_invoice_is_no_draft_to_remove(
        self, scene: Scene[BillingEngine]
    ) -> None:
        await issued(scene)
        before = await scene.state()

        with pytest.raises(UndoRefused):
            await scene.adapter.remove_draft(DRAFT_KEY, await wish(scene))
        assert await scene.state() == before

    async def test_voiding_is_for_good_and_repeatable(self, scene: Scene[BillingEngine]) -> None:
        invoice = await issued(scene)

        for key in (ISSUE_KEY, ISSUE_KEY, NEVER_RECALLED):
            undone = await scene.adapter.void_invoice(key, invoice.record)
            assert (undone.result, undone.record) == (UndoResult.REVERSED, invoice.record)
        voided = await scene.adapter.read_invoice(invoice.record)
        assert (voided.status, voided.number) == (EngineInvoiceStatus.VOID, invoice.number)
        request = await wish(scene)
        assert await scene.adapter.find_draft(DRAFT_KEY, request) is None
        assert (await scene.adapter.remove_draft(DRAFT_KEY, request)).result is UndoResult.ABSENT

    async def test_a_draft_made_again_after_a_void_is_a_new_one(
        self, scene: Scene[BillingEngine]
    ) -> None:
        invoice = await issued(scene)
        await scene.adapter.void_invoice(ISSUE_KEY, invoice.record)

        made = await draft(scene)

        assert made.record != invoice.record
        assert (made.status, made.total) == (EngineInvoiceStatus.DRAFT, NET)

    async def test_a_draft_or_a_paid_invoice_is_not_voided(
        self, scene: Scene[BillingEngine]
    ) -> None:
        made = await draft(scene)
        with pytest.raises(UndoRefused):
            await scene.adapter.void_invoice(ISSUE_KEY, made.record)
        await pay(scene, (await issued(scene)).record)

        with pytest.raises(UndoRefused) as caught:
            await scene.adapter.void_invoice(ISSUE_KEY, made.record)
        assert (caught.value.record_type, caught.value.record_id) == ("invoice", made.record.id)

    async def test_a_missing_invoice_is_not_found_and_nothing_to_void(
        self, scene: Scene[BillingEngine]
    ) -> None:
        absent = reference(scene, "invoice", facts(scene).absent_id)

        with pytest.raises(NotFound):
            await scene.adapter.read_invoice(absent)
        with pytest.raises(NotFound):
            await scene.adapter.finalize_invoice(ISSUE_KEY, absent)
        assert (await scene.adapter.void_invoice(ISSUE_KEY, absent)).result is UndoResult.ABSENT


class TestCredits:
    async def test_a_credit_lowers_what_is_to_be_paid_and_is_voided(
        self, scene: Scene[BillingEngine]
    ) -> None:
        invoice = await issued(scene)
        request = await credit_wish(scene)
        assert await scene.adapter.find_credit(CREDIT_KEY, request) is None

        credit = await scene.adapter.provision_credit(CREDIT_KEY, request)

        assert credit.record == reference(scene, "credit_note", credit.record.id)
        assert credit.number
        assert (credit.invoice, credit.external_id) == (invoice.record, CREDIT_KEY)
        assert (credit.subtotal, credit.tax, credit.total) == (usd("500"), usd("0"), usd("500"))
        assert await scene.adapter.provision_credit(CREDIT_KEY, request) == credit
        assert await scene.adapter.find_credit(CREDIT_KEY, request) == credit
        assert len(await scene.records(facts(scene).credit)) == 1
        assert (await scene.adapter.read_invoice(invoice.record)).remaining == usd("20500")
        results = [(await scene.adapter.void_credit(CREDIT_KEY, request)).result for _ in range(2)]
        assert results == [UndoResult.REVERSED, UndoResult.ABSENT]
        assert await scene.adapter.find_credit(CREDIT_KEY, request) is None
        assert (await scene.adapter.read_invoice(invoice.record)).remaining == NET

    async def test_a_credit_made_again_after_a_void_is_a_new_one(
        self, scene: Scene[BillingEngine]
    ) -> None:
        await issued(scene)
        request = await credit_wish(scene)
        first = await scene.adapter.provision_credit(CREDIT_KEY, request)
        await scene.adapter.void_credit(CREDIT_KEY, request)

        second = await scene.adapter.provision_credit(CREDIT_KEY, request)

        assert second.record != first.record
        assert await scene.adapter.find_credit(CREDIT_KEY, request) == second

    @pytest.mark.parametrize("settlement", Settlement)
    async def test_a_credit_of_what_is_paid_says_where_it_goes(
        self, scene: Scene[BillingEngine], settlement: Settlement
    ) -> None:
        invoice = await issued(scene)
        await pay(scene, invoice.record)
        request = await credit_wish(scene, settlement=settlement)

        credit = await scene.adapter.provision_credit(CREDIT_KEY, request)

        assert credit.total == usd("500")
        known = (await scene.record(facts(scene).client, (await client(scene)).id))["fields"]
        assert known["balance"] == (-50_000 if settlement is Settlement.BALANCE else 0)
        assert await scene.adapter.provision_credit(CREDIT_KEY, request) == credit
        with pytest.raises(UndoRefused):
            await scene.adapter.void_credit(CREDIT_KEY, request)

    async def test_a_credit_takes_its_share_of_the_tax(self, scene: Scene[BillingEngine]) -> None:
        rates = await scene.records("tax_rate")
        german = next(each["id"] for each in rates if each["fields"]["country"] == "DE")
        settings = {"tax_rates": {"standard": [german]}}
        scene.adapter = await scene.another(settings=settings)  # type: ignore[arg-type]
        lines = (EngineLine(item="M-1", amount=usd("1000.01"), tax_category="standard"),)
        made = await scene.adapter.provision_draft(DRAFT_KEY, await wish(scene, lines=lines))
        await scene.adapter.finalize_invoice(ISSUE_KEY, made.record)
        await pay(scene, made.record)
        part = EngineCreditLine(item="M-1", amount=usd("33.33"))

        credit = await scene.adapter.provision_credit(
            CREDIT_KEY, await credit_wish(scene, lines=(part,))
        )

        assert (credit.subtotal, credit.tax, credit.total) == (
            usd("33.33"),
            usd("6.33"),
            usd("39.66"),
        )

    async def test_more_than_was_invoiced_is_refused(self, scene: Scene[BillingEngine]) -> None:
        await issued(scene)

        for item, amount in (("M-1", "20000.01"), ("Z-9", "1"), ("D-1", "1"), ("M-1", "-1")):
            part = EngineCreditLine(item=item, amount=usd(amount))
            with pytest.raises(Invalid):
                await scene.adapter.provision_credit(
                    CREDIT_KEY, await credit_wish(scene, lines=(part,))
                )
        assert await scene.records(facts(scene).credit) == []

    async def test_a_draft_is_not_credited(self, scene: Scene[BillingEngine]) -> None:
        await draft(scene)

        with pytest.raises(Rejected):
            await scene.adapter.provision_credit(CREDIT_KEY, await credit_wish(scene))
