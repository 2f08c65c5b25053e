"""What each write and look of a billing engine costs, and what it says when something fails."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.billing_engine import BillingEngine
from adapters.errors import (
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    OutcomeUnknown,
    Rejected,
    Transient,
)
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.engine_role import (
    CLIENT,
    CLIENT_KEY,
    CREDIT_KEY,
    DRAFT_KEY,
    EACH_ACT,
    ENGINES,
    client,
    credit_wish,
    expected,
    facts,
    issued,
    wish,
)
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    READ_FAULTS,
    SLOW_SECONDS,
    WITH_EFFECT,
    WRITE_FAULTS,
    Act,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

ANSWERED = (FaultKind.REJECT, FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER)
FAILURES = [*((kind, False) for kind in WRITE_FAULTS), *((kind, True) for kind in ANSWERED)]


@pytest_asyncio.fixture(loop_scope="session", params=ENGINES)
async def scene(
    request: pytest.FixtureRequest, control: Control
) -> AsyncIterator[Scene[BillingEngine]]:
    async with open_scene(control, request.param) as opened:
        yield opened


class TestCalls:
    @EACH_ACT
    async def test_each_write_takes_no_more_calls_than_it_needs(
        self, scene: Scene[BillingEngine], act: Act[BillingEngine]
    ) -> None:
        await act.prepare(scene)
        await scene.calls()

        await act.perform(scene)

        assert len(await scene.calls()) == act.calls

    async def test_each_look_takes_two_calls_at_most(self, scene: Scene[BillingEngine]) -> None:
        engine = scene.adapter
        invoice = await issued(scene)
        request, credit = await wish(scene), await credit_wish(scene)
        await scene.calls()

        for calls, look in (
            (2, engine.find_client(CLIENT_KEY)),
            (1, engine.find_draft(DRAFT_KEY, request)),
            (1, engine.read_invoice(invoice.record)),
            (1, engine.find_credit(CREDIT_KEY, credit)),
        ):
            await look
            assert len(await scene.calls()) == calls


class TestFaults:
    @pytest.mark.parametrize(("kind", "stored"), FAILURES)
    @EACH_ACT
    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self,
        scene: Scene[BillingEngine],
        act: Act[BillingEngine],
        kind: FaultKind,
        stored: bool,
    ) -> None:
        """`stored`: the vendor keeps its failure under the key, and gives it again for a day."""
        await act.prepare(scene)
        stood = await act.landed(scene)
        fault = await scene.fault(kind, write=True, options={"stored": stored})

        with pytest.raises(AdapterError) as caught:
            await act.perform(scene)

        wanted = expected(scene, act, kind) or WRITE_FAULTS[kind]
        assert isinstance(caught.value, wanted)  # type: ignore[arg-type]
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert (await act.landed(scene) is not stood) is (kind in WITH_EFFECT)

        await act.perform(scene)
        repeated = await scene.state()
        assert await act.landed(scene) is not stood
        await act.perform(scene)
        assert await scene.state() == repeated

    @EACH_ACT
    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[BillingEngine], act: Act[BillingEngine]
    ) -> None:
        await act.prepare(scene)
        patient = scene.adapter
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        fault = await scene.fault(FaultKind.HOLD, write=True)

        with pytest.raises(OutcomeUnknown):
            await act.perform(scene)

        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await act.perform(scene)
        settled = await scene.state()
        await act.perform(scene)
        assert await scene.state() == settled

    @EACH_ACT
    async def test_a_key_that_is_void_is_told_before_any_effect(
        self, scene: Scene[BillingEngine], act: Act[BillingEngine]
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        await scene.fault(FaultKind.EXPIRE_AUTH, write=True)

        with pytest.raises(Forbidden):
            await act.perform(scene)

        assert await act.landed(scene) is stood

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[BillingEngine], kind: FaultKind
    ) -> None:
        engine = scene.adapter
        invoice = await issued(scene)
        request, credit = await wish(scene), await credit_wish(scene)
        looks = (
            lambda: engine.find_client(CLIENT_KEY),
            lambda: engine.find_draft(DRAFT_KEY, request),
            lambda: engine.read_invoice(invoice.record),
            lambda: engine.find_credit(CREDIT_KEY, credit),
        )
        for look in looks:
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_look_that_takes_too_long_is_tried_again(
        self, scene: Scene[BillingEngine]
    ) -> None:
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.find_client(CLIENT_KEY)

    async def test_failures_that_are_kept_for_a_day_do_not_block_it(
        self, scene: Scene[BillingEngine]
    ) -> None:
        for _ in range(4):
            await scene.fault(FaultKind.FAIL_BEFORE, write=True, options={"stored": True})
            with pytest.raises((OutcomeUnknown, Transient)):
                await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        record = await client(scene)

        assert await scene.adapter.find_client(CLIENT_KEY) == record

    async def test_every_way_to_sign_in_works(self, scene: Scene[BillingEngine]) -> None:
        for kind in facts(scene).sign_ins:
            adapter = await scene.another(kind=kind)
            assert await adapter.find_client(CLIENT_KEY) is None

    async def test_a_refused_body_can_be_corrected_under_the_same_key(
        self, scene: Scene[BillingEngine]
    ) -> None:
        request = await wish(scene)
        await scene.fault(FaultKind.REJECT, write=True, options={"stored": True})
        with pytest.raises(Rejected):
            await scene.adapter.provision_draft(DRAFT_KEY, request)
        corrected = request.model_copy(update={"payment_days": 45})

        made = await scene.adapter.provision_draft(DRAFT_KEY, corrected)

        assert await scene.adapter.find_draft(DRAFT_KEY, corrected) == made


class TestChecks:
    async def test_all_steps_pass_on_a_good_account_and_write_nothing(
        self, scene: Scene[BillingEngine]
    ) -> None:
        (rate, *_) = await scene.records("tax_rate")
        product = await scene.put("product", {"name": "Consulting"})
        settings = {"product": product, "tax_rates": {"standard": [rate["id"]]}}
        adapter = await scene.another(settings=settings)  # type: ignore[arg-type]

        assert [check.name for check in adapter.checks()] == facts(scene).steps
        assert [bool(await check.run()) for check in adapter.checks()] == [True] * 5
        calls = await scene.control.calls(scene.vendor, scene.name)
        assert {call["effect"] for call in calls} == {"none"}

    @pytest.mark.parametrize(
        ("step", "error", "says", "broken"),
        [
            ("reach", Transient, "could not be reached", {"url": "http://127.0.0.1:1"}),
            ("reach", ContractBroken, "Something else", {"url": "kantata"}),
            ("sign in", Forbidden, "Invalid API Key", {"secrets": {"api_key": "sk_test_x"}}),
            ("mappings", Invalid, "prod_no", {"settings": {"product": "prod_no"}}),
            ("mappings", Invalid, "txr_no", {"settings": {"tax_rates": {"a": ["txr_no"]}}}),
        ],
    )
    async def test_what_is_broken_is_told_by_its_step(
        self,
        scene: Scene[BillingEngine],
        step: str,
        error: type[AdapterError],
        says: str,
        broken: dict[str, Any],
    ) -> None:
        urls = await scene.control.vendors()
        url = broken.get("url", "")
        adapter = await scene.another(**{**broken, "url": urls.get(url, url)})

        for check in adapter.checks():
            if check.name == step:
                with pytest.raises(error, match=says):
                    await check.run()
                return
            await check.run()
        pytest.fail(f"no step {step}")

    @pytest.mark.parametrize(
        ("step", "path"), [("permission", "credit_notes$"), ("search", "/search$")]
    )
    async def test_a_key_that_may_not_is_told_by_its_step(
        self, scene: Scene[BillingEngine], step: str, path: str
    ) -> None:
        await scene.control.add_fault(
            scene.vendor,
            scene.name,
            {"path": path},
            FaultKind.REJECT,
            options={"status": 403, "message": "The key may not do this"},
        )
        check = next(check for check in scene.adapter.checks() if check.name == step)

        with pytest.raises(Forbidden, match="may not"):
            await check.run()
