"""What every PSA does with issued invoices: mirrors of them, and payments."""

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import (
    Invalid,
    MissingMapping,
    NotFound,
    Rejected,
    UndoRefused,
    Unsupported,
)
from adapters.psa_port import Psa
from canonical.entries import EntryKind, EntryRef
from canonical.invoicing import ConfirmInvoice, DealFinances
from canonical.records import UndoResult
from simulators.kantata import amounts, invoice_items
from simulators.kit.control import Control
from tests.contract.psa_invoicing_role import (
    DAY,
    KEY,
    PSAS,
    Billed,
    billed,
    confirm,
    entries,
    facts,
    live_invoices,
    mirrors,
    money,
    payment,
    person,
    project,
    record,
    reserve,
)
from tests.contract.suite import Scene, open_scene

pytestmark = pytest.mark.contract

Settings = dict[str, JsonValue]


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param, "time-small") as opened:
        await control.seed("time-small", account=opened.name, vendor=opened.vendor, count=4)
        yield opened


class TestConfirmation:
    async def test_what_is_billed_is_on_one_issued_invoice_at_the_net(
        self, scene: Scene[Psa]
    ) -> None:
        milestone = await person(scene).plan_milestone("5001", 1_000_00)
        given = await billed(scene, milestones=(milestone,))
        assert await scene.adapter.find_confirmation(KEY, given.request) is None

        made = await confirm(scene, given)

        assert made.record.type == "invoice"
        assert (made.number, made.net, made.draft) == ("INV-1042/B", given.request.net, False)
        assert made.paid == money("0")
        assert await scene.adapter.find_confirmation(KEY, given.request) == made
        kept = (await scene.record(facts(scene).invoice, made.record.id))["fields"]
        assert (kept["invoice_date"], kept["payment_schedule"]) == (DAY.isoformat(), 45)
        assert kept["total"] == given.request.net.minor_units
        assert await scene.records(facts(scene).item) == []
        (confirmed,) = given.request.entries
        found = {entry.ref: entry for entry in await entries(scene)}
        for ref, entry in found.items():
            is_billed = ref.id in (*confirmed.entry_ids, *confirmed.expense_ids)
            holder = made.record.id if is_billed else given.reserved.record.id
            assert entry.reservation_id == holder
        assert (await scene.adapter.read_milestone(milestone)).invoiced_on == made.record.id

    async def test_what_is_not_billed_stays_reserved_and_an_empty_reservation_goes(
        self, scene: Scene[Psa]
    ) -> None:
        given = await billed(scene)
        await confirm(scene, given)
        left = [each for each in await live_invoices(scene) if each["key"] != KEY]
        assert [(each["id"], each["fields"]["draft"]) for each in left] == [
            (given.reserved.record.id, True)
        ]
        billable = {entry.reservation_id for entry in await entries(scene) if entry.billable}
        assert given.reserved.record.id not in billable

    async def test_a_reservation_that_is_confirmed_whole_is_gone(self, scene: Scene[Psa]) -> None:
        given = await billed(scene, whole=True)

        made = await confirm(scene, given)

        assert [each["id"] for each in await live_invoices(scene)] == [made.record.id]
        assert {entry.reservation_id for entry in await entries(scene)} == {made.record.id}

    @pytest.mark.parametrize("extra", ["250.01", "-99.99", "0.01", "-0.01"])
    async def test_a_difference_to_the_psa_s_own_valuation_is_one_line(
        self, scene: Scene[Psa], extra: str
    ) -> None:
        given = await billed(scene, extra=extra)

        made = await confirm(scene, given)

        assert made.net == given.request.net
        (item,) = await scene.records(facts(scene).item)
        assert Decimal(str(item["fields"]["amount"])) == Decimal(extra)

    @pytest.mark.parametrize(("number", "extra"), [(1, "-1.50"), (2, "0.01"), (3, "-7")])
    async def test_it_comes_to_the_net_in_every_currency(
        self, scene: Scene[Psa], number: int, extra: str
    ) -> None:
        given = await billed(scene, number=number, extra=extra)

        made = await confirm(scene, given)

        assert made.net == given.request.net
        kept = (await scene.record(facts(scene).invoice, made.record.id))["fields"]
        assert kept["total"] == given.request.net.minor_units

    @pytest.mark.parametrize("net", ["1234.567", "1000.000"])
    async def test_a_currency_of_three_decimals_and_no_entries(
        self, scene: Scene[Psa], net: str
    ) -> None:
        dinar = await scene.put(facts(scene).project, facts(scene).dinar_project)
        milestone = await person(scene).plan_milestone(dinar, 1_000_000)
        request = ConfirmInvoice(
            connection="psa",
            project=record(scene, "project", dinar),
            number="KW-1",
            on=DAY,
            net=money(net, "KWD"),
            milestone_ids=(milestone,),
        )

        made = await scene.adapter.confirm_invoice(KEY, request)

        assert (made.net, made.draft) == (money(net, "KWD"), False)

    async def test_an_invoice_of_an_amount_alone_is_one_line_and_of_nothing_is_refused(
        self, scene: Scene[Psa]
    ) -> None:
        request = ConfirmInvoice(
            connection="psa", project=project(scene), number="R-1", on=DAY, net=money("5000")
        )
        nothing = request.model_copy(update={"net": money("0")})
        with pytest.raises(Invalid):
            await scene.adapter.confirm_invoice(KEY, nothing)

        made = await scene.adapter.confirm_invoice(KEY, request)

        assert made.net == money("5000")

    async def test_confirming_twice_is_confirming_once(self, scene: Scene[Psa]) -> None:
        given = await billed(scene, extra="10")
        first = await confirm(scene, given)
        once = await scene.state()
        await scene.calls()

        assert await confirm(scene, given) == first

        assert await scene.state() == once
        assert {method for method, _ in await scene.calls()} == {"GET"}

    async def test_an_adjustment_is_confirmed_like_time(self, scene: Scene[Psa]) -> None:
        entry = next(e for e in await entries(scene) if e.kind is EntryKind.TIME and e.billable)
        fields: Settings = {
            "workspace_id": entry.project_id,
            "user_id": entry.person_id,
            "story_id": entry.task_id,
            "original_date": entry.service_date.isoformat(),
            "time": -7,
            "bill_rate_in_cents": 25000,
        }
        adjustment = await scene.put("time_adjustments", fields)
        given = await billed(scene)
        (confirmed,) = given.request.entries
        assert confirmed.adjustment_ids == (adjustment,)

        made = await confirm(scene, given)

        assert made.net == given.request.net
        ref = EntryRef(kind=EntryKind.ADJUSTMENT, id=adjustment)
        assert (await scene.adapter.read_entries((ref,)))[0].reservation_id == made.record.id


