"""Invoices under contract: every write and look of the port under every kind of fault."""

from collections.abc import Mapping
from typing import ClassVar

import pytest

from adapters.errors import (
    AdapterError,
    OutcomeUnknown,
    Transient,
    UndoRefused,
)
from adapters.invoicing import Invoicing
from simulators.kit import FaultKind
from tests.contract.invoicing_role import (
    CREDIT_KEY,
    EACH_MOVE,
    INVOICE_KEY,
    LONG_AGO,
    UNDOS,
    InvoicingAccount,
    Move,
    let_go,
    prepare,
)
from tests.contract.suite import READ_FAULTS, SLOW_SECONDS, WITH_EFFECT, WRITE_FAULTS


class FaultSuite:
    """Every write and look under every kind of fault."""

    write_faults: ClassVar[Mapping[FaultKind, type[AdapterError]]] = WRITE_FAULTS

    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @EACH_MOVE
    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self, account: InvoicingAccount, move: Move, kind: FaultKind
    ) -> None:
        scene = account.scene
        await prepare(account, move)
        stood = await move.landed(account)
        fault = await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await move.perform(account)

        refused = kind is FaultKind.REJECT and move.name in UNDOS
        assert isinstance(caught.value, UndoRefused if refused else self.write_faults[kind])
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert (await move.landed(account) is not stood) is (kind in WITH_EFFECT)
        await move.perform(account)
        repeated = await scene.state()
        assert await move.landed(account) is not stood
        await move.perform(account)
        assert await scene.state() == repeated

    @pytest.mark.parametrize("effect", ["before", "after"])
    @EACH_MOVE
    async def test_a_late_answer_leaves_the_outcome_unknown_and_a_late_write_does_no_harm(
        self, account: InvoicingAccount, move: Move, effect: str
    ) -> None:
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

        await move.perform(account)
        settled = await scene.state()
        await let_go(scene, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await move.perform(account)

        assert await scene.state() == settled
        assert await move.landed(account) is not stood

    async def impatient(self, account: InvoicingAccount) -> Invoicing:
        """Return an adapter that does not wait, set up as the account's own."""
        raise AssertionError(f"{type(self).__name__} must say how: {account.scene.vendor}")

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, account: InvoicingAccount, kind: FaultKind
    ) -> None:
        port, request = account.adapter, await account.wish()
        credit = await account.credited()
        asked = account.credit_wish(credit.invoice)
        looks = (
            lambda: port.find_invoice(INVOICE_KEY, request),
            lambda: port.read_invoice(credit.invoice),
            lambda: port.find_credit(CREDIT_KEY, asked),
            lambda: anext(aiter(port.list_changed_invoices(LONG_AGO))),
        )
        for look in looks:
            seen = await look()
            await account.scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_search_that_lags_behind_makes_nothing_twice(
        self, account: InvoicingAccount
    ) -> None:
        made, request = await account.provision(), await account.wish()
        await account.scene.control.add_fault(
            account.scene.vendor, account.scene.name, {}, FaultKind.STALE_SEARCH
        )
        once = await account.scene.state()

        again = await account.adapter.provision_invoice(INVOICE_KEY, request)

        assert again.record == made.record
        assert await account.scene.state() == once

    async def test_a_look_that_takes_too_long_is_tried_again(
        self, account: InvoicingAccount
    ) -> None:
        issued = await account.issued()
        impatient = await self.impatient(account)
        await account.scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.read_invoice(issued.record)
