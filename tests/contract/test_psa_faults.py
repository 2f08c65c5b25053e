"""What each write and look of a PSA costs, and what it says when something goes wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable

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
from adapters.ports import Psa
from canonical.records import UndoReceipt, UndoResult
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.psa_role import (
    ACTS,
    CLIENT,
    CLIENT_KEY,
    EACH_ACT,
    MILESTONES_KEY,
    PROJECT_KEY,
    PSAS,
    TASKS_KEY,
    client,
    facts,
    milestones,
    project,
    tasks,
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


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param) as opened:
        yield opened


async def looks(scene: Scene[Psa]) -> tuple[Callable[[], Awaitable[object]], ...]:
    """Return every look of the port at what is there."""
    psa, record = scene.adapter, await project(scene)
    await client(scene)
    await tasks(scene)
    await milestones(scene)
    return (
        lambda: psa.find_client(CLIENT_KEY),
        lambda: psa.find_project(PROJECT_KEY),
        lambda: psa.find_tasks(TASKS_KEY, record),
        lambda: psa.find_milestones(MILESTONES_KEY, record),
        lambda: psa.read_erp_link(record),
        lambda: psa.is_open_for_time(record),
    )


async def perform_again(scene: Scene[Psa], act: Act[Psa]) -> None:
    """Do the act as its caller does: what is there is not made a second time."""
    if act.name.startswith("provision_") and await act.landed(scene):
        return
    await act.perform(scene)


async def state(scene: Scene[Psa]) -> list[tuple[str, str, str]]:
    """Return all live records, without when they were written last."""
    return [
        (each["type"], each["id"], repr({**each["fields"], facts(scene).stamp: None}))
        for each in await scene.records()
    ]


class TestCalls:
    @EACH_ACT
    async def test_each_act_takes_no_more_calls_than_it_needs_and_one_write(
        self, scene: Scene[Psa], act: Act[Psa]
    ) -> None:
        await act.prepare(scene)
        scene.adapter = await scene.another()
        await scene.calls()

        await act.perform(scene)

        calls = await scene.calls()
        assert len(calls) == act.calls
        assert sum(method != "GET" for method, _ in calls) == 1

    async def test_a_rate_card_is_asked_once(self, scene: Scene[Psa]) -> None:
        for _ in range(2):
            await project(scene)
            await scene.adapter.remove_project(PROJECT_KEY, None)

        asked = [path for _, path in await scene.calls() if "rate_cards" in path]
        assert len(asked) == 1

    async def test_each_look_is_one_call(self, scene: Scene[Psa]) -> None:
        for look in await looks(scene):
            await scene.calls()
            await look()
            assert len(await scene.calls()) == 1


class TestFaults:
    @pytest.mark.parametrize("kind", WRITE_FAULTS)
    @EACH_ACT
    async def test_a_failed_write_says_what_it_left_and_can_be_repeated(
        self, scene: Scene[Psa], act: Act[Psa], kind: FaultKind
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        fault = await scene.fault(kind, write=True)

        with pytest.raises(AdapterError) as caught:
            await act.perform(scene)

        expected = {**WRITE_FAULTS, **facts(scene).write_faults}[kind]
        if kind is FaultKind.REJECT and act.name.startswith("remove_"):
            expected = UndoRefused
        assert isinstance(caught.value, expected)
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        assert (await act.landed(scene) is not stood) is (kind in WITH_EFFECT)

        await perform_again(scene, act)
        repeated = await state(scene)
        assert await act.landed(scene) is not stood
        await perform_again(scene, act)
        assert await state(scene) == repeated

    @EACH_ACT
    async def test_an_answer_that_comes_too_late_leaves_the_outcome_unknown(
        self, scene: Scene[Psa], act: Act[Psa]
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        patient = scene.adapter
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        fault = await scene.fault(FaultKind.HOLD, write=True)

        with pytest.raises(OutcomeUnknown):
            await act.perform(scene)

        scene.adapter = patient
        await scene.control.wait_for_fault(scene.vendor, scene.name, fault)
        await scene.control.clear_faults(scene.vendor, scene.name)
        await perform_again(scene, act)
        settled = await state(scene)
        assert await act.landed(scene) is not stood
        await perform_again(scene, act)
        assert await state(scene) == settled

    @EACH_ACT
    async def test_a_void_token_is_refused_without_effect_and_never_reads_as_absent_or_used(
        self, scene: Scene[Psa], act: Act[Psa]
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        await scene.fault(FaultKind.EXPIRE_AUTH, write=True)

        with pytest.raises(Forbidden):
            await act.perform(scene)

        assert await act.landed(scene) is stood

    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_is_tried_again_or_parks(
        self, scene: Scene[Psa], kind: FaultKind
    ) -> None:
        for look in await looks(scene):
            seen = await look()
            await scene.fault(kind)
            with pytest.raises(READ_FAULTS[kind]):
                await look()
            assert await look() == seen

    @pytest.mark.parametrize(
        "act", [act for act in ACTS if act.calls > 1], ids=lambda act: act.name
    )
    async def test_a_failed_look_inside_an_act_comes_before_the_write(
        self, scene: Scene[Psa], act: Act[Psa]
    ) -> None:
        await act.prepare(scene)
        stood = await act.landed(scene)
        scene.adapter = await scene.another()
        await scene.fault(FaultKind.FAIL_BEFORE, write=False)
        await scene.calls()

        with pytest.raises(Transient):
            await act.perform(scene)

        assert {method for method, _ in await scene.calls()} == {"GET"}
        assert await act.landed(scene) is stood

    @pytest.mark.parametrize(
        "act", [act for act in ACTS if act.name.startswith("remove_")], ids=lambda act: act.name
    )
    async def test_what_someone_else_removes_meanwhile_is_absent(
        self, scene: Scene[Psa], act: Act[Psa]
    ) -> None:
        await act.prepare(scene)
        await scene.fault(FaultKind.REJECT, write=True, options=facts(scene).gone)

        undone = await act.perform(scene)

        assert isinstance(undone, UndoReceipt)
        assert undone.result is UndoResult.ABSENT

    async def test_a_look_that_takes_too_long_is_tried_again(self, scene: Scene[Psa]) -> None:
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await impatient.find_client(CLIENT_KEY)

    async def test_what_a_search_misses_is_not_made_twice(self, scene: Scene[Psa]) -> None:
        await scene.control.add_fault(scene.vendor, scene.name, {}, FaultKind.STALE_SEARCH)
        await client(scene)
        before = await scene.state()
        assert await scene.adapter.find_client(CLIENT_KEY) is None

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        assert await scene.state() == before


class TestConnectionCheck:
    async def run(self, scene: Scene[Psa]) -> list[str]:
        return [await check.run() for check in scene.adapter.checks()]

    async def test_every_step_passes_and_writes_nothing(self, scene: Scene[Psa]) -> None:
        before = await scene.state()

        said = await self.run(scene)

        assert all(said)
        assert all(check.remedy for check in scene.adapter.checks())
        assert await scene.state() == before
        assert {method for method, _ in await scene.calls()} == {"GET"}

    async def test_the_step_that_fails_is_the_one_that_is_wrong(self, scene: Scene[Psa]) -> None:
        wrong = {
            "reach": await scene.another(url=(await scene.control.vendors())["netsuite"]),
            "sign in": await scene.another(secrets={"token": "wrong"}),
            "fields": await scene.another(
                settings={"integration_key_fields": {"workspace": facts(scene).absent_id}}
            ),
        }
        for name, adapter in wrong.items():
            failed = []
            for check in adapter.checks():
                try:
                    await check.run()
                except Rejected:
                    failed.append(check.name)
            assert failed[0] == name

    async def test_something_else_at_the_address_never_reads_as_absent(
        self, scene: Scene[Psa]
    ) -> None:
        elsewhere = await scene.another(url=(await scene.control.vendors())["netsuite"])

        with pytest.raises(Rejected):
            await elsewhere.find_client(CLIENT_KEY)
        with pytest.raises(Rejected):
            await elsewhere.remove_client(CLIENT_KEY, None)
