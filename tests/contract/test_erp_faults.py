"""What each write and look of an ERP costs, and what it says when something goes wrong."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.errors import (
    AdapterError,
    OutcomeUnknown,
    Rejected,
    Transient,
    UndoRefused,
)
from adapters.ports import Erp
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.erp_role import (
    CLIENT,
    CLIENT_KEY,
    EACH_ACT,
    ENTITY_KEY,
    ERPS,
    PROJECT_KEY,
    client,
    facts,
    match,
    project,
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


@pytest_asyncio.fixture(loop_scope="session", params=ERPS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Erp]]:
    async with open_scene(control, request.param) as opened:
        yield opened


class TestCalls:
    @EACH_ACT
    async def test_each_write_takes_no_more_calls_than_it_needs(
        self, scene: Scene[Erp], act: Act[Erp]
    ) -> None:
        await act.prepare(scene)
        await scene.calls()

        await act.perform(scene)

        assert len(await scene.calls()) == act.calls

    async def test_each_look_is_one_call(self, scene: Scene[Erp]) -> None:
        erp, record = scene.adapter, await project(scene)
        known = await client(scene)
        await scene.calls()

        await erp.search_clients(match(name="Meridian"), CLIENT_KEY)
        await erp.get_client(known.id)
        await erp.find_client(CLIENT_KEY)
        await erp.find_client_entity(ENTITY_KEY, known, "2")
        await erp.has_client_currency(known, "USD")
        await erp.find_project(PROJECT_KEY)
        await erp.read_psa_link(record)

        assert len(await scene.calls()) == 7


class TestFaults:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @EACH_ACT
    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[Erp], act: Act[Erp], kind: FaultKind
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        fault = await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await act.perform(scene)

        expected = {**WRITE_FAULTS, **facts(scene).write_faults}[kind]
        undone_refused = act.name in {"remove_client_entity", "remove_client_currency"}
        if kind is FaultKind.REJECT and undone_refused:
            expected = UndoRefused
        assert isinstance(caught.value, expected)
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert (await act.landed(scene) is not stood) is (kind in WITH_EFFECT)

        await act.perform(scene)
        repeated = await scene.state()
        assert await act.landed(scene) is not stood
        await act.perform(scene)
        assert await scene.state() == repeated

    @EACH_ACT
    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[Erp], act: Act[Erp]
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

    @pytest.mark.parametrize("kind", ["token_based", "client_credentials"])
    @EACH_ACT
    async def test_an_expired_session_is_renewed_once_where_that_helps(
        self, scene: Scene[Erp], act: Act[Erp], kind: str
    ) -> None:
        if kind not in facts(scene).sign_ins:
            pytest.skip("not a way to sign in to this vendor")
        await act.prepare(scene)
        stood = await act.landed(scene)
        scene.adapter = await scene.another(kind=kind)
        await act.landed(scene)  # signs in
        await scene.fault(FaultKind.EXPIRE_AUTH, write=True)

        if kind == "client_credentials":
            await act.perform(scene)
        else:  # each call is signed anew: nothing is there to renew
            with pytest.raises(Rejected):
                await act.perform(scene)

        assert (await act.landed(scene) is not stood) is (kind == "client_credentials")

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[Erp], kind: FaultKind
    ) -> None:
        erp, known = scene.adapter, await client(scene)
        record = await project(scene)
        looks = (
            lambda: erp.search_clients(match(), CLIENT_KEY),
            lambda: erp.get_client(known.id),
            lambda: erp.find_client(CLIENT_KEY),
            lambda: erp.find_client_entity(ENTITY_KEY, known, "2"),
            lambda: erp.has_client_currency(known, "USD"),
            lambda: erp.find_project(PROJECT_KEY),
            lambda: erp.read_psa_link(record),
        )
        for look in looks:
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    async def test_a_look_that_takes_too_long_is_tried_again(self, scene: Scene[Erp]) -> None:
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.find_client(CLIENT_KEY)

    async def test_what_a_search_misses_is_still_found_by_key_and_not_made_twice(
        self, scene: Scene[Erp]
    ) -> None:
        record = await client(scene)
        opened = await scene.adapter.add_client_entity(ENTITY_KEY, record, "3")
        before = await scene.state()
        await scene.control.add_fault(scene.vendor, scene.name, {}, FaultKind.STALE_SEARCH)

        assert await scene.adapter.find_client(CLIENT_KEY) == record
        assert await scene.adapter.provision_client(CLIENT_KEY, CLIENT) == record
        assert await scene.adapter.add_client_entity(ENTITY_KEY, record, "3") == opened

        assert len(await scene.state()) == len(before)

    async def test_every_way_to_sign_in_works(self, scene: Scene[Erp]) -> None:
        for kind in facts(scene).sign_ins:
            adapter = await scene.another(kind=kind)
            assert await adapter.find_client(CLIENT_KEY) is None
