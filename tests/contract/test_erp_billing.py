"""What every ERP does with approved time: its books, charges on hold, cost, and taking back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import (
    ClosedPeriod,
    Invalid,
    MissingMapping,
    OutcomeUnknown,
    Rejected,
    Transient,
    UndoRefused,
)
from adapters.ports import Erp
from canonical.billing import Charge, ChargeBatch, ChargeStage, CostBatch, CostItem
from canonical.ids import ExternalId, external_id
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.records import RecordRef, UndoResult
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.erp_role import project
from tests.contract.faults import Look, LookFaults, WriteFaults
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    Act,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

Fields = dict[str, JsonValue]


@dataclass(frozen=True)
class BillingFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    charge: str
    """Record type of charges; likewise the next three."""
    time: str
    report: str
    period: str
    billing_run: str
    """What a person starts to bill what is ready."""
    batch_calls: int
    """Vendor calls of a batch that goes well: the books, the batch, the job, the read-back."""


ERPS: Final = {
    "netsuite": BillingFacts(
        "charge", "timeBill", "expenseReport", "accountingPeriod", "billingRun", 4
    )
}
NOVEMBER = date(2026, 11, 10)
OCTOBER = date(2026, 10, 10)
DIMENSIONS = Dimensions(department="10", business_class="20", location="30")


@pytest_asyncio.fixture(loop_scope="session", params=ERPS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Erp]]:
    async with open_scene(control, request.param) as opened:
        yield opened


def facts(scene: Scene[Erp]) -> BillingFacts:
    return ERPS[scene.vendor]


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


def ids(count: int, kind: str = "charge") -> tuple[ExternalId, ...]:
    return tuple(external_id(f"billing-run/psa/1/2026-11/1/1:{kind}/{n}") for n in range(count))


def charges(record: RecordRef, count: int = 3, on: date = NOVEMBER) -> ChargeBatch:
    return ChargeBatch(
        project=record,
        subsidiary="2",
        charges=tuple(
            Charge(
                item=f"charge-{number}",
                quantity=Decimal("0.21666667"),
                rate=Decimal("187.5"),
                amount=usd("40.63"),
                on=on,
                kind="expense" if number % 3 == 2 else "time",
                description="Workshop – day 1",
                dimensions=DIMENSIONS,
            )
            for number in range(count)
        ),
    )


def cost(number: int, minutes: int, expected: str, **changes: object) -> CostItem:
    item = CostItem(
        item=f"cost-{number}",
        person_email="Maya.Chen@example.com",
        on=NOVEMBER,
        minutes=minutes,
        expected_cost=usd(expected),
        dimensions=DIMENSIONS,
    )
    return item.model_copy(update=changes)


def costs(record: RecordRef, *items: CostItem) -> CostBatch:
    usual = (
        cost(0, 13, "20.58"),
        cost(1, -7, "-5.69", person_email="sam.okoro@example.com"),
        cost(2, 0, "99.95", amount=usd("99.95"), category="Travel"),
    )
    return CostBatch(project=record, subsidiary="2", items=items or usual)


COST_IDS = ids(3, "cost")
CHARGE_IDS = ids(3)


async def posted_charges(scene: Scene[Erp]) -> RecordRef:
    record = await project(scene)
    await scene.adapter.post_charges(CHARGE_IDS, charges(record))
    return record


async def posted_costs(scene: Scene[Erp]) -> RecordRef:
    record = await project(scene)
    await scene.adapter.post_costs(COST_IDS, costs(record))
    return record


async def close_period(scene: Scene[Erp], on: date) -> None:
    found = await scene.adapter.read_period("2", on)
    assert found is not None
    await scene.control.patch_record(
        scene.vendor, scene.name, facts(scene).period, found.id, {"closed": True}
    )


async def bill(scene: Scene[Erp], record_id: str) -> None:
    """Let a person's native billing job put the charge on an invoice."""
    type_ = facts(scene).charge
    await scene.control.patch_record(
        scene.vendor, scene.name, type_, record_id, {"stage": {"id": "READY_FOR_BILLING"}}
    )
    fields = (await scene.record(type_, record_id))["fields"]
    bill_to = fields["billTo"]
    assert isinstance(bill_to, dict)
    await scene.put(facts(scene).billing_run, {"job": bill_to["id"]})


