"""What each write and look of an ERP costs, and what it says when something goes wrong."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.errors import (
    Rejected,
)
from adapters.ports import Erp
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.erp_role import (
    ACTS,
    CLIENT,
    CLIENT_KEY,
    ENTITY_KEY,
    ERPS,
    PROJECT_KEY,
    client,
    facts,
    match,
    project,
)
from tests.contract.faults import Look, LookFaults, WriteFaults
from tests.contract.suite import (
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture(loop_scope="session", params=ERPS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Erp]]:
    async with open_scene(control, request.param) as opened:
        yield opened


class TestCalls:
    async def test_each_look_is_one_call(self, scene: Scene[Erp]) -> None:
        for look in await TestFaults().looks(scene):
            await scene.calls()
            await look()
            assert len(await scene.calls()) == 1


class TestFaults(WriteFaults[Erp], LookFaults[Erp]):
    ACTS = ACTS
    # Signed anew, a call has nothing to renew.
    SIGN_INS = {"token_based": Rejected, "client_credentials": None}

    async def looks(self, scene: Scene[Erp]) -> tuple[Look, ...]:
        known, record = await client(scene), await project(scene)
        return (
            lambda: scene.adapter.find_client(CLIENT_KEY),
            lambda: scene.adapter.search_clients(match(), CLIENT_KEY),
            lambda: scene.adapter.get_client(known.id),
            lambda: scene.adapter.find_client_entity(ENTITY_KEY, known, "2"),
            lambda: scene.adapter.has_client_currency(known, "USD"),
            lambda: scene.adapter.find_project(PROJECT_KEY),
            lambda: scene.adapter.read_psa_link(record),
        )


class TestWhatElseFails:
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
