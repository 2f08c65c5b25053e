"""What every HCM adapter must do: read people and cost centers as of any day, and write nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import AdapterError, ContractBroken, Forbidden, Invalid, Transient
from adapters.ports import Hcm
from canonical.people import CostCenter, Worker
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.suite import (
    IMPATIENT_SECONDS,
    READ_FAULTS,
    SLOW_SECONDS,
    Scene,
    open_scene,
)

pytestmark = pytest.mark.contract

DEAD = "http://127.0.0.1:1"
SINCE, UNTIL = date(2026, 11, 1), date(2026, 11, 30)
MAYA = "maya.chen@example.com"
INES = "ines.costa@example.com"
FIRM = {
    "E1003": ("Maya Chen", "Principal", "senior", "US", "CC-US-100", Decimal("95.00"), "USD"),
    "E1004": ("Luca Rossi", "Consultant", "regular", "DE", "CC-DE-100", Decimal("62.50"), "EUR"),
    "E1005": ("Aiko Tanaka", "Consultant", "regular", "JP", "CC-JP-100", Decimal(7800), "JPY"),
    "E1006": ("Priya Nair", "Engineer", "regular", "US", "CC-US-200", Decimal("70.00"), "USD"),
    "E1007": ("Jonas Weber", "Principal", "senior", "DE", "CC-DE-100", Decimal("88.00"), "EUR"),
    "E1008": ("Sam Okoro", "Analyst", "junior", "US", "CC-US-100", Decimal("48.75"), "USD"),
}
EMAILS = tuple(f"{row[0].lower().replace(' ', '.')}@example.com" for row in FIRM.values())

Fields = dict[str, JsonValue]


@dataclass(frozen=True)
class HcmFacts:
    """What the suite must know of a vendor to act as a person of its HR department."""

    worker: str
    """Record type of workers."""
    since: str
    """Field by which a change holds from a day on; likewise the others."""
    email: str
    cost_rate: str
    cost_center: str
    name: str
    report: str
    """Record type and id of what shows workers, and its list of columns."""
    report_id: str
    columns: str
    rights: tuple[str, str, Fields]
    """Record type, id and change that leave the integration's user nothing to see."""
    one_by_one: Fields
    """Settings by which nobody is asked for one by one."""


HCMS: Mapping[str, HcmFacts] = {
    "workday": HcmFacts(
        worker="worker",
        since="Effective_Date",
        email="Work_Email",
        cost_rate="Cost_Per_Hour",
        cost_center="Cost_Center_ID",
        name="Worker",
        report="report",
        report_id="Dealthread_Workers",
        columns="columns",
        rights=("api_client", "1", {"domain_policies": []}),
        one_by_one={"prompted_workers_max": 0},
    ),
}
"""The adapters of this role; a second vendor is one more entry."""


@pytest_asyncio.fixture(loop_scope="session", params=HCMS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Hcm]]:
    async with open_scene(control, request.param) as opened:
        yield opened


def facts(scene: Scene[Hcm]) -> HcmFacts:
    return HCMS[scene.vendor]


async def change(scene: Scene[Hcm], email: str, fields: Fields) -> None:
    """Change the worker who has the address, as a person does."""
    records = await scene.records(facts(scene).worker)
    worker = next(record for record in records if f"'{email}'" in repr(record["fields"]))
    await scene.control.patch_record(
        scene.vendor, scene.name, facts(scene).worker, worker["id"], fields
    )


async def from_day(scene: Scene[Hcm], email: str, day: str, **fields: JsonValue) -> None:
    await change(scene, email, {facts(scene).since: day, **fields})


async def listed(scene: Scene[Hcm], on: date) -> list[Worker]:
    return [worker async for page in scene.adapter.list_workers(on) for worker in page]


def costs(workers: tuple[Worker, ...]) -> list[tuple[date, Decimal | None]]:
    return [(worker.valid_from, worker.cost_rate) for worker in workers]


def looks(scene: Scene[Hcm]) -> tuple[Callable[[], Awaitable[object]], ...]:
    """Return every look of the port at what is there."""
    return (
        lambda: scene.adapter.read_workers((MAYA,), SINCE, UNTIL),
        lambda: listed(scene, UNTIL),
        scene.adapter.list_cost_centers,
    )