class TestBooks:
    async def test_a_date_has_its_period_open_or_not(self, scene: Scene[Erp]) -> None:
        november = await scene.adapter.read_period("2", NOVEMBER)
        october = await scene.adapter.read_period("2", OCTOBER)

        assert november is not None
        assert (november.start, november.end) == (date(2026, 11, 1), date(2026, 11, 30))
        assert november.open
        assert october is not None
        assert not october.open
        assert await scene.adapter.read_period("2", date(1999, 1, 1)) is None

    async def test_the_next_open_period_is_found_and_closing_it_is_seen_at_once(
        self, scene: Scene[Erp]
    ) -> None:
        before = await scene.adapter.read_open_period("2", OCTOBER)
        assert before is not None
        assert before.start == date(2026, 11, 1)

        await close_period(scene, NOVEMBER)

        after = await scene.adapter.read_open_period("2", OCTOBER)
        assert after is not None
        assert after.start == date(2026, 12, 1)

    async def test_rates_in_force_in_the_range_are_exact_in_both_directions(
        self, scene: Scene[Erp]
    ) -> None:
        found = await scene.adapter.read_exchange_rates(
            ("USD", "EUR", "JPY", "CHF"), date(2026, 11, 14), date(2026, 12, 2)
        )

        pairs = {(r.from_currency, r.to_currency, r.valid_from): r for r in found}
        assert len(pairs) == len(found)
        assert {on for _, _, on in pairs} == {date(2026, 11, 1), date(2026, 12, 1)}
        assert pairs["EUR", "USD", date(2026, 11, 1)].rate == Decimal("1.085")
        assert pairs["JPY", "USD", date(2026, 12, 1)].rate == Decimal("0.00665")
        assert pairs["EUR", "JPY", date(2026, 12, 1)].rate == Decimal("163.157895")
        assert all(r.source.startswith(scene.connection) for r in found)


