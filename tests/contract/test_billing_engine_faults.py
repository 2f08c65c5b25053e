"""What each write and look of a billing engine costs, and what it says when something fails."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any, cast

import pytest
import pytest_asyncio

from adapters.errors import (
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    OutcomeUnknown,
    Rejected,
    Transient,
)
from adapters.invoicing import BillingEngine, Invoicing
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.engine_role import (
    CLIENT,
    CLIENT_KEY,
    OWN_ACTS,
    SHARED_ACTS,
    STEPS,
    VENDOR,
    StripeAccount,
    at,
    opened,
)
from tests.contract.faults import Failure, Look, LookFaults, WriteFaults
from tests.contract.invoicing_faults import FaultSuite
from tests.contract.invoicing_role import (
    CREDIT_KEY,
    EACH_MOVE,
    INVOICE_KEY,
    InvoicingAccount,
    Move,
    let_go,
    prepare,
)
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    WRITE_FAULTS,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

ANSWERED = (FaultKind.REJECT, FaultKind.FAIL_BEFORE, FaultKind.FAIL_AFTER)
STORED = tuple(Failure(kind, {"options": {"stored": True}}, f"{kind} stored") for kind in ANSWERED)
"""The vendor keeps its failure under the key, and gives it again for a day."""


@pytest_asyncio.fixture(loop_scope="session")
async def scene(control: Control) -> AsyncIterator[Scene[BillingEngine]]:
    async with open_scene(control, VENDOR) as fresh:
        yield fresh


@pytest_asyncio.fixture(loop_scope="session")
async def account(control: Control) -> AsyncIterator[StripeAccount]:
    async with open_scene(control, VENDOR) as fresh:
        yield await opened(fresh)


class TestCalls:
    async def test_each_look_takes_as_few_calls_as_what_hangs_on_it(
        self, account: StripeAccount
    ) -> None:
        port, invoice = account.port, (await account.issued()).record
        request, credit = await account.wish(), account.credit_wish(invoice)
        await account.scene.calls()
        for calls, look in (
            (2, port.find_client(CLIENT_KEY)),
            (1, port.find_invoice(INVOICE_KEY, request)),
            (1, port.read_invoice(invoice)),
            (1, port.find_credit(CREDIT_KEY, credit)),
        ):
            await look
            assert len(await account.scene.calls()) == calls

        await port.provision_credit(CREDIT_KEY, credit)
        await account.pay(invoice, "100")
        await account.scene.calls()
        await port.read_invoice(invoice)

        # the invoice, its payments, their refunds and disputes, its credit notes
        assert len(await account.scene.calls()) == 5


class TestFaults(WriteFaults[BillingEngine], LookFaults[BillingEngine]):
    """What every issuing system has not: clients, and an invoice in two writes."""

    ACTS = OWN_ACTS
    FAILURES = (*(Failure(kind) for kind in WRITE_FAULTS), *STORED)
    SIGN_INS = {"": Forbidden}

    async def looks(self, scene: Scene[BillingEngine]) -> tuple[Look, ...]:
        return (lambda: scene.adapter.find_client(CLIENT_KEY),)


class TestStoredFaults(WriteFaults[BillingEngine]):
    ACTS = SHARED_ACTS
    FAILURES = STORED
    SIGN_INS = {"": Forbidden}


class TestInvoicing(FaultSuite):
    async def impatient(self, account: InvoicingAccount) -> Invoicing:
        return await cast(StripeAccount, account).with_settings({}, seconds=IMPATIENT_SECONDS)

    @pytest.mark.parametrize("effect", ["before", "after"])
    @EACH_MOVE
    async def test_a_late_answer_leaves_the_outcome_unknown_and_a_late_write_does_no_harm(
        self, account: InvoicingAccount, move: Move, effect: str
    ) -> None:
        """By its key a write that is still under way is told from a new one: that waits."""
        scene = account.scene
        await prepare(account, move)
        stood = await move.landed(account)
        patient = scene.adapter
        scene.adapter = await self.impatient(account)
        fault = await scene.fault(FaultKind.HOLD, write=True, effect=effect)
        with pytest.raises(OutcomeUnknown):
            await move.perform(account)
        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        # What took effect is found; else the key is in use, which a removal has none of.
        found = effect == "before" or move.name == "remove_invoice"
        with nullcontext() if found else pytest.raises(OutcomeUnknown):
            await move.perform(account)

        await let_go(scene, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await move.perform(account)
        settled = await account.state()
        await move.perform(account)

        assert await account.state() == settled
        assert await move.landed(account) is not stood


class TestWhatElseFails:
    async def test_failures_that_are_kept_for_a_day_do_not_block_it(
        self, scene: Scene[BillingEngine]
    ) -> None:
        for _ in range(4):
            await scene.fault(FaultKind.FAIL_BEFORE, write=True, options={"stored": True})
            with pytest.raises((OutcomeUnknown, Transient)):
                await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        record = await at(scene).client()

        assert await scene.adapter.find_client(CLIENT_KEY) == record

    async def test_every_way_to_sign_in_works(self, scene: Scene[BillingEngine]) -> None:
        for kind in ("", "restricted"):
            adapter = await scene.another(kind=kind)
            assert await adapter.find_client(CLIENT_KEY) is None

    async def test_a_refused_body_can_be_corrected_under_the_same_key(
        self, scene: Scene[BillingEngine]
    ) -> None:
        request = await at(scene).wish()
        await scene.fault(FaultKind.REJECT, write=True, options={"stored": True})
        with pytest.raises(Rejected):
            await scene.adapter.provision_invoice(INVOICE_KEY, request)
        corrected = request.model_copy(update={"payment_days": 45})

        made = await scene.adapter.provision_invoice(INVOICE_KEY, corrected)

        assert await scene.adapter.find_invoice(INVOICE_KEY, corrected) == made


class TestChecks:
    async def test_all_steps_pass_on_a_good_account_and_write_nothing(
        self, scene: Scene[BillingEngine]
    ) -> None:
        (rate, *_) = await scene.records("tax_rate")
        product = await scene.put("product", {"name": "Consulting"})
        settings = {"product": product, "tax_rates": {"standard": [rate["id"]]}}
        adapter = await scene.another(settings=settings)  # type: ignore[arg-type]

        assert [check.name for check in adapter.checks()] == STEPS
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
