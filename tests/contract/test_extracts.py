"""What every system lists of itself: all that Dealthread makes, once, page by page, in a window."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast

import pytest
import pytest_asyncio

from adapters.errors import Transient, Unsupported
from adapters.ports import Erp, Extracts
from canonical.entries import EntryKind
from canonical.extracts import ExtractKind, ExtractScope, ExtractState
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.extract_role import LISTERS, Expected, ListerFacts, listed, one
from tests.contract.suite import IMPATIENT_SECONDS, READ_FAULTS, SLOW_SECONDS, Scene, open_scene
from tests.contract.test_erp_billing import COST_IDS
from tests.support.embedded_settings import KINDS

pytestmark = pytest.mark.contract

UNDATED = frozenset({ExtractKind.DEAL, ExtractKind.CLIENT, ExtractKind.PROJECT})
DATED = frozenset(ExtractKind) - UNDATED
SMALL = 2
"""Rows of a page where pages are counted."""
NAMED: Final = {
    "kantata": (ExtractKind.PROJECT, "workspaces", "title"),
    "netsuite": (ExtractKind.PROJECT, "job", "companyName"),
    "salesforce": (ExtractKind.DEAL, "Opportunity", "Name"),
}
"""A kind of what has a name, the vendor's type of it, and the field with the name."""
BROKEN = (FaultKind.FAIL_BEFORE, FaultKind.DROP_BEFORE, FaultKind.RATE_LIMIT)


@pytest_asyncio.fixture(loop_scope="session", params=LISTERS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Extracts]]:
    async with open_scene(control, request.param) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def made(scene: Scene[Extracts]) -> Mapping[ExtractKind, list[Expected]]:
    return await facts(scene).open(scene)


def facts(scene: Scene[Extracts]) -> ListerFacts:
    return LISTERS[scene.vendor]


def small_pages(scene: Scene[Extracts], patch: pytest.MonkeyPatch) -> None:
    """Let the adapter ask for two rows at a time."""
    for name in facts(scene).page:
        patch.setattr(name, SMALL)


def longest(made: Mapping[ExtractKind, list[Expected]]) -> ExtractKind:
    """Return the kind with the most rows."""
    return max(made, key=lambda kind: len(made[kind]))


class TestWhatIsListed:
    async def test_all_that_dealthread_makes_is_there_once_as_it_stands(
        self, scene: Scene[Extracts], made: Mapping[ExtractKind, list[Expected]]
    ) -> None:
        assert set(made) == scene.adapter.extract_kinds()
        for kind, expected in made.items():
            rows = await listed(scene.adapter, kind)
            for each in expected:
                row = one(rows, each)
                assert {name: getattr(row, name) for name in each} == each

    async def test_what_the_system_does_not_have_is_refused_at_once(
        self, scene: Scene[Extracts]
    ) -> None:
        refused = facts(scene).unsupported
        assert refused | scene.adapter.extract_kinds() == frozenset(ExtractKind)
        for kind in refused:
            with pytest.raises(Unsupported):
                scene.adapter.extract(ExtractScope(kind=kind))
        assert await scene.calls() == []

    async def test_a_window_lists_what_is_dated_in_it_and_nothing_else(
        self, scene: Scene[Extracts], made: Mapping[ExtractKind, list[Expected]]
    ) -> None:
        day = timedelta(days=1)
        for kind in DATED & set(made):
            every = await listed(scene.adapter, kind)
            for on in {row.date for row in every} - {None}:
                assert on is not None
                own = {row.id for row in every if row.date == on}
                inside = await listed(scene.adapter, kind, since=on, until=on)
                assert {row.id for row in inside} == own
                after = await listed(scene.adapter, kind, since=on + day)
                before = await listed(scene.adapter, kind, until=on - day)
                assert own.isdisjoint(row.id for row in (*after, *before))
                assert len(after) + len(before) + len(own) == len(every)

    async def test_what_is_undated_is_listed_whatever_the_window(
        self, scene: Scene[Extracts], made: Mapping[ExtractKind, list[Expected]]
    ) -> None:
        for kind in UNDATED & set(made):
            (first, *_) = made[kind]
            rows = await listed(scene.adapter, kind, since="1999-01-01", until="1999-12-31")
            assert one(rows, first)