class TestRefusedConfirmation:
    async def assert_refused(self, scene: Scene[Psa], given: Billed, match: str) -> None:
        """See that it is refused, twice alike, and that nothing changed."""
        before = await scene.state()
        for _ in range(2):
            with pytest.raises(Rejected, match=match):
                await confirm(scene, given)
        assert await scene.state() == before

    async def test_a_milestone_on_another_invoice_is_named(self, scene: Scene[Psa]) -> None:
        milestone = await person(scene).plan_milestone("5001", 100)
        given = await billed(scene, milestones=(milestone,))
        theirs = await person(scene).invoice_milestone(milestone)

        await self.assert_refused(scene, given, f"milestone {milestone} is on invoice {theirs}")

    async def test_an_entry_on_another_invoice_is_named(self, scene: Scene[Psa]) -> None:
        given = await billed(scene)
        await scene.adapter.remove_reservation(KEY, None)  # none of that key: nothing happens
        (confirmed,) = given.request.entries
        await scene.control.delete_record(
            scene.vendor, scene.name, facts(scene).invoice, given.reserved.record.id
        )
        entry = confirmed.entry_ids[0]
        theirs: Settings = {
            "workspace_id": "5001",
            "payment_schedule": 30,
            "time_entry_ids": [entry],
        }
        invoice = await scene.put(facts(scene).invoice, theirs)

        await self.assert_refused(scene, given, f"{entry} is on invoice {invoice}")

    async def test_an_entry_that_is_gone_is_named(self, scene: Scene[Psa]) -> None:
        given = await billed(scene)
        (confirmed,) = given.request.entries
        gone = confirmed.model_copy(update={"entry_ids": (facts(scene).absent_id,)})
        request = given.request.model_copy(update={"entries": (gone,)})

        await self.assert_refused(scene, Billed(given.reserved, request), "999999 is gone")

    async def test_a_reservation_that_a_person_issued_is_named(self, scene: Scene[Psa]) -> None:
        given = await billed(scene)
        id_ = given.reserved.record.id
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).invoice, id_, {"draft": False}
        )

        await self.assert_refused(scene, given, f"issued the reservation draft {id_}")
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).invoice, id_, facts(scene).cancel
        )
        assert (await confirm(scene, given)).net == given.request.net

    async def test_another_currency_is_refused(self, scene: Scene[Psa]) -> None:
        given = await billed(scene)
        euros = money(given.request.net.amount, "EUR")
        request = given.request.model_copy(update={"net": euros})

        await self.assert_refused(
            scene, Billed(given.reserved, request), "is in USD, the invoice in EUR"
        )

    async def test_another_currency_without_entries_leaves_no_draft(
        self, scene: Scene[Psa]
    ) -> None:
        request = ConfirmInvoice(
            connection="psa", project=project(scene), number="R-1", on=DAY, net=money("5", "EUR")
        )

        with pytest.raises(Rejected, match="in USD, not EUR"):
            await scene.adapter.confirm_invoice(KEY, request)
        assert await scene.records(facts(scene).invoice) == []

    async def test_a_mirror_that_comes_to_something_else_is_taken_back_with_both_amounts(
        self, scene: Scene[Psa], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = (await billed(scene, whole=True)).at("1000.00")

        def with_surcharge(*args: Any) -> int:
            return invoice_items.total(*args) + 77_00

        monkeypatch.setattr("simulators.kantata.invoices.total", with_surcharge)
        with pytest.raises(Rejected, match=r"1,077\.00 USD .* 1,000\.00 USD"):
            await confirm(scene, given)
        assert await mirrors(scene) == []

        monkeypatch.undo()
        assert (await confirm(scene, given)).net == money("1000.00")
        assert len(await live_invoices(scene)) == 1

    async def test_rounding_of_the_psa_s_own_is_made_up_for(
        self, scene: Scene[Psa], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cut(minutes: int, rate: int) -> int:
            return int((Decimal(minutes * rate) / 60).quantize(Decimal(1), ROUND_FLOOR))

        monkeypatch.setattr(amounts, "of_time", cut)
        given = await billed(scene)

        made = await confirm(scene, given)

        assert made.net == given.request.net
        assert len(await mirrors(scene)) == 1
        assert len(await scene.records(facts(scene).item)) == 1


class TestCancellation:
    async def test_a_cancelled_mirror_frees_what_it_bills_for_another(
        self, scene: Scene[Psa]
    ) -> None:
        milestone = await person(scene).plan_milestone("5001", 100)
        given = await billed(scene, whole=True, milestones=(milestone,))
        made = await confirm(scene, given)

        receipt = await scene.adapter.cancel_confirmation(KEY, given.request)

        assert (receipt.result, receipt.record) == (UndoResult.REVERSED, made.record)
        assert await scene.adapter.find_confirmation(KEY, given.request) is None
        assert {entry.reservation_id for entry in await entries(scene)} == {""}
        assert (await scene.adapter.read_milestone(milestone)).invoiced_on == ""
        again = await scene.adapter.cancel_confirmation(KEY, given.request)
        assert again.result is UndoResult.ABSENT
        second = await confirm(scene, given)
        assert second.record != made.record
        assert second.net == made.net

    async def test_what_was_never_confirmed_is_absent(self, scene: Scene[Psa]) -> None:
        given = await billed(scene)
        before = await scene.state()

        receipt = await scene.adapter.cancel_confirmation(KEY, given.request)

        assert receipt.result is UndoResult.ABSENT
        assert await scene.state() == before

    async def test_what_was_noted_as_paid_in_part_goes_with_its_mirror_alone(
        self, scene: Scene[Psa]
    ) -> None:
        given = await billed(scene)
        made = await confirm(scene, given)
        other = await scene.adapter.confirm_invoice(
            "dt-other",  # type: ignore[arg-type]
            ConfirmInvoice(
                connection="psa", project=project(scene), number="2", on=DAY, net=money("50")
            ),
        )
        await scene.adapter.record_payment(payment(scene, made, money("10.00"), "PAY-1"))
        kept = await scene.adapter.record_payment(payment(scene, other, money("20"), "PAY-2"))

        await scene.adapter.cancel_confirmation(KEY, given.request)

        (left,) = await scene.records(facts(scene).payment)
        assert left["id"] == kept.id

    async def test_a_paid_mirror_stays(self, scene: Scene[Psa]) -> None:
        given = await billed(scene)
        made = await confirm(scene, given)
        await scene.adapter.record_payment(payment(scene, made, made.net, "PAY-1"))
        before = await scene.state()

        for _ in range(2):
            with pytest.raises(UndoRefused, match="paid"):
                await scene.adapter.cancel_confirmation(KEY, given.request)
        assert await scene.state() == before


class TestPayments:
    @pytest_asyncio.fixture(loop_scope="session")
    async def made(self, scene: Scene[Psa]) -> Callable[[], Awaitable[Any]]:
        async def make() -> Any:
            return await confirm(scene, (await billed(scene)).at("1000.00"))

        return make

    async def status(self, scene: Scene[Psa], id_: str) -> str:
        return str((await scene.record(facts(scene).invoice, id_))["fields"]["status"])

    async def test_a_payment_of_the_whole_settles_the_mirror_once(
        self, scene: Scene[Psa], made: Any
    ) -> None:
        invoice = await made()
        request = payment(scene, invoice, money("1000.00"), "PAY-1")
        assert await scene.adapter.find_payment(request) is None

        first = await scene.adapter.record_payment(request)

        assert first.type == "payment"
        assert await scene.adapter.find_payment(request) == first
        assert await scene.adapter.record_payment(request) == first
        assert len(await scene.records(facts(scene).payment)) == 1
        assert await self.status(scene, invoice.record.id) == facts(scene).paid
        mirror = await scene.adapter.find_confirmation(KEY, (await_request(scene, invoice)))
        assert mirror is not None
        assert (mirror.net, mirror.paid) == (money("1000.00"), money("1000.00"))

    async def test_parts_are_noted_and_the_last_one_settles(
        self, scene: Scene[Psa], made: Any
    ) -> None:
        invoice = await made()
        parts = [
            payment(scene, invoice, money(amount), reference)
            for amount, reference in (("300.00", "PAY 1"), ("200.00", "PAY 2"), ("500.00", "PAY 3"))
        ]
        for part in parts[:2]:
            noted = await scene.adapter.record_payment(part)
            assert await scene.adapter.record_payment(part) == noted
            assert await scene.adapter.find_payment(part) == noted
        assert len(await scene.records(facts(scene).payment)) == 2
        assert await self.status(scene, invoice.record.id) != facts(scene).paid

        settled = await scene.adapter.record_payment(parts[2])

        assert await self.status(scene, invoice.record.id) == facts(scene).paid
        (left,) = await scene.records(facts(scene).payment)
        assert (left["id"], left["fields"]["amount_in_cents"]) == (settled.id, 100_000)
        for part in parts:
            assert await scene.adapter.find_payment(part) == settled
            assert await scene.adapter.record_payment(part) == settled
        assert len(await scene.records(facts(scene).payment)) == 1

    async def test_two_mirrors_of_one_project_keep_their_payments_apart(
        self, scene: Scene[Psa], made: Any
    ) -> None:
        invoice = await made()
        theirs = await scene.adapter.confirm_invoice(
            "dt-other",  # type: ignore[arg-type]
            ConfirmInvoice(
                connection="psa", project=project(scene), number="2", on=DAY, net=money("50")
            ),
        )
        await scene.adapter.record_payment(payment(scene, invoice, money("10.00"), "PAY-1"))

        same_name = payment(scene, theirs, money("50"), "PAY-1")
        assert await scene.adapter.find_payment(same_name) is None
        await scene.adapter.record_payment(same_name)

        assert await self.status(scene, theirs.record.id) == facts(scene).paid
        assert await self.status(scene, invoice.record.id) != facts(scene).paid
        assert len(await scene.records(facts(scene).payment)) == 2

    async def test_more_than_the_net_settles_and_there_is_nothing_left_to_record(
        self, scene: Scene[Psa], made: Any
    ) -> None:
        invoice = await made()
        gross = payment(scene, invoice, money("1190.00"), "PAY-1")
        settled = await scene.adapter.record_payment(gross)
        before = await scene.state()

        later = payment(scene, invoice, money("5.00"), "PAY-2")
        assert await scene.adapter.find_payment(later) == settled
        assert await scene.adapter.record_payment(later) == settled
        assert await scene.state() == before

    async def test_a_reversal_is_unsupported_and_says_what_a_person_does(
        self, scene: Scene[Psa], made: Any
    ) -> None:
        invoice = await made()
        await scene.calls()

        with pytest.raises(Unsupported, match="delete the payment"):
            await scene.adapter.record_payment(
                payment(scene, invoice, money("-1000.00"), "PAY-1-R")
            )
        assert await scene.calls() == []

    async def test_what_cannot_be_paid_is_refused(self, scene: Scene[Psa], made: Any) -> None:
        invoice = await made()
        draft = await reserve_rest(scene, invoice)
        before = await scene.state()
        refusals = (
            (payment(scene, invoice, money("10", "EUR"), "P"), "in EUR"),
            (payment(scene, invoice, money("0"), "P"), "nothing"),
            (payment(scene, draft, money("10"), "P"), "draft"),
        )
        for request, words in refusals:
            with pytest.raises(Rejected, match=words):
                await scene.adapter.record_payment(request)
        with pytest.raises(NotFound):
            await scene.adapter.record_payment(
                refusals[0][0].model_copy(
                    update={"invoice": record(scene, "invoice", facts(scene).absent_id)}
                )
            )
        assert await scene.state() == before


def await_request(scene: Scene[Psa], invoice: Any) -> ConfirmInvoice:
    """Return a request that names the mirror; a look goes by its key alone."""
    return ConfirmInvoice(
        connection="psa", project=project(scene), number="", on=DAY, net=invoice.net
    )


class TestMoney:
    MONEY = DealFinances(
        invoiced=money("1200.50"),
        outstanding=money("1428.60"),
        overdue=money("0"),
        unbilled=money("40"),
        margin_percent=Decimal("31.25"),
        status="INV-1: part settled",
        as_of=DAY,
    )

    async def test_a_project_shows_what_its_deal_came_to(self, scene: Scene[Psa]) -> None:
        where = project(scene)
        assert scene.adapter.shows_finances
        assert await scene.adapter.find_finances(where, self.MONEY) is None
        for _ in range(2):
            assert await scene.adapter.write_finances(where, self.MONEY) == where
        assert await scene.adapter.find_finances(where, self.MONEY) == where
        (value,) = await scene.records("custom_field_values")
        assert value["fields"]["value"] == (
            f"invoiced {money('1200.50')}, outstanding {money('1428.60')}, overdue {money('0')}, "
            f"unbilled {money('40')}, margin 31.25 %, INV-1: part settled ({DAY})"
        )
        later = self.MONEY.model_copy(update={"status": "INV-1: settled", "margin_percent": None})
        assert await scene.adapter.find_finances(where, later) is None
        await scene.adapter.write_finances(where, later)
        assert await scene.adapter.find_finances(where, later) == where
        (value,) = await scene.records("custom_field_values")
        assert "margin" not in str(value["fields"]["value"])

    async def test_an_account_without_a_field_shows_nothing(self, scene: Scene[Psa]) -> None:
        other = await scene.another(settings={"finance_field": ""})
        assert not other.shows_finances
        with pytest.raises(MissingMapping, match="No field of projects"):
            await other.write_finances(project(scene), self.MONEY)

    async def test_a_project_that_is_not_there_is_refused(self, scene: Scene[Psa]) -> None:
        nobody = record(scene, "project", "999999")
        assert await scene.adapter.find_finances(nobody, self.MONEY) is None
        with pytest.raises(Rejected):
            await scene.adapter.write_finances(nobody, self.MONEY)

    async def test_a_text_that_does_not_fit_is_told(self, scene: Scene[Psa]) -> None:
        long = self.MONEY.model_copy(update={"status": "x" * 200})
        with pytest.raises(Invalid, match="takes 255 characters"):
            await scene.adapter.write_finances(project(scene), long)


async def reserve_rest(scene: Scene[Psa], invoice: Any) -> Any:
    """Return a draft with the entries of another project on it, in the place of an invoice."""
    found = await entries(scene, 1)
    reserved = await reserve(scene, (found[0].ref,), 1)
    return invoice.model_copy(update={"record": reserved.record})