class TestCharges:
    async def test_a_batch_is_posted_on_hold_in_one_write_and_found_again(
        self, scene: Scene[Erp]
    ) -> None:
        record = await project(scene)
        assert await scene.adapter.find_charges(CHARGE_IDS) == ()
        await scene.calls()

        posted = await scene.adapter.post_charges(CHARGE_IDS, charges(record))

        assert len(await scene.calls()) == facts(scene).batch_calls
        assert [each.external_id for each in posted] == list(CHARGE_IDS)
        assert {each.amount for each in posted} == {usd("40.63")}
        assert {each.stage for each in posted} == {ChargeStage.HOLD}
        assert await scene.adapter.find_charges(CHARGE_IDS) == posted
        assert len(await scene.calls()) == 1
        stored = await scene.record(facts(scene).charge, posted[0].record.id)
        assert stored["fields"]["billTo"] == {"id": record.id}
        for name, id_ in (("department", "10"), ("class", "20"), ("location", "30")):
            assert stored["fields"][name] == {"id": id_}
        assert stored["fields"]["chargeDate"] == NOVEMBER.isoformat()

    async def test_a_hundred_charges_cost_no_more_calls_than_one(self, scene: Scene[Erp]) -> None:
        record, many = await project(scene), ids(100)
        await scene.calls()

        await scene.adapter.post_charges(many, charges(record, 100))
        assert len(await scene.calls()) == facts(scene).batch_calls
        await scene.adapter.remove_charges(many)
        assert len(await scene.calls()) == facts(scene).batch_calls
        with pytest.raises(Invalid):
            await scene.adapter.post_charges(ids(1_001), charges(record, 1_001))

    async def test_posting_twice_makes_each_once(self, scene: Scene[Erp]) -> None:
        record = await posted_charges(scene)
        once = await scene.state()

        await scene.adapter.post_charges(CHARGE_IDS, charges(record))

        assert await scene.state() == once

    async def test_what_a_person_deleted_is_posted_again(self, scene: Scene[Erp]) -> None:
        record = await posted_charges(scene)
        first, *_ = await scene.adapter.find_charges(CHARGE_IDS)
        await scene.control.delete_record(
            scene.vendor, scene.name, facts(scene).charge, first.record.id
        )

        posted = await scene.adapter.post_charges(CHARGE_IDS, charges(record))

        assert len(posted) == 3
        assert posted[0].record != first.record

    async def test_a_refused_charge_is_named_and_the_others_are_there(
        self, scene: Scene[Erp]
    ) -> None:
        record = await project(scene)
        await scene.control.add_fault(
            scene.vendor, scene.name, {"key": CHARGE_IDS[1]}, FaultKind.REJECT
        )

        with pytest.raises(Rejected, match="charge-1"):
            await scene.adapter.post_charges(CHARGE_IDS, charges(record))

        found = await scene.adapter.find_charges(CHARGE_IDS)
        assert [each.external_id for each in found] == [CHARGE_IDS[0], CHARGE_IDS[2]]
        await scene.control.clear_faults(scene.vendor, scene.name)
        assert len(await scene.adapter.post_charges(CHARGE_IDS, charges(record))) == 3

    async def test_a_closed_period_refuses_the_whole_batch(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        batch = charges(record)
        late = batch.charges[1].model_copy(update={"on": OCTOBER})
        mixed = batch.model_copy(update={"charges": (batch.charges[0], late, batch.charges[2])})

        with pytest.raises(ClosedPeriod):
            await scene.adapter.post_charges(CHARGE_IDS, mixed)

        assert await scene.adapter.find_charges(CHARGE_IDS) == ()

    async def test_what_has_no_id_is_a_missing_mapping(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        batch = charges(record)
        for change, field in (
            ({"kind": "royalty"}, "charge_items"),
            ({"amount": Money(amount=Decimal(1), currency="CHF")}, "currency"),
        ):
            wrong = batch.charges[0].model_copy(update=change)
            await scene.calls()
            with pytest.raises(MissingMapping) as caught:
                await scene.adapter.post_charges(
                    CHARGE_IDS[:1], batch.model_copy(update={"charges": (wrong,)})
                )
            assert caught.value.field == field
            assert await scene.calls() == []

    async def test_charges_are_removed_once_and_then_absent(self, scene: Scene[Erp]) -> None:
        await project(scene)
        before = await scene.state()
        await posted_charges(scene)

        results = [(await scene.adapter.remove_charges(CHARGE_IDS)).result for _ in range(2)]

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.state() == before

    async def test_a_charge_that_cannot_be_deleted_is_never_billed(self, scene: Scene[Erp]) -> None:
        await posted_charges(scene)
        await scene.control.add_fault(
            scene.vendor,
            scene.name,
            {"key": CHARGE_IDS[0], "method": "DELETE"},
            FaultKind.REJECT,
        )

        undone = await scene.adapter.remove_charges(CHARGE_IDS)

        assert undone.result is UndoResult.DEACTIVATED
        assert undone.residue
        (left,) = await scene.adapter.find_charges(CHARGE_IDS)
        assert left.stage is ChargeStage.NON_BILLABLE

    async def test_a_billed_charge_is_not_taken_back(self, scene: Scene[Erp]) -> None:
        await posted_charges(scene)
        first, *_ = await scene.adapter.find_charges(CHARGE_IDS)
        await bill(scene, first.record.id)
        before = await scene.state()

        with pytest.raises(UndoRefused, match="invoice"):
            await scene.adapter.remove_charges(CHARGE_IDS)

        assert await scene.state() == before
        assert (await scene.adapter.find_charges(CHARGE_IDS))[0].invoice_id


class TestCosts:
    async def test_hours_and_expenses_cost_what_the_erp_computes(self, scene: Scene[Erp]) -> None:
        record = await project(scene)

        posted = await scene.adapter.post_costs(COST_IDS, costs(record))

        expected = [item.expected_cost for item in costs(record).items]
        assert [each.cost for each in posted] == expected
        assert await scene.adapter.find_costs(COST_IDS) == posted
        stored = await scene.record(facts(scene).time, posted[0].record.id)
        assert stored["fields"]["isBillable"] is False
        assert stored["fields"]["hours"] == "0:13"
        assert stored["fields"]["employee"] == {"id": "103"}

    async def test_posting_twice_makes_each_once(self, scene: Scene[Erp]) -> None:
        record = await posted_costs(scene)
        once = await scene.state()

        await scene.adapter.post_costs(COST_IDS, costs(record))

        assert await scene.state() == once

    async def test_nobody_with_that_address_is_a_missing_mapping_that_names_the_line(
        self, scene: Scene[Erp]
    ) -> None:
        record = await project(scene)
        batch = costs(record, cost(0, 60, "1", person_email="gone@example.com"))

        with pytest.raises(MissingMapping, match="line cost-0"):
            await scene.adapter.post_costs(COST_IDS[:1], batch)

        assert await scene.adapter.find_costs(COST_IDS) == ()

    async def test_an_unknown_category_or_nothing_at_all_is_refused_before_it_is_sent(
        self, scene: Scene[Erp]
    ) -> None:
        record = await project(scene)
        wrong = cost(0, 0, "1", amount=usd("1"), category="Gifts")
        for item, error in ((wrong, MissingMapping), (cost(0, 0, "0"), Invalid)):
            with pytest.raises(error):
                await scene.adapter.post_costs(COST_IDS[:1], costs(record, item))
        assert await scene.adapter.find_costs(COST_IDS) == ()

    async def test_another_entity_s_employee_is_refused_by_name(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        batch = costs(record, cost(0, 60, "62.50", person_email="luca.rossi@example.com"))

        with pytest.raises(Rejected, match=r"cost-0.*subsidiary"):
            await scene.adapter.post_costs(COST_IDS[:1], batch)

        own = batch.model_copy(update={"subsidiary": "3"})
        own_item = own.items[0].model_copy(update={"dimensions": Dimensions()})
        (posted,) = await scene.adapter.post_costs(
            COST_IDS[:1], own.model_copy(update={"items": (own_item,)})
        )
        assert posted.cost == Money(amount=Decimal("62.50"), currency="EUR")

    async def test_a_closed_period_refuses_the_whole_batch(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        await close_period(scene, NOVEMBER)

        with pytest.raises(ClosedPeriod):
            await scene.adapter.post_costs(COST_IDS, costs(record))

        assert await scene.adapter.find_costs(COST_IDS) == ()

    async def test_costs_are_removed_once_and_then_absent(self, scene: Scene[Erp]) -> None:
        await project(scene)
        before = await scene.state()
        await posted_costs(scene)

        results = [(await scene.adapter.remove_costs(COST_IDS)).result for _ in range(2)]

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.state() == before

    async def test_posted_time_is_reversed_once_in_an_open_period(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        batch = costs(record, cost(0, 90, "142.50"))
        (posted,) = await scene.adapter.post_costs(COST_IDS[:1], batch)
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).time, posted.record.id, {"posted": True}
        )
        await close_period(scene, NOVEMBER)

        first = await scene.adapter.remove_costs(COST_IDS[:1])
        once = await scene.state()
        second = await scene.adapter.remove_costs(COST_IDS[:1])

        assert first.result is second.result is UndoResult.REVERSED
        assert await scene.state() == once
        assert await scene.adapter.find_costs(COST_IDS) == ()
        rows = await scene.records(facts(scene).time)
        assert sum(Decimal(str(row["fields"]["cost"])) for row in rows) == 0
        assert {row["fields"]["tranDate"] for row in rows} == {"2026-11-10", "2026-12-01"}

    async def test_an_expense_in_a_closed_period_is_left_to_a_person(
        self, scene: Scene[Erp]
    ) -> None:
        await posted_costs(scene)
        await close_period(scene, NOVEMBER)

        with pytest.raises(UndoRefused):
            await scene.adapter.remove_costs(COST_IDS[2:])

        assert len(await scene.adapter.find_costs(COST_IDS[2:])) == 1


async def has_charges(scene: Scene[Erp]) -> bool:
    return len(await scene.adapter.find_charges(CHARGE_IDS)) == 3


async def has_costs(scene: Scene[Erp]) -> bool:
    return len(await scene.adapter.find_costs(COST_IDS[:2])) == 2


def hours(record: RecordRef) -> CostBatch:
    return costs(record, *costs(record).items[:2])


async def posted_hours(scene: Scene[Erp]) -> None:
    record = await project(scene)
    await scene.adapter.post_costs(COST_IDS[:2], hours(record))


async def with_project(scene: Scene[Erp]) -> None:
    scene.kept["project"] = await project(scene)


async def with_charges(scene: Scene[Erp]) -> None:
    await posted_charges(scene)


async def post_charges(scene: Scene[Erp]) -> object:
    return await scene.adapter.post_charges(CHARGE_IDS, charges(scene.kept["project"]))


async def post_hours(scene: Scene[Erp]) -> object:
    return await scene.adapter.post_costs(COST_IDS[:2], hours(scene.kept["project"]))


async def remove_charges(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_charges(CHARGE_IDS)


async def remove_hours(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_costs(COST_IDS[:2])


# Faults are for the batches: queries are posted too.
PUT: Final[Fields] = {"method": "PUT"}
DELETE: Final[Fields] = {"method": "DELETE"}


class TestFaults(WriteFaults[Erp], LookFaults[Erp]):
    ACTS = (
        Act("post_charges", post_charges, has_charges, with_project, calls=4, match=PUT),
        Act("remove_charges", remove_charges, has_charges, with_charges, calls=4, match=DELETE),
        Act("post_costs", post_hours, has_costs, with_project, calls=5, match=PUT),
        # Two looks, two batches with their jobs, and two looks at what became of them.
        Act("remove_costs", remove_hours, has_costs, posted_hours, calls=8, match=DELETE),
    )
    SIGN_INS = {"client_credentials": None}

    async def looks(self, scene: Scene[Erp]) -> tuple[Look, ...]:
        await posted_charges(scene)
        return (
            lambda: scene.adapter.read_period("2", NOVEMBER),
            lambda: scene.adapter.read_open_period("2", NOVEMBER),
            lambda: scene.adapter.read_exchange_rates(("USD", "EUR"), NOVEMBER, NOVEMBER),
            lambda: scene.adapter.find_charges(CHARGE_IDS),
            lambda: scene.adapter.find_costs(COST_IDS),
        )


class TestWhatElseFails:
    async def test_a_job_that_cannot_be_seen_leaves_the_outcome_unknown_and_is_followed_later(
        self, scene: Scene[Erp]
    ) -> None:
        record = await project(scene)
        await scene.control.add_fault(
            scene.vendor, scene.name, {"path": "/async/v1/job"}, FaultKind.FAIL_BEFORE, times=9
        )
        patient = scene.adapter
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.post_charges(CHARGE_IDS, charges(record))

        scene.adapter = patient
        await scene.control.clear_faults(scene.vendor, scene.name)
        once = await scene.state()
        assert len(await scene.adapter.post_charges(CHARGE_IDS, charges(record))) == 3
        assert await scene.state() == once

    async def test_what_is_written_and_not_found_is_unknown(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        await scene.control.add_fault(scene.vendor, scene.name, {}, FaultKind.STALE_SEARCH)

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.post_charges(CHARGE_IDS, charges(record))

    async def test_the_books_cannot_be_read_so_nothing_is_sent(self, scene: Scene[Erp]) -> None:
        record = await project(scene)
        await scene.fault(FaultKind.FAIL_BEFORE)

        with pytest.raises(Transient):
            await scene.adapter.post_charges(CHARGE_IDS, charges(record))

        assert await scene.adapter.find_charges(CHARGE_IDS) == ()