class TestWorkers:
    @pytest.mark.parametrize("one_by_one", [True, False])
    async def test_the_firm_is_read_exactly(self, scene: Scene[Hcm], one_by_one: bool) -> None:
        if not one_by_one:
            scene.adapter = await scene.another(settings=facts(scene).one_by_one)

        found = await scene.adapter.read_workers(EMAILS, SINCE, UNTIL)

        assert {
            w.id: (
                w.name,
                w.role,
                w.employee_class,
                w.legal_entity,
                w.cost_center,
                w.cost_rate,
                w.cost_currency,
            )
            for w in found
        } == FIRM
        assert all(worker.active and worker.valid_from <= SINCE for worker in found)
        assert sorted(worker.email for worker in found) == sorted(EMAILS)

    @pytest.mark.parametrize("one_by_one", [True, False])
    async def test_every_version_in_the_range_is_read(
        self, scene: Scene[Hcm], one_by_one: bool
    ) -> None:
        rate = facts(scene).cost_rate
        await from_day(scene, MAYA, "2026-10-01", **{rate: "96.00"})
        await from_day(scene, MAYA, "2026-11-10", **{rate: "97.00"})
        await from_day(scene, MAYA, "2026-11-30", **{rate: "98.00"})
        await from_day(scene, MAYA, "2026-12-01", **{rate: "99.00"})
        if not one_by_one:
            scene.adapter = await scene.another(settings=facts(scene).one_by_one)

        found = await scene.adapter.read_workers((MAYA, INES), SINCE, UNTIL)

        assert costs(tuple(w for w in found if w.email == MAYA)) == [
            (date(2026, 10, 1), Decimal("96.00")),
            (date(2026, 11, 10), Decimal("97.00")),
            (date(2026, 11, 30), Decimal("98.00")),
        ]
        assert [(w.valid_from, w.cost_center) for w in found if w.email == INES] == [
            (date(2024, 1, 1), "CC-US-100"),
            (date(2026, 11, 16), "CC-US-200"),
        ]

    @pytest.mark.parametrize("day", [date(2026, 11, 15), date(2026, 11, 16)])
    async def test_a_range_of_one_day_has_one_version(self, scene: Scene[Hcm], day: date) -> None:
        (worker,) = await scene.adapter.read_workers((INES,), day, day)
        assert worker.cost_rate == Decimal("60.00" if day.day == 15 else "66.00")

    async def test_unknown_people_are_absent(self, scene: Scene[Hcm]) -> None:
        hostile = (
            "",
            "nobody",
            "a'b@example.com",
            "x\n@example.com",
            "é🚀@example.com",
            "a" * 9000,
        )
        found = await scene.adapter.read_workers((MAYA, *hostile), SINCE, UNTIL)
        assert [worker.email for worker in found] == [MAYA]
        assert await scene.adapter.read_workers((), SINCE, UNTIL) == ()
        assert await scene.adapter.read_workers((MAYA,), UNTIL, SINCE) == ()

    async def test_addresses_join_whatever_their_case(self, scene: Scene[Hcm]) -> None:
        await change(scene, MAYA, {facts(scene).email: "Maya.Chen@Example.com"})
        (worker,) = await scene.adapter.read_workers((" MAYA.chen@example.com ",), SINCE, UNTIL)
        assert (worker.id, worker.email) == ("E1003", MAYA)

    async def test_who_comes_later_is_not_there_yet(self, scene: Scene[Hcm]) -> None:
        who = "nora.lind@example.com"
        assert await scene.adapter.read_workers((who,), SINCE, UNTIL) == ()
        assert who not in {worker.email for worker in await listed(scene, UNTIL)}

        (nora,) = await scene.adapter.read_workers((who,), SINCE, date(2027, 2, 1))
        assert (nora.valid_from, nora.active) == (date(2027, 2, 1), True)

    async def test_who_left_is_inactive_from_the_day_after(self, scene: Scene[Hcm]) -> None:
        who = "omar.haddad@example.com"
        found = await scene.adapter.read_workers((who,), date(2026, 9, 1), UNTIL)
        assert [(w.valid_from, w.active) for w in found] == [
            (date(2024, 1, 1), True),
            (date(2026, 10, 1), False),
        ]

    async def test_who_loses_the_address_on_leaving_is_still_found(self, scene: Scene[Hcm]) -> None:
        gone: Fields = {facts(scene).email: None, "Active": "0"}
        await from_day(scene, MAYA, "2026-11-20", **gone)

        found = await scene.adapter.read_workers((MAYA,), SINCE, UNTIL)

        assert [(w.email, w.valid_from, w.active) for w in found] == [
            (MAYA, date(2024, 1, 1), True),
            (MAYA, date(2026, 11, 20), False),
        ]

    async def test_a_new_address_keeps_the_history(self, scene: Scene[Hcm]) -> None:
        new = "maya.hill@example.com"
        await from_day(scene, MAYA, "2026-11-20", **{facts(scene).email: new})

        found = await scene.adapter.read_workers((new,), SINCE, UNTIL)

        assert [(w.email, w.valid_from) for w in found] == [
            (new, date(2024, 1, 1)),
            (new, date(2026, 11, 20)),
        ]

    async def test_who_returns_is_active_again(self, scene: Scene[Hcm]) -> None:
        since = date(2025, 6, 1)
        found = await scene.adapter.read_workers(("eva.novak@example.com",), since, UNTIL)
        assert [worker.active for worker in found] == [True, False, True]
        assert {worker.id for worker in found} == {"E1022"}

    async def test_a_second_worker_id_takes_over_from_the_first(self, scene: Scene[Hcm]) -> None:
        since = date(2026, 6, 1)
        found = await scene.adapter.read_workers(("tom.silva@example.com",), since, UNTIL)
        assert [(w.id, w.valid_from, w.active) for w in found] == [
            ("C2001", date(2024, 1, 1), True),
            ("E1023", date(2026, 7, 1), True),
        ]

    async def test_values_may_be_hidden(self, scene: Scene[Hcm]) -> None:
        hidden: Fields = {facts(scene).cost_rate: None, facts(scene).name: None}
        await change(scene, MAYA, hidden)
        (maya,) = await scene.adapter.read_workers((MAYA,), SINCE, UNTIL)
        assert (maya.name, maya.cost_rate, maya.cost_currency) == ("", None, "")

    @pytest.mark.parametrize("value", ["a lot", "-1", "NaN", "1,5"])
    async def test_a_cost_that_cannot_be_read_is_no_cost_of_zero(
        self, scene: Scene[Hcm], value: str
    ) -> None:
        await change(scene, MAYA, {facts(scene).cost_rate: value})
        with pytest.raises(ContractBroken, match="E1003"):
            await scene.adapter.read_workers((MAYA,), SINCE, UNTIL)

    @pytest.mark.parametrize("name", ['O\'Brien "X" <b>', "שלום 🚀 Ωmega", "x" * 10_000])
    async def test_names_are_taken_as_they_are(self, scene: Scene[Hcm], name: str) -> None:
        await change(scene, MAYA, {facts(scene).name: name})
        (maya,) = await scene.adapter.read_workers((MAYA,), SINCE, UNTIL)
        assert maya.name == name


