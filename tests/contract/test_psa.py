"""What every adapter in the role of the PSA does, on its vendor's simulator."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import (
    Duplicate,
    Invalid,
    MissingMapping,
    NotFound,
    OutcomeUnknown,
    UndoRefused,
)
from adapters.psa_port import Psa
from canonical.ids import ExternalId
from canonical.records import RecordRef, UndoReceipt, UndoResult, WriteOutcome
from simulators.kit import FaultKind
from simulators.kit.control import Control
from tests.contract.psa_role import (
    CLIENT,
    CLIENT_KEY,
    EACH_NAME,
    ERP_LINK,
    MILESTONES_KEY,
    PROJECT_KEY,
    PSAS,
    TASKS_KEY,
    client,
    facts,
    invoice,
    is_milestone,
    log_time,
    milestones,
    milestones_request,
    open_project,
    project,
    project_request,
    reference,
    spend,
    tasks,
    tasks_request,
    usd,
)
from tests.contract.suite import Scene, open_scene

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param) as opened:
        yield opened


async def removed_twice(remove: Callable[[], Awaitable[UndoReceipt]]) -> list[UndoResult]:
    return [(await remove()).result for _ in range(2)]


async def stored(scene: Scene[Psa], type_: str, id_: str) -> dict[str, object]:
    return dict((await scene.record(type_, id_))["fields"])


class TestClients:
    async def test_a_new_client_has_what_the_deal_says(self, scene: Scene[Psa]) -> None:
        assert await scene.adapter.find_client(CLIENT_KEY) is None

        record = await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        assert record == reference(scene, "client", record.id)
        assert await scene.adapter.find_client(CLIENT_KEY) == record
        kept = await stored(scene, facts(scene).client, record.id)
        assert kept[facts(scene).client_name] == "Northwind Robotics"
        text = repr(kept)
        for value in ("billing@northwind.example", "200 Hudson Street", "10013 New York", "US"):
            assert value in text

    async def test_the_same_key_makes_no_second_client_and_is_looked_up(
        self, scene: Scene[Psa]
    ) -> None:
        record = await client(scene)
        once = await scene.state()
        other = CLIENT.model_copy(update={"name": "Another name"})

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.provision_client(CLIENT_KEY, other)

        assert await scene.state() == once
        assert await scene.adapter.find_client(CLIENT_KEY) == record

    async def test_a_client_of_someone_else_with_the_same_name_is_named(
        self, scene: Scene[Psa]
    ) -> None:
        theirs = await scene.put(
            facts(scene).client, {facts(scene).client_name: "NORTHWIND robotics"}
        )
        await scene.fault(FaultKind.REJECT, write=True, options=facts(scene).name_taken)

        with pytest.raises(Duplicate) as caught:
            await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

        assert caught.value.record_id == theirs

    async def test_a_name_taken_by_our_own_earlier_write_is_looked_up(
        self, scene: Scene[Psa]
    ) -> None:
        await client(scene)
        await scene.fault(FaultKind.REJECT, write=True, options=facts(scene).name_taken)

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.provision_client(CLIENT_KEY, CLIENT)

    @EACH_NAME
    async def test_hostile_names_are_kept_or_shortened(self, scene: Scene[Psa], name: str) -> None:
        request = CLIENT.model_copy(update={"name": name})

        record = await scene.adapter.provision_client(CLIENT_KEY, request)

        shown = str((await stored(scene, facts(scene).client, record.id))[facts(scene).client_name])
        one_line = " ".join(name.split())
        assert len(shown) <= facts(scene).title_max
        assert shown == one_line or (shown.endswith("…") and one_line.startswith(shown[:-1]))

    async def test_a_client_is_removed_once_and_then_absent(self, scene: Scene[Psa]) -> None:
        before = await scene.state()
        record = await client(scene)

        results = await removed_twice(lambda: scene.adapter.remove_client(CLIENT_KEY, record))

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.adapter.find_client(CLIENT_KEY) is None
        assert await scene.state() == before

    async def test_a_client_with_projects_is_kept(self, scene: Scene[Psa]) -> None:
        record = await client(scene)
        theirs: dict[str, object] = {
            "title": "Theirs",
            "primary_workspace_group_id": record.id,
        }
        await scene.put(facts(scene).project, theirs)  # type: ignore[arg-type]
        before = await scene.state()

        results = await removed_twice(lambda: scene.adapter.remove_client(CLIENT_KEY, None))

        assert results == [UndoResult.KEPT, UndoResult.KEPT]
        assert await scene.state() == before

    async def test_every_record_with_the_key_is_removed_and_the_oldest_is_found(
        self, scene: Scene[Psa]
    ) -> None:
        name = facts(scene).client_name
        ids = [
            (
                await scene.control.put_record(
                    scene.vendor, scene.name, facts(scene).client, {name: each}, CLIENT_KEY
                )
            )["id"]
            for each in ("One", "Two")
        ]
        assert await scene.adapter.find_client(CLIENT_KEY) == reference(scene, "client", ids[0])

        await scene.adapter.remove_client(CLIENT_KEY, None)

        assert await scene.records(facts(scene).client) == []

    async def test_a_long_email_address_is_refused_by_name_and_makes_no_call(
        self, scene: Scene[Psa]
    ) -> None:
        request = CLIENT.model_copy(update={"billing_email": "x" * 300 + "@b.example"})

        with pytest.raises(Invalid, match="255") as caught:
            await scene.adapter.provision_client(CLIENT_KEY, request)

        assert caught.value.field == "billing_email"
        assert await scene.calls() == []


class TestProjects:
    async def test_a_project_has_all_that_the_plan_says(self, scene: Scene[Psa]) -> None:
        known = await client(scene)
        assert await scene.adapter.find_project(PROJECT_KEY) is None
        request = project_request(scene, known)

        record = await scene.adapter.provision_project(PROJECT_KEY, request)

        assert record == reference(scene, "project", record.id)
        assert await scene.adapter.find_project(PROJECT_KEY) == record
        kept = await scene.record(facts(scene).project, record.id)
        assert kept["key"] == PROJECT_KEY
        values = {str(value) for value in kept["fields"].values()}
        expected = {"180000.50", "USD", "2026-12-01", "2027-05-31", known.id}
        expected |= {facts(scene).manager_id, facts(scene).rate_cards["USD"]}
        assert expected <= values
        assert request.code in str(kept["fields"][facts(scene).title])
        stories = await scene.records(facts(scene).story)
        assert "Discovery" in {each["fields"][facts(scene).title] for each in stories}
        assert not await scene.adapter.is_open_for_time(record)

    async def test_template_rate_card_manager_and_end_may_be_left_out(
        self, scene: Scene[Psa]
    ) -> None:
        request = project_request(
            scene,
            await client(scene),
            template="",
            rate_card="",
            manager_email="",
            end=None,
            price=usd("0"),
        )

        record = await scene.adapter.provision_project(PROJECT_KEY, request)

        assert await scene.records(facts(scene).story) == []
        assert (await stored(scene, facts(scene).project, record.id))["due_date"] is None

    async def test_the_same_key_makes_no_second_project(self, scene: Scene[Psa]) -> None:
        record = await project(scene)
        once = await scene.state()

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.provision_project(
                PROJECT_KEY, project_request(scene, await client(scene))
            )

        assert await scene.state() == once
        assert await scene.adapter.find_project(PROJECT_KEY) == record

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"manager_email": "nobody@example.com"}, "project_manager_email"),
            ({"manager_email": "maya.chen@example.com,x"}, "project_manager_email"),
            ({"rate_card": "6"}, "rate_card"),
            ({"rate_card": "999999"}, "rate_card"),
        ],
    )
    async def test_what_is_not_mapped_is_named_before_anything_is_written(
        self, scene: Scene[Psa], changes: dict[str, str], field: str
    ) -> None:
        request = project_request(scene, await client(scene), **changes)
        before = await scene.state()

        with pytest.raises(MissingMapping) as caught:
            await scene.adapter.provision_project(PROJECT_KEY, request)

        assert caught.value.field == field
        assert await scene.state() == before

    async def test_a_disabled_manager_is_none(self, scene: Scene[Psa]) -> None:
        await scene.control.patch_record(
            scene.vendor, scene.name, "users", facts(scene).manager_id, {"disabled": True}
        )

        with pytest.raises(MissingMapping):
            await project(scene)

    async def test_an_unknown_template_is_rejected(self, scene: Scene[Psa]) -> None:
        request = project_request(scene, await client(scene), template="999999")

        with pytest.raises(Invalid, match="template"):
            await scene.adapter.provision_project(PROJECT_KEY, request)

    @EACH_NAME
    async def test_hostile_names_are_kept_or_shortened(self, scene: Scene[Psa], name: str) -> None:
        request = project_request(scene, await client(scene), name=name)

        record = await scene.adapter.provision_project(PROJECT_KEY, request)

        shown = str((await stored(scene, facts(scene).project, record.id))[facts(scene).title])
        assert len(shown) <= facts(scene).title_max
        assert shown.endswith(f"({request.code})")

    async def test_a_project_is_removed_with_all_in_it_and_then_absent(
        self, scene: Scene[Psa]
    ) -> None:
        await client(scene)
        before = await scene.state()
        record = await project(scene)
        await tasks(scene)
        await milestones(scene)

        results = await removed_twice(lambda: scene.adapter.remove_project(PROJECT_KEY, record))

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.adapter.find_project(PROJECT_KEY) is None
        assert await scene.state() == before

    async def test_an_archived_project_is_found_and_removed(self, scene: Scene[Psa]) -> None:
        record = await project(scene)
        await scene.control.patch_record(
            scene.vendor,
            scene.name,
            facts(scene).project,
            record.id,
            {facts(scene).archived: True},
        )

        assert await scene.adapter.find_project(PROJECT_KEY) == record
        assert not await scene.adapter.is_open_for_time(record)
        removed = await scene.adapter.remove_project(PROJECT_KEY, None)
        assert removed.result is UndoResult.REMOVED

    @pytest.mark.parametrize("use", [log_time, spend, invoice])
    async def test_a_project_in_use_is_not_removed(
        self, scene: Scene[Psa], use: Callable[[Scene[Psa], RecordRef], Awaitable[str]]
    ) -> None:
        record = await open_project(scene)
        await use(scene, record)
        before = await scene.state()
        await scene.calls()

        for _ in range(2):
            with pytest.raises(UndoRefused) as caught:
                await scene.adapter.remove_project(PROJECT_KEY, record)

        assert (caught.value.record_type, caught.value.record_id) == ("project", record.id)
        assert await scene.state() == before
        assert {method for method, _ in await scene.calls()} == {"GET"}

    async def test_it_is_opened_for_time_and_opening_twice_is_as_good(
        self, scene: Scene[Psa]
    ) -> None:
        record = await project(scene)

        for _ in range(2):
            assert await scene.adapter.open_for_time(record) == record
            assert await scene.adapter.is_open_for_time(record)
        await log_time(scene, record)

    async def test_a_missing_project_is_not_found(self, scene: Scene[Psa]) -> None:
        absent = reference(scene, "project", facts(scene).absent_id)

        with pytest.raises(NotFound):
            await scene.adapter.is_open_for_time(absent)
        with pytest.raises(NotFound):
            await scene.adapter.open_for_time(absent)
        assert await scene.adapter.read_erp_link(absent) == ""
        assert await scene.adapter.find_tasks(TASKS_KEY, absent) is None

    async def test_what_is_no_id_makes_no_call(self, scene: Scene[Psa]) -> None:
        psa = scene.adapter

        for bad in facts(scene).bad_ids:
            broken = reference(scene, "project", bad)
            for call in (
                psa.is_open_for_time(broken),
                psa.open_for_time(broken),
                psa.read_erp_link(broken),
                psa.write_erp_link(broken, ERP_LINK),
                psa.write_erp_link(broken, ""),
                psa.find_tasks(TASKS_KEY, broken),
                psa.provision_tasks(TASKS_KEY, tasks_request(broken)),
                psa.provision_milestones(MILESTONES_KEY, milestones_request(broken)),
                psa.provision_project(PROJECT_KEY, project_request(scene, broken)),
            ):
                with pytest.raises(Invalid):
                    await call
        for look in (psa.find_client, psa.find_project):
            with pytest.raises(Invalid):
                await look(ExternalId("a,b"))
        assert await scene.calls() == []


class TestTasks:
    async def test_one_task_per_contract_line_and_milestone_in_the_order_of_the_request(
        self, scene: Scene[Psa]
    ) -> None:
        known = await project(scene)
        assert await scene.adapter.find_tasks(TASKS_KEY, known) is None
        request = tasks_request(known)

        made = await scene.adapter.provision_tasks(TASKS_KEY, request)

        assert made.record == reference(scene, "task_list", made.record.id)
        assert made.outcome is WriteOutcome.CREATED
        assert [part.type for part in made.parts] == ["task"] * 6
        assert await scene.adapter.find_tasks(TASKS_KEY, known) == made
        below = [await stored(scene, facts(scene).story, part.id) for part in made.parts]
        assert [is_milestone(kept) for kept in below] == [False] * 3 + [True] * 3
        for task, kept in zip(request.tasks, below, strict=False):
            assert kept[facts(scene).title] == task.title
            assert task.budget.minor_units in kept.values()
            assert {"2026-12-01", "2027-05-31", made.record.id} <= {
                value for value in kept.values() if isinstance(value, str)
            }
        assert [kept["fixed_fee"] for kept in below] == [False, True, False] + [True] * 3
        for milestone, kept in zip(request.milestones, below[3:], strict=True):
            assert kept[facts(scene).title] == milestone.title
            assert {"2027-01-31", made.record.id} <= {
                value for value in kept.values() if isinstance(value, str)
            }

    async def test_what_people_add_comes_after_what_was_asked_for(self, scene: Scene[Psa]) -> None:
        made = await tasks(scene)
        known = await project(scene)
        title, kind = facts(scene).title, facts(scene).story
        theirs = {"workspace_id": known.id, "parent_id": made.record.id, "story_type": "task"}
        added = await scene.put(kind, {**theirs, title: "Theirs"})

        found = await scene.adapter.find_tasks(TASKS_KEY, known)

        assert found is not None
        assert found.parts == (*made.parts, reference(scene, "task", added))

    async def test_the_same_key_makes_no_second_list(self, scene: Scene[Psa]) -> None:
        made = await tasks(scene)
        once = await scene.state()
        known = await project(scene)

        with pytest.raises(OutcomeUnknown):
            await scene.adapter.provision_tasks(TASKS_KEY, tasks_request(known))

        assert await scene.state() == once
        assert await scene.adapter.find_tasks(TASKS_KEY, known) == made

    @EACH_NAME
    async def test_hostile_titles_are_kept_or_shortened(self, scene: Scene[Psa], name: str) -> None:
        request = tasks_request(await project(scene), title=name)
        named = {
            "tasks": tuple(each.model_copy(update={"title": name}) for each in request.tasks),
            "milestones": tuple(
                each.model_copy(update={"title": name}) for each in request.milestones
            ),
        }

        made = await scene.adapter.provision_tasks(TASKS_KEY, request.model_copy(update=named))

        for record in (made.record, *made.parts):
            shown = str((await stored(scene, facts(scene).story, record.id))[facts(scene).title])
            assert 0 < len(shown) <= facts(scene).story_title_max

    async def test_tasks_are_removed_once_and_then_absent(self, scene: Scene[Psa]) -> None:
        known = await project(scene)
        before = await scene.state()
        made = await tasks(scene)

        results = await removed_twice(lambda: scene.adapter.remove_tasks(TASKS_KEY, made.record))

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.adapter.find_tasks(TASKS_KEY, known) is None
        assert await scene.state() == before

    async def test_archived_tasks_are_found_and_removed(self, scene: Scene[Psa]) -> None:
        made = await tasks(scene)
        await scene.control.patch_record(
            scene.vendor,
            scene.name,
            facts(scene).story,
            made.record.id,
            {facts(scene).archived: True},
        )

        assert await scene.adapter.find_tasks(TASKS_KEY, await project(scene)) == made
        removed = await scene.adapter.remove_tasks(TASKS_KEY, None)
        assert removed.result is UndoResult.REMOVED

    async def test_tasks_with_time_on_one_are_not_removed(self, scene: Scene[Psa]) -> None:
        made = await tasks(scene)
        await log_time(scene, await open_project(scene), made.parts[2].id)
        before = await scene.state()
        await scene.calls()

        for _ in range(2):
            with pytest.raises(UndoRefused) as caught:
                await scene.adapter.remove_tasks(TASKS_KEY, None)

        assert caught.value.record_id == made.record.id
        assert await scene.state() == before
        assert {method for method, _ in await scene.calls()} == {"GET"}


class TestMilestones:
    async def test_all_are_made_in_one_call_in_the_order_of_the_request(
        self, scene: Scene[Psa]
    ) -> None:
        known = await project(scene)
        assert await scene.adapter.find_milestones(MILESTONES_KEY, known) is None
        await scene.calls()

        made = await scene.adapter.provision_milestones(
            MILESTONES_KEY, milestones_request(known, 12)
        )

        assert len(await scene.calls()) == 1
        assert made.record == reference(scene, "milestone_list", known.id)
        assert await scene.adapter.find_milestones(MILESTONES_KEY, known) == made
        kept = [await stored(scene, facts(scene).milestone, part.id) for part in made.parts]
        assert [each["amount_in_cents"] for each in kept] == [
            number * 100_000 + 25 for number in range(1, 13)
        ]
        assert {each["date_to_invoice"] for each in kept} == {"2027-01-31"}
        assert {each["story_id"] for each in kept} == {None}

    async def test_each_is_approved_once_its_own_task_is_completed(self, scene: Scene[Psa]) -> None:
        made = await milestones(scene)
        known = await project(scene)
        before = await scene.adapter.read_milestones(known.id)
        assert [each.approved for each in before] == [False] * 3

        task = (await tasks(scene)).parts[len(tasks_request(known).tasks)].id
        kind = facts(scene).story
        done: dict[str, JsonValue] = {"state": "completed"}
        await scene.control.patch_record(scene.vendor, scene.name, kind, task, done)

        after = await scene.adapter.read_milestones(known.id)
        assert [each.record for each in after] == list(made.parts)
        assert [each.approved for each in after] == [True, False, False]

    async def test_as_many_as_one_call_takes_are_made_found_and_removed(
        self, scene: Scene[Psa]
    ) -> None:
        known = await project(scene)
        request = milestones_request(known, 100)

        made = await scene.adapter.provision_milestones(MILESTONES_KEY, request)

        assert await scene.adapter.find_milestones(MILESTONES_KEY, known) == made
        await scene.adapter.remove_milestones(MILESTONES_KEY, known)
        assert await scene.records(facts(scene).milestone) == []

    @pytest.mark.parametrize("count", [0, 101])
    async def test_none_or_too_many_are_refused_without_a_call(
        self, scene: Scene[Psa], count: int
    ) -> None:
        request = milestones_request(await project(scene), count)
        await scene.calls()

        with pytest.raises(Invalid) as caught:
            await scene.adapter.provision_milestones(MILESTONES_KEY, request)

        assert caught.value.field == "milestones"
        assert await scene.calls() == []

    async def test_a_milestone_that_landed_twice_counts_once_and_both_are_removed(
        self, scene: Scene[Psa]
    ) -> None:
        known = await project(scene)
        made = await milestones(scene)
        await scene.adapter.provision_milestones(MILESTONES_KEY, milestones_request(known))

        assert await scene.adapter.find_milestones(MILESTONES_KEY, known) == made
        await scene.adapter.remove_milestones(MILESTONES_KEY, known)
        assert await scene.records(facts(scene).milestone) == []

    @pytest.mark.parametrize("with_project", [True, False])
    async def test_milestones_are_removed_once_and_then_absent(
        self, scene: Scene[Psa], with_project: bool
    ) -> None:
        known = await project(scene)
        await tasks(scene)
        before = await scene.state()
        await milestones(scene)
        given = known if with_project else None

        results = await removed_twice(
            lambda: scene.adapter.remove_milestones(MILESTONES_KEY, given)
        )

        assert results == [UndoResult.REMOVED, UndoResult.ABSENT]
        assert await scene.state() == before

    async def test_with_one_on_an_invoice_none_is_removed(self, scene: Scene[Psa]) -> None:
        known = await project(scene)
        made = await milestones(scene)
        await invoice(scene, known, billing_milestone_ids=[made.parts[2].id])
        before = await scene.state()

        for _ in range(2):
            with pytest.raises(UndoRefused) as caught:
                await scene.adapter.remove_milestones(MILESTONES_KEY, known)

        assert caught.value.record_id == made.parts[2].id
        assert await scene.state() == before


class TestLinks:
    async def test_the_erp_projects_are_noted_changed_and_cleared(self, scene: Scene[Psa]) -> None:
        record = await project(scene)
        before = await scene.state()
        assert await scene.adapter.read_erp_link(record) == ""

        for value in (ERP_LINK, ERP_LINK, "netsuite:7", "", ""):
            assert await scene.adapter.write_erp_link(record, value) == record
            assert await scene.adapter.read_erp_link(record) == value

        assert await scene.state() == before
        assert await scene.adapter.find_project(PROJECT_KEY) == record

    async def test_a_note_that_does_not_fit_is_refused_by_name(self, scene: Scene[Psa]) -> None:
        with pytest.raises(Invalid, match="255"):
            await scene.adapter.write_erp_link(await project(scene), "x" * 256)

    async def test_a_note_on_a_missing_project_is_rejected(self, scene: Scene[Psa]) -> None:
        absent = reference(scene, "project", facts(scene).absent_id)

        with pytest.raises(Invalid):
            await scene.adapter.write_erp_link(absent, ERP_LINK)
