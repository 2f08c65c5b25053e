"""What a PSA's milestones, mirrors and payments say and leave when something goes wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from adapters.errors import (
    AdapterError,
    Forbidden,
    OutcomeUnknown,
    Rejected,
    Transient,
    UndoRefused,
)
from adapters.psa_port import Psa
from canonical.invoicing import PsaInvoice
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.psa_invoicing_role import (
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
    record,
)
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

LOOKS = 5
"""Before the first write: at the mirror, the reservation, time, expenses and milestones."""


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param, "time-small") as opened:
        yield opened


async def settled(scene: Scene[Psa], given: Billed, *, whole: bool) -> PsaInvoice:
    """See that the mirror is there once, issued, at the net, with all that it bills."""
    found = await scene.adapter.find_confirmation(KEY, given.request)
    assert found is not None
    assert (found.net, found.draft) == (given.request.net, False)
    assert [each["id"] for each in await mirrors(scene)] == [found.record.id]
    assert len(await live_invoices(scene)) == (1 if whole else 2)
    (confirmed,) = given.request.entries
    for entry in await entries(scene):
        is_billed = entry.id in (*confirmed.entry_ids, *confirmed.expense_ids)
        holder = found.record.id if is_billed else given.reserved.record.id
        assert entry.reservation_id == holder
    return found


async def begun(scene: Scene[Psa], *, whole: bool) -> Billed:
    milestone = await person(scene).plan_milestone("5001", 100_00)
    return await billed(scene, whole=whole, milestones=(milestone,), extra="12.34")


class TestConfirmation:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @pytest.mark.parametrize("nth", [1, 2, 3])
    @pytest.mark.parametrize("whole", [True, False], ids=["whole", "part"])
    async def test_an_attempt_that_died_at_any_write_is_completed_by_the_next(
        self, scene: Scene[Psa], whole: bool, nth: int, kind: FaultKind
    ) -> None:
        given = await begun(scene, whole=whole)
        match = {"write": True, "nth": nth}
        fault = await scene.control.add_fault(scene.vendor, scene.name, dict(match), kind)

        with pytest.raises(AdapterError) as caught:
            await confirm(scene, given)

        assert isinstance(caught.value, WRITE_FAULTS[kind])
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        issued = nth == 3 and kind in WITH_EFFECT
        found = await scene.adapter.find_confirmation(KEY, given.request)
        assert (found is not None) is issued
        made = await confirm(scene, given)
        assert await settled(scene, given, whole=whole) == made
        once = await scene.state()
        assert await confirm(scene, given) == made
        assert await scene.state() == once

    @pytest.mark.parametrize("nth", [1, 2, 3])
    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[Psa], nth: int
    ) -> None:
        given = await begun(scene, whole=False)
        patient = scene.adapter
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        match: dict[str, Any] = {"write": True, "nth": nth}
        fault = await scene.control.add_fault(scene.vendor, scene.name, match, FaultKind.HOLD)

        with pytest.raises(OutcomeUnknown):
            await confirm(scene, given)

        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        made = await confirm(scene, given)
        assert await settled(scene, given, whole=False) == made

    async def test_a_draft_that_lands_after_the_next_attempt_is_refused_by_the_psa_itself(
        self, scene: Scene[Psa]
    ) -> None:
        given = await begun(scene, whole=True)
        patient = scene.adapter
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        match: dict[str, Any] = {"write": True, "nth": 2}
        fault = await scene.control.add_fault(
            scene.vendor, scene.name, match, FaultKind.HOLD, effect="after"
        )
        with pytest.raises(OutcomeUnknown):
            await confirm(scene, given)
        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)

        made = await confirm(scene, given)
        await scene.control.release(scene.vendor, scene.name)

        assert await settled(scene, given, whole=True) == made

    async def test_a_mirror_that_a_list_misses_is_not_made_twice(self, scene: Scene[Psa]) -> None:
        given = await begun(scene, whole=True)
        await scene.control.add_fault(scene.vendor, scene.name, {}, FaultKind.STALE_SEARCH)
        before = {each["id"] for each in await scene.records(facts(scene).invoice)}
        await confirm(scene, given)
        once = await scene.state()

        with pytest.raises(OutcomeUnknown, match="our key"):
            await confirm(scene, given)

        assert await scene.state() == once
        assert len({each["id"] for each in await live_invoices(scene)} - before) == 1

    async def test_a_draft_of_another_content_is_made_anew(self, scene: Scene[Psa]) -> None:
        given = await begun(scene, whole=False)
        match: dict[str, Any] = {"write": True, "nth": 3}
        await scene.control.add_fault(scene.vendor, scene.name, match, FaultKind.DROP_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await confirm(scene, given)
        (draft,) = await mirrors(scene)

        corrected = given.at("4321.00")
        made = await confirm(scene, corrected)

        assert await settled(scene, corrected, whole=False) == made
        assert made.record.id != draft["id"]

    @pytest.mark.parametrize("kind", [FaultKind.FAIL_BEFORE, FaultKind.RATE_LIMIT])
    @pytest.mark.parametrize("nth", range(1, LOOKS + 1))
    async def test_a_failed_look_comes_before_any_write(
        self, scene: Scene[Psa], nth: int, kind: FaultKind
    ) -> None:
        given = await begun(scene, whole=True)
        match: dict[str, Any] = {"write": False, "nth": nth}
        await scene.control.add_fault(scene.vendor, scene.name, match, kind)
        await scene.calls()

        with pytest.raises(READ_FAULTS[kind]):
            await confirm(scene, given)

        assert {method for method, _ in await scene.calls()} == {"GET"}

    async def test_a_void_token_is_refused_without_effect(self, scene: Scene[Psa]) -> None:
        given = await begun(scene, whole=True)
        before = await scene.state()
        await scene.fault(FaultKind.EXPIRE_AUTH, write=True)

        with pytest.raises(Forbidden):
            await confirm(scene, given)

        assert await scene.state() == before

    async def test_an_invoice_takes_no_more_calls_than_it_needs(self, scene: Scene[Psa]) -> None:
        given = await begun(scene, whole=True)
        await scene.calls()

        await confirm(scene, given)

        methods = [method for method, _ in await scene.calls()]
        assert methods.count("GET") == LOOKS
        assert [each for each in methods if each != "GET"] == ["DELETE", "POST", "PUT"]


class TestCancellation:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    async def test_a_failed_cancel_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[Psa], kind: FaultKind
    ) -> None:
        given = await begun(scene, whole=True)
        await confirm(scene, given)
        await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await scene.adapter.cancel_confirmation(KEY, given.request)

        expected = UndoRefused if kind is FaultKind.REJECT else WRITE_FAULTS[kind]
        assert isinstance(caught.value, expected)
        found = await scene.adapter.find_confirmation(KEY, given.request)
        assert (found is None) is (kind in WITH_EFFECT)
        await scene.adapter.cancel_confirmation(KEY, given.request)
        assert await mirrors(scene) == []

    async def test_a_draft_that_an_attempt_left_is_deleted(self, scene: Scene[Psa]) -> None:
        given = await begun(scene, whole=True)
        match: dict[str, Any] = {"write": True, "nth": 3}
        await scene.control.add_fault(scene.vendor, scene.name, match, FaultKind.DROP_BEFORE)
        with pytest.raises(OutcomeUnknown):
            await confirm(scene, given)

        await scene.adapter.cancel_confirmation(KEY, given.request)

        assert await live_invoices(scene) == []


@dataclass(frozen=True)
class Paid:
    """A mirror of 1,000.00 with a part of it noted, and the payment that completes it."""

    invoice: PsaInvoice
    last: Any


@pytest.fixture
def mirrored(scene: Scene[Psa]) -> Callable[[], Awaitable[Paid]]:
    async def make() -> Paid:
        invoice = await confirm(scene, (await billed(scene)).at("1000.00"))
        part = payment(scene, invoice, money("400.00"), "PAY-1")
        await scene.adapter.record_payment(part)
        return Paid(invoice, payment(scene, invoice, money("600.00"), "PAY-2"))

    return make


class TestPayments:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @pytest.mark.parametrize("nth", [1, 2])
    async def test_an_attempt_that_died_at_any_write_is_completed_by_the_next(
        self,
        scene: Scene[Psa],
        mirrored: Callable[[], Awaitable[Paid]],
        nth: int,
        kind: FaultKind,
    ) -> None:
        paid = await mirrored()
        match: dict[str, Any] = {"write": True, "nth": nth}
        await scene.control.add_fault(scene.vendor, scene.name, match, kind)

        with pytest.raises(AdapterError) as caught:
            await scene.adapter.record_payment(paid.last)

        assert isinstance(caught.value, WRITE_FAULTS[kind])
        recorded = await scene.adapter.find_payment(paid.last)
        assert (recorded is not None) is (nth == 2 or kind in WITH_EFFECT)
        made = await scene.adapter.record_payment(paid.last)
        (left,) = await scene.records(facts(scene).payment)
        assert left["id"] == made.id
        assert left["fields"]["amount_in_cents"] == 100_000

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[Psa], mirrored: Callable[[], Awaitable[Paid]], kind: FaultKind
    ) -> None:
        paid = await mirrored()
        before = await scene.state()
        for act in (scene.adapter.find_payment, scene.adapter.record_payment):
            await scene.fault(kind, write=False)
            with pytest.raises(READ_FAULTS[kind]):
                await act(paid.last)
            assert await scene.state() == before


class TestMilestones:
    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[Psa], kind: FaultKind
    ) -> None:
        id_ = await person(scene).plan_milestone("5001", 100)
        await person(scene).complete(id_)
        milestone = record(scene, "milestone", id_)
        psa = scene.adapter
        looks: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: psa.read_milestones("5001"),
            lambda: psa.read_milestone(id_),
            lambda: psa.read_eligibility(milestone),
        )
        for look in looks:
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_look_that_takes_too_long_is_tried_again(self, scene: Scene[Psa]) -> None:
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.read_milestones("5001")

    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @pytest.mark.parametrize("note", ["eligible", ""])
    async def test_a_failed_note_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[Psa], note: str, kind: FaultKind
    ) -> None:
        milestone = record(scene, "milestone", await person(scene).plan_milestone("5001", 100))
        stood = "" if note else "earlier"
        await scene.adapter.write_eligibility(milestone, stood)
        await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await scene.adapter.write_eligibility(milestone, note)

        assert isinstance(caught.value, WRITE_FAULTS[kind])
        expected = note if kind in WITH_EFFECT else stood
        assert await scene.adapter.read_eligibility(milestone) == expected
        await scene.adapter.write_eligibility(milestone, note)
        assert await scene.adapter.read_eligibility(milestone) == note


class TestConnectionCheck:
    async def test_the_step_names_the_rule_and_a_field_that_is_not_there(
        self, scene: Scene[Psa]
    ) -> None:
        (usual,) = [check for check in scene.adapter.checks() if check.name == "milestones"]
        assert "story_completed" in await usual.run()
        rule = {"approved_when": "custom_field", "approved_field": facts(scene).absent_id}
        other = await scene.another(settings={"milestones": dict(rule)})
        (wrong,) = [check for check in other.checks() if check.name == "milestones"]

        with pytest.raises(Rejected, match=facts(scene).absent_id):
            await wrong.run()
        assert "settings.milestones" in wrong.remedy