class TestPages:
    async def test_pages_hold_no_more_than_was_asked_for_and_together_everything(
        self,
        scene: Scene[Extracts],
        made: Mapping[ExtractKind, list[Expected]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = {kind: await listed(scene.adapter, kind) for kind in made}
        small_pages(scene, monkeypatch)
        for kind, rows in whole.items():
            pages = [page async for page in scene.adapter.extract(ExtractScope(kind=kind))]
            assert max(map(len, pages)) <= SMALL
            assert sorted(row.id for page in pages for row in page) == sorted(r.id for r in rows)

    async def test_a_page_is_asked_for_when_it_is_wanted(
        self,
        scene: Scene[Extracts],
        made: Mapping[ExtractKind, list[Expected]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kind = longest(made)
        small_pages(scene, monkeypatch)
        await scene.calls()
        pages = aiter(scene.adapter.extract(ExtractScope(kind=kind)))
        assert await scene.calls() == []
        await anext(pages)
        first = await scene.calls()
        await anext(pages)
        assert (len(first), len(await scene.calls())) == (1, 1)


class TestFaults:
    @pytest.mark.parametrize("kind", BROKEN)
    async def test_a_second_page_that_fails_says_so_and_a_new_extract_is_whole(
        self,
        scene: Scene[Extracts],
        made: Mapping[ExtractKind, list[Expected]],
        monkeypatch: pytest.MonkeyPatch,
        kind: FaultKind,
    ) -> None:
        small_pages(scene, monkeypatch)
        scope = ExtractScope(kind=longest(made))
        whole = await listed(scene.adapter, scope.kind)
        pages = aiter(scene.adapter.extract(scope))
        await anext(pages)
        await scene.fault(kind)

        with pytest.raises(READ_FAULTS[kind]):
            await anext(pages)

        assert await listed(scene.adapter, scope.kind) == whole

    async def test_a_second_page_that_takes_too_long_is_given_up(
        self,
        scene: Scene[Extracts],
        made: Mapping[ExtractKind, list[Expected]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        small_pages(scene, monkeypatch)
        impatient = await scene.another(seconds=IMPATIENT_SECONDS)
        pages = aiter(impatient.extract(ExtractScope(kind=longest(made))))
        await anext(pages)
        await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)

        with pytest.raises(Transient):
            await anext(pages)

    async def test_a_session_that_ends_between_pages_is_renewed_or_refused(
        self,
        scene: Scene[Extracts],
        made: Mapping[ExtractKind, list[Expected]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        small_pages(scene, monkeypatch)
        scope = ExtractScope(kind=longest(made))
        for sign_in, refused in facts(scene).sign_ins.items():
            assert not sign_in or (scene.vendor, sign_in) in KINDS
            adapter: Any = await scene.another(kind=sign_in)
            pages = aiter(adapter.extract(scope))
            first = await anext(pages)
            await scene.fault(FaultKind.EXPIRE_AUTH)
            if refused is not None:
                with pytest.raises(refused):
                    await anext(pages)
                continue
            rest = [row async for page in pages for row in page]
            assert len(first) + len(rest) == len(await listed(scene.adapter, scope.kind))


class TestErp:
    """What only an ERP's listing is asked: one company's records, its changes, cost taken back."""

    @pytest_asyncio.fixture(loop_scope="session")
    async def erp(self, control: Control) -> AsyncIterator[Scene[Extracts]]:
        async with open_scene(control, "netsuite") as opened:
            await LISTERS["netsuite"].open(opened)
            yield opened

    async def test_each_company_lists_its_own(self, erp: Scene[Extracts]) -> None:
        for kind in erp.adapter.extract_kinds():
            every = await listed(erp.adapter, kind)
            for company in {row.subsidiary for row in every} - {""}:
                own = await listed(erp.adapter, kind, subsidiary=company)
                wanted = {row.id for row in every if row.subsidiary == company}
                assert {row.id for row in own} == wanted
        german = await listed(erp.adapter, ExtractKind.CLIENT, subsidiary="3")
        american = await listed(erp.adapter, ExtractKind.CLIENT, subsidiary="2")
        every = await listed(erp.adapter, ExtractKind.CLIENT)
        assert [row.number for row in german if row.external_id] == ["Hansewerk Logistik"]
        assert {row.id for row in (*german, *american)} <= {row.id for row in every}
        assert len(german) < len(every)

    async def test_cost_that_was_reversed_is_voided_and_its_reversal_is_no_row(
        self, erp: Scene[Extracts]
    ) -> None:
        port = cast(Erp, erp.adapter)
        first, second, _ = COST_IDS
        posted = {row.external_id: row for row in await listed(erp.adapter, ExtractKind.COST)}
        for id_ in (first, second):
            await erp.control.patch_record(
                erp.vendor, erp.name, "timeBill", posted[id_].id, {"posted": True}
            )
        await port.remove_costs((first,))

        rows = await listed(erp.adapter, ExtractKind.COST)

        assert {row.external_id for row in rows} == set(posted)
        assert one(rows, {"external_id": first}).state is ExtractState.VOIDED
        assert one(rows, {"external_id": second}).state is ExtractState.OPEN
        assert len(await erp.records("timeBill")) == len([row for row in rows if row.minutes]) + 1


async def test_a_filter_that_a_psa_ignores_lets_nothing_through(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_scene(control, "kantata") as scene:
        await LISTERS["kantata"].open(scene)
        scope: dict[str, Any] = {"since": "2026-11-10", "until": "2026-11-12"}
        inside = await listed(scene.adapter, ExtractKind.ENTRY, **scope)
        assert inside
        monkeypatch.setattr(
            "adapters.kantata.extracts.DAYS", dict.fromkeys(EntryKind, "no_such_filter")
        )
        assert await listed(scene.adapter, ExtractKind.ENTRY, **scope) == inside


@pytest.mark.parametrize("vendor", NAMED)
async def test_what_changed_since_is_listed_where_the_system_can_tell(
    control: Control, vendor: str
) -> None:
    async with open_scene(control, vendor) as scene:
        made = await LISTERS[vendor].open(scene)
        await control.clock(scene.name, advance_seconds=3_600)
        now = datetime.fromisoformat(await control.clock(scene.name))
        since = now - timedelta(minutes=30)
        kind, type_, name = NAMED[vendor]
        assert await listed(scene.adapter, kind, changed_since=since) == []
        changed = str(made[kind][0]["id"])
        await control.patch_record(vendor, scene.name, type_, changed, {name: "Renamed"})

        (row,) = await listed(scene.adapter, kind, changed_since=since)

        assert (row.id, row.number) == (changed, "Renamed")
        assert row.changed_at is not None
        assert row.changed_at >= since