class TestLists:
    async def test_everyone_is_listed_as_of_a_day(self, scene: Scene[Hcm]) -> None:
        workers = {worker.id: worker for worker in await listed(scene, UNTIL)}
        assert workers.keys() >= FIRM.keys()
        assert not workers["E1021"].active
        assert workers["E1026"].email == ""
        assert workers["E1024"].cost_center == "CC-US-200"
        assert {w.id: w for w in await listed(scene, SINCE)}["E1024"].cost_center == "CC-US-100"

    async def test_many_come_in_pages(self, control: Control) -> None:
        for vendor in HCMS:
            async with open_scene(control, vendor, "bulk") as scene:
                pages = [page async for page in scene.adapter.list_workers(UNTIL)]
                workers = [worker for page in pages for worker in page]
        assert len({worker.id for worker in workers}) == len(workers) == 2006
        assert max(map(len, pages)) <= 500

    async def test_cost_centers(self, scene: Scene[Hcm]) -> None:
        found = await scene.adapter.list_cost_centers()
        assert len(found) == 5
        expected = CostCenter(id="CC-DE-100", name="DE Consulting", legal_entity="DE")
        assert expected in found
        assert [center.id for center in found if not center.active] == ["CC-US-900"]

    async def test_companies_can_be_mapped(self, scene: Scene[Hcm]) -> None:
        adapter = await scene.another(settings={"companies": {"DE": "DE-GMBH"}})
        workers = await adapter.read_workers((MAYA, "luca.rossi@example.com"), SINCE, UNTIL)
        assert {worker.id: worker.legal_entity for worker in workers} == {
            "E1003": "US",
            "E1004": "DE-GMBH",
        }
        centers = {each.id: each.legal_entity for each in await adapter.list_cost_centers()}
        assert (centers["CC-DE-100"], centers["CC-US-100"]) == ("DE-GMBH", "US")


