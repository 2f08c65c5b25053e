"""What every PSA says of billing milestones: evidence of approval, notes, changes."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest
import pytest_asyncio
from pydantic import JsonValue

from adapters.errors import Invalid, NotFound
from adapters.psa_port import Psa
from canonical.billing import PsaChange
from canonical.provisioning import PlannedMilestone, ProvisionMilestones
from simulators.kit.control import Control
from tests.contract.psa_invoicing_role import (
    MILESTONES_KEY,
    PERSON,
    PSAS,
    facts,
    money,
    person,
    project,
    record,
)
from tests.contract.suite import Scene, open_scene

pytestmark = pytest.mark.contract

Settings = dict[str, JsonValue]


@pytest_asyncio.fixture(loop_scope="session", params=PSAS)
async def scene(request: pytest.FixtureRequest, control: Control) -> AsyncIterator[Scene[Psa]]:
    async with open_scene(control, request.param, "time-small") as opened:
        await control.seed("time-small", account=opened.name, vendor=opened.vendor, count=4)
        yield opened


async def with_rule(scene: Scene[Psa], **rule: JsonValue) -> Psa:
    return await scene.another(settings={"milestones": rule})


async def field(scene: Scene[Psa], name: str) -> str:
    """Let an administrator make a custom field of tasks."""
    made: Settings = {"name": name, "subject_type": "Story", "value_type": "string"}
    return await scene.put("custom_fields", made)


async def fill_in(scene: Scene[Psa], milestone: str, field_id: str, value: str) -> None:
    story = await person(scene).story_of(milestone)
    given: Settings = {"subject_type": "Story", "subject_id": story, "custom_field_id": field_id}
    await scene.put("custom_field_values", {**given, "value": value})


class TestMilestones:
    async def test_milestones_come_in_their_order_with_the_contract_s_name_for_them(
        self, scene: Scene[Psa]
    ) -> None:
        await person(scene).plan_milestone("5002", 100, "Theirs")
        planned = tuple(
            PlannedMilestone(
                ref=f"00k1/00o{number}",
                title=f"Instalment {number}",
                amount=money(f"{number}000.25"),
                due=None if number == 2 else date(2027, 4 - number, 28),
            )
            for number in (1, 2, 3)
        )
        request = ProvisionMilestones(connection="psa", milestones=planned, project=project(scene))
        made = await scene.adapter.provision_milestones(MILESTONES_KEY, request)

        found = await scene.adapter.read_milestones(project(scene).id)

        assert [each.record for each in found] == list(made.parts)
        assert [each.position for each in found] == [1, 2, 3]
        for plan, each in zip(planned, found, strict=True):
            assert (each.title, each.amount, each.due) == (plan.title, plan.amount, plan.due)
            assert each.external_ref == plan.ref
            assert each.project_id == project(scene).id
            assert not each.approved
            assert (each.eligible, each.invoiced_on, each.acceptance) == ("", "", "")
            assert await scene.adapter.read_milestone(each.record.id) == each

    async def test_completing_the_task_approves_by_whom_and_when(self, scene: Scene[Psa]) -> None:
        act = person(scene)
        first = await act.plan_milestone("5001", 5_000_00)
        second = await act.plan_milestone("5001", -500_00, "Deduction")
        before = datetime.now(UTC) - timedelta(minutes=1)
        await act.complete(first, by="7")
        await act.reopen(first)
        await act.complete(first)

        listed, waiting = await scene.adapter.read_milestones("5001")
        approved = await scene.adapter.read_milestone(first)

        assert listed.approved
        assert approved.approved
        assert approved.approved_by == PERSON
        assert approved.approved_at is not None
        assert before < approved.approved_at < datetime.now(UTC) + timedelta(minutes=1)
        assert (waiting.record.id, waiting.approved, waiting.approved_by) == (second, False, "")
        assert waiting.amount == money("-500.00")

    async def test_listing_many_asks_no_more_than_listing_one(self, scene: Scene[Psa]) -> None:
        act, asked = person(scene), []
        for _ in range(2):
            await act.complete(await act.plan_milestone("5001", 100))
            await act.complete(await act.plan_milestone("5001", 100))
            await scene.calls()
            found = await scene.adapter.read_milestones("5001")
            assert all(each.approved for each in found)
            asked.append(len(await scene.calls()))
        assert asked[0] == asked[1] <= 2

    async def test_opening_or_deleting_the_task_takes_the_approval_back(
        self, scene: Scene[Psa]
    ) -> None:
        act = person(scene)
        opened, deleted = [await act.plan_milestone("5001", 100) for _ in range(2)]
        for each in (opened, deleted):
            await act.complete(each)
            assert (await scene.adapter.read_milestone(each)).approved

        await act.reopen(opened)
        await scene.control.delete_record(
            scene.vendor, scene.name, facts(scene).story, await act.story_of(deleted)
        )

        found = await scene.adapter.read_milestones("5001")
        assert [(each.approved, each.approved_at) for each in found] == [(False, None)] * 2

    async def test_an_archived_task_and_one_completed_by_percentage_count(
        self, scene: Scene[Psa]
    ) -> None:
        act = person(scene)
        milestone = await act.plan_milestone("5001", 100)
        story = await act.story_of(milestone)
        for change in ({"percentage_complete": 100}, {"archived": True}):
            fields: Settings = dict(change)
            await scene.control.patch_record(
                scene.vendor, scene.name, facts(scene).story, story, fields
            )

        assert (await scene.adapter.read_milestone(milestone)).approved

    async def test_a_milestone_without_a_task_is_not_approved_until_one_is_tied_to_it(
        self, scene: Scene[Psa]
    ) -> None:
        act = person(scene)
        milestone = await act.plan_milestone("5001", 100, due="2020-01-01", tied=False)
        assert not (await scene.adapter.read_milestone(milestone)).approved

        await act.complete(milestone)

        assert (await scene.adapter.read_milestone(milestone)).approved

    async def test_by_the_rule_of_dates_the_invoice_date_approves(self, scene: Scene[Psa]) -> None:
        adapter = await with_rule(scene, approved_when="date_reached")
        act, today = person(scene), datetime.now(UTC).date()
        for days, approved in ((0, True), (-30, True), (1, False)):
            due = today + timedelta(days=days)
            id_ = await act.plan_milestone("5001", 100, due=due.isoformat(), tied=False)
            found = await adapter.read_milestone(id_)
            assert (found.approved, found.approved_by) == (approved, "")
            expected = datetime(due.year, due.month, due.day, tzinfo=UTC) if approved else None
            assert found.approved_at == expected

    @pytest.mark.parametrize(
        ("wanted", "value", "approved"),
        [("Approved", "approved", True), ("Approved", "Rejected", False), ("", "x", True)],
    )
    async def test_by_the_rule_of_fields_a_custom_field_of_the_task_approves(
        self, scene: Scene[Psa], wanted: str, value: str, approved: bool
    ) -> None:
        field_id = await field(scene, "Milestone approval")
        adapter = await with_rule(
            scene, approved_when="custom_field", approved_field=field_id, approved_value=wanted
        )
        milestone = await person(scene).plan_milestone("5001", 100)
        assert not (await adapter.read_milestone(milestone)).approved

        await fill_in(scene, milestone, field_id, value)

        found = await adapter.read_milestone(milestone)
        assert found.approved is approved
        assert found.approved_by == (PERSON if approved else "")
        assert (found.approved_at is not None) is approved

    async def test_acceptance_is_a_field_or_the_newest_file(self, scene: Scene[Psa]) -> None:
        act = person(scene)
        field_id = await field(scene, "Acceptance")
        by_field = await with_rule(scene, acceptance="custom_field", acceptance_field=field_id)
        by_file = await with_rule(scene, acceptance="attachment")
        one, other = [await act.plan_milestone("5001", 100) for _ in range(2)]
        for adapter in (by_field, by_file):
            assert [each.acceptance for each in await adapter.read_milestones("5001")] == ["", ""]

        await fill_in(scene, one, field_id, "Protocol 7 of 2027-01-31")
        await act.accept_with_file(one, "draft.pdf")
        await act.accept_with_file(one, "signed.pdf")
        await act.accept_with_file(other, "other.pdf")

        found = [each.acceptance for each in await by_field.read_milestones("5001")]
        assert found == ["Protocol 7 of 2027-01-31", ""]
        found = [each.acceptance for each in await by_file.read_milestones("5001")]
        assert found == ["signed.pdf", "other.pdf"]

    async def test_it_says_which_invoice_a_milestone_is_on_until_that_is_cancelled(
        self, scene: Scene[Psa]
    ) -> None:
        act = person(scene)
        milestone = await act.plan_milestone("5001", 100)
        first = await act.invoice_milestone(milestone)
        assert (await scene.adapter.read_milestone(milestone)).invoiced_on == first

        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).invoice, first, facts(scene).cancel
        )
        assert (await scene.adapter.read_milestone(milestone)).invoiced_on == ""

        second = await act.invoice_milestone(milestone)
        assert (await scene.adapter.read_milestone(milestone)).invoiced_on == second

    @pytest.mark.parametrize(
        ("currency", "cents", "amount"),
        [("JPY", 4_000_000, "4000000"), ("KWD", 1_234_567, "1234.567"), ("EUR", 75, "0.75")],
    )
    async def test_amounts_are_in_the_currency_s_own_minor_units(
        self, scene: Scene[Psa], currency: str, cents: int, amount: str
    ) -> None:
        projects = {"JPY": project(scene, 3).id, "EUR": project(scene, 1).id}
        if currency not in projects:
            projects[currency] = await scene.put(facts(scene).project, facts(scene).dinar_project)
        milestone = await person(scene).plan_milestone(projects[currency], cents)

        found = await scene.adapter.read_milestone(milestone)

        assert found.amount == money(amount, currency)

    async def test_what_is_not_there_is_not_found(self, scene: Scene[Psa]) -> None:
        with pytest.raises(NotFound):
            await scene.adapter.read_milestone(facts(scene).absent_id)
        assert await scene.adapter.read_milestones(facts(scene).absent_id) == ()
        await scene.calls()
        for bad in facts(scene).bad_ids:
            with pytest.raises(Invalid):
                await scene.adapter.read_milestone(bad)
            with pytest.raises(Invalid):
                await scene.adapter.read_milestones(bad)
        assert await scene.calls() == []


class TestLead:
    async def test_the_lead_is_whom_the_project_names_now(self, scene: Scene[Psa]) -> None:
        for user, email in (("3", PERSON), (None, "")):
            change: Settings = {facts(scene).lead: user}
            await scene.control.patch_record(
                scene.vendor, scene.name, facts(scene).project, "5001", change
            )
            assert await scene.adapter.read_lead("5001") == email

    async def test_a_project_that_is_not_there_is_not_found(self, scene: Scene[Psa]) -> None:
        with pytest.raises(NotFound):
            await scene.adapter.read_lead(facts(scene).absent_id)


class TestEligibility:
    async def test_a_note_is_written_read_replaced_and_taken_off(self, scene: Scene[Psa]) -> None:
        milestone = record(scene, "milestone", await person(scene).plan_milestone("5001", 100))
        before = await scene.state()
        assert await scene.adapter.read_eligibility(milestone) == ""

        for note in ("eligible", "draft invoice-draft/US/c/1", "INV-1042"):
            for _ in range(2):
                assert await scene.adapter.write_eligibility(milestone, note) == milestone
                assert await scene.adapter.read_eligibility(milestone) == note
            assert (await scene.adapter.read_milestone(milestone.id)).eligible == note
        for _ in range(2):
            await scene.adapter.write_eligibility(milestone, "")
            assert await scene.adapter.read_eligibility(milestone) == ""
        assert await scene.state() == before

    async def test_the_note_leaves_the_contract_s_name_alone_and_outlives_the_invoice(
        self, scene: Scene[Psa]
    ) -> None:
        plan = PlannedMilestone(ref="00k1/00o1", title="One", amount=money("1"))
        request = ProvisionMilestones(connection="psa", milestones=(plan,), project=project(scene))
        made = await scene.adapter.provision_milestones(MILESTONES_KEY, request)
        (milestone,) = made.parts
        await person(scene).invoice_milestone(milestone.id)

        await scene.adapter.write_eligibility(milestone, "eligible")

        found = await scene.adapter.read_milestone(milestone.id)
        assert (found.eligible, found.external_ref) == ("eligible", "00k1/00o1")
        assert await scene.adapter.find_milestones(MILESTONES_KEY, project(scene)) == made

    async def test_a_note_that_is_too_long_or_on_nothing_is_refused(
        self, scene: Scene[Psa]
    ) -> None:
        absent = record(scene, "milestone", facts(scene).absent_id)
        with pytest.raises(Invalid):
            await scene.adapter.write_eligibility(absent, "eligible")
        with pytest.raises(Invalid, match="255"):
            await scene.adapter.write_eligibility(absent, "x" * 256)
        for bad in facts(scene).bad_ids:
            with pytest.raises(Invalid):
                await scene.adapter.write_eligibility(record(scene, "milestone", bad), "eligible")


class TestChanges:
    async def changes(self, scene: Scene[Psa]) -> list[PsaChange]:
        now = datetime.now(UTC)
        window = scene.adapter.read_changes(now - timedelta(days=8), now + timedelta(days=1))
        return [change async for change in window if change.subject_type == "milestone"]

    async def test_what_happens_to_the_task_is_told_of_the_milestone(
        self, scene: Scene[Psa]
    ) -> None:
        act = person(scene)
        milestone = await act.plan_milestone("5001", 100)
        other = await act.plan_milestone("5002", 100)
        seen = {change.event_id for change in await self.changes(scene)}

        async def told() -> set[tuple[str, bool]]:
            found = [each for each in await self.changes(scene) if each.event_id not in seen]
            assert len({each.event_id for each in found}) == len(found)
            seen.update(each.event_id for each in found)
            return {(each.subject_id, each.own) for each in found}

        await act.complete(milestone)
        assert await told() == {(milestone, False)}
        await act.reopen(milestone)
        assert await told() == {(milestone, False)}
        await scene.control.delete_record(
            scene.vendor, scene.name, facts(scene).story, await act.story_of(other)
        )
        assert await told() == {(other, False)}
        await act.invoice_milestone(milestone)
        assert await told() == {(milestone, False)}

    async def test_a_task_that_no_milestone_is_tied_to_tells_of_none(
        self, scene: Scene[Psa]
    ) -> None:
        before = await self.changes(scene)
        await scene.control.patch_record(
            scene.vendor, scene.name, facts(scene).story, "100000", {"state": "completed"}
        )

        assert await self.changes(scene) == before
