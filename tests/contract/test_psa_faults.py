"""What each write and look of a PSA costs, and what it says when something goes wrong."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.errors import (
    Forbidden,
    OutcomeUnknown,
    Rejected,
    Transient,
)
from adapters.psa_port import Psa
from canonical.records import UndoReceipt, UndoResult
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.faults import Look, LookFaults, WriteFaults
from tests.contract.psa_role import (
    ACTS,
    CLIENT,
    CLIENT_KEY,
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
    Act,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param) as opened:
        yield opened


class TestCalls:
    async def test_a_rate_card_is_asked_once(self, scene: Scene[Psa]) -> None:
        for _ in range(2):
            await project(scene)
            await scene.adapter.remove_project(PROJECT_KEY, None)

        asked = [path for _, path in await scene.calls() if "rate_cards" in path]
        assert len(asked) == 1

    async def test_each_look_is_one_call(self, scene: Scene[Psa]) -> None:
        for look in await TestFaults().looks(scene):
            await scene.calls()
            await look()
            assert len(await scene.calls()) == 1


class TestFaults(WriteFaults[Psa], LookFaults[Psa]):
    ACTS = ACTS
    SIGN_INS = {"": Forbidden}
    ONE_WRITE = True

    async def again(self, scene: Scene[Psa], act: Act[Psa]) -> None:
        """What is there is not made a second time."""
        if act.name.startswith("provision_") and await act.landed(scene):
            return
        await act.perform(scene)

    async def state(self, scene: Scene[Psa]) -> list[tuple[str, str, str]]:
        """Without when a note was written last."""
        return [
            (each["type"], each["id"], repr({**each["fields"], facts(scene).stamp: None}))
            for each in await scene.records()
        ]

    async def looks(self, scene: Scene[Psa]) -> tuple[Look, ...]:
        record = await project(scene)
        await client(scene)
        await tasks(scene)
        await milestones(scene)
        return (
            lambda: scene.adapter.find_client(CLIENT_KEY),
            lambda: scene.adapter.find_project(PROJECT_KEY),
            lambda: scene.adapter.find_tasks(TASKS_KEY, record),
            lambda: scene.adapter.find_milestones(MILESTONES_KEY, record),
            lambda: scene.adapter.read_erp_link(record),
            lambda: scene.adapter.is_open_for_time(record),
        )


class TestWhatElseFails:
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