class TestCalls:
    async def test_each_look_is_one_call_after_the_sign_in(self, scene: Scene[Hcm]) -> None:
        await scene.adapter.list_cost_centers()
        for look in looks(scene):
            await scene.calls()
            await look()
            assert len(await scene.calls()) == 1

    async def test_a_whole_report_is_read_once_per_day_and_change(self, scene: Scene[Hcm]) -> None:
        adapter = await scene.another(settings=facts(scene).one_by_one)
        await adapter.list_cost_centers()
        await scene.calls()

        await adapter.read_workers((*EMAILS, INES), SINCE, UNTIL)

        assert len(await scene.calls()) == 2

    async def test_nothing_is_written(self, scene: Scene[Hcm]) -> None:
        before = await scene.state()
        for look in looks(scene):
            await look()
        assert await scene.state() == before


class TestFaults:
    @pytest.mark.parametrize("kind", READ_FAULTS)
    async def test_a_failed_look_says_why_and_can_be_repeated(
        self, scene: Scene[Hcm], kind: FaultKind
    ) -> None:
        for look in looks(scene):
            await look()
            await scene.fault(kind)
            with pytest.raises(AdapterError) as caught:
                await look()
            assert isinstance(caught.value, READ_FAULTS[kind])
            await look()

    async def test_a_slow_answer_is_given_up(self, scene: Scene[Hcm]) -> None:
        scene.adapter = await scene.another(seconds=IMPATIENT_SECONDS)
        for look in looks(scene):
            await scene.fault(FaultKind.SLOW, seconds=SLOW_SECONDS)
            with pytest.raises(Transient):
                await look()

    async def test_an_expired_token_is_renewed_once(self, scene: Scene[Hcm]) -> None:
        for look in looks(scene):
            known = await look()
            await scene.fault(FaultKind.EXPIRE_AUTH)
            assert await look() == known

    async def test_no_right_is_no_firm_without_people(self, scene: Scene[Hcm]) -> None:
        type_, id_, lost = facts(scene).rights
        await scene.control.patch_record(scene.vendor, scene.name, type_, id_, lost)
        step = next(check for check in scene.adapter.checks() if check.name == "workers")
        with pytest.raises(Invalid, match="empty"):
            await step.run()

    async def test_a_missing_column_is_named(self, scene: Scene[Hcm]) -> None:
        known = facts(scene)
        shown = (await scene.record(known.report, known.report_id))["fields"][known.columns]
        assert isinstance(shown, list)
        less: Fields = {known.columns: [name for name in shown if name != known.cost_rate]}
        await scene.control.patch_record(
            scene.vendor, scene.name, known.report, known.report_id, less
        )
        step = next(check for check in scene.adapter.checks() if check.name == "workers")
        with pytest.raises(Invalid, match=known.cost_rate):
            await step.run()


class TestConnectionCheck:
    async def test_all_steps_pass_and_none_writes(self, scene: Scene[Hcm]) -> None:
        before = await scene.state()
        said = {check.name: await check.run() for check in scene.adapter.checks()}
        assert list(said) == ["reach", "sign in", "workers", "cost centers"]
        assert said["workers"].startswith("14 workers, ")
        assert said["cost centers"] == "5 cost centers"
        assert await scene.state() == before

    @pytest.mark.parametrize(
        ("secret", "says"),
        [("client_secret", "authentication failed"), ("refresh_token", "Authorize the API")],
    )
    async def test_wrong_secrets_fail_at_the_sign_in(
        self, scene: Scene[Hcm], secret: str, says: str
    ) -> None:
        steps = (await scene.another(secrets={secret: "wrong"})).checks()
        assert await steps[0].run() == "reached"
        with pytest.raises(Forbidden, match=says):
            await steps[1].run()

    async def test_nobody_answers(self, scene: Scene[Hcm]) -> None:
        with pytest.raises(Transient):
            await (await scene.another(url=DEAD)).checks()[0].run()

    async def test_something_else_answers(self, scene: Scene[Hcm]) -> None:
        other = (await scene.control.vendors())["kantata"]
        with pytest.raises(ContractBroken, match="Something else"):
            await (await scene.another(url=other)).checks()[0].run()

    async def test_an_unknown_report_is_not_found(self, scene: Scene[Hcm]) -> None:
        adapter = await scene.another(settings={"cost_centers_report": "Nothing"})
        with pytest.raises(AdapterError, match="no such report"):
            await adapter.checks()[-1].run()


async def test_rotated_refresh_tokens_are_followed(scene: Scene[Hcm]) -> None:
    changed: Fields = {"rotates_refresh_tokens": True, "tells_expiry": False}
    await scene.control.patch_record(scene.vendor, scene.name, "api_client", "1", changed)
    scene.adapter = await scene.another()
    known = await scene.adapter.list_cost_centers()
    assert known
    for _ in range(2):
        await scene.fault(FaultKind.EXPIRE_AUTH)
        assert await scene.adapter.list_cost_centers() == known
