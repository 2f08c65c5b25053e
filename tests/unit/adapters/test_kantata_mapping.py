"""Requests to Kantata bodies, without I/O."""

from datetime import date
from decimal import Decimal

import pytest
from pydantic import SecretStr, ValidationError

from adapters.errors import Invalid
from adapters.kantata import mapping
from adapters.kantata.config import AccessToken, KantataConfig
from adapters.wire import dump_json
from canonical.deal import Address, ContractLineType
from canonical.ids import ExternalId, external_id
from canonical.money import Money
from canonical.provisioning import (
    MilestoneTask,
    PlannedMilestone,
    PlannedTask,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import RecordRef

CONFIG = KantataConfig(
    base_url="https://api.mavenlink.com", auth=AccessToken(token=SecretStr("secret-token"))
)
KEY = ExternalId("dt-1")
PROJECT = RecordRef(system="kantata", type="project", id="10")
CLIENT = ProvisionPsaClient(
    connection="kantata",
    client_key="client/crm/1",
    name="Acme Ltd",
    billing_email="ap@acme.example",
    address=Address(street="1 High St", city="London", postal_code="EC1A 1AA", country="GB"),
)
NEW_PROJECT = ProvisionPsaProject(
    connection="kantata",
    name="Rollout",
    code="P-1",
    price=Money(amount=Decimal("1E+5"), currency="EUR"),
    start=date(2026, 12, 1),
    end=date(2027, 5, 31),
    template="77",
    rate_card="6",
    client=RecordRef(system="kantata", type="client", id="9"),
)


def money(amount: str, currency: str) -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def milestones(*amounts: Money, due: date | None = None) -> ProvisionMilestones:
    return ProvisionMilestones(
        connection="kantata",
        project=PROJECT,
        milestones=tuple(
            PlannedMilestone(ref=str(n), title=f"M{n}", amount=amount, due=due)
            for n, amount in enumerate(amounts)
        ),
    )


def lines(*of: MilestoneTask) -> ProvisionTasks:
    """Return an hourly line that is not billed and a fixed fee, with these milestones."""
    types = {"L1": ContractLineType.TIME_AND_MATERIALS, "L2": ContractLineType.FIXED_FEE}
    return ProvisionTasks(
        connection="kantata",
        title="Lines",
        project=PROJECT,
        tasks=tuple(
            PlannedTask(
                ref=ref,
                title=ref,
                type=type_,
                billable=type_ is ContractLineType.FIXED_FEE,
                budget=money("1.00", "EUR"),
            )
            for ref, type_ in types.items()
        ),
        milestones=of,
    )


class TestClientBody:
    def test_every_field_is_mapped_and_the_key_is_in_the_same_write(self) -> None:
        assert mapping.client_body(KEY, CLIENT, CONFIG) == {
            "workspace_group": {
                "name": "Acme Ltd",
                "company": True,
                "email": "ap@acme.example",
                "address": "1 High St, EC1A 1AA London, GB",
                "external_reference": {
                    "service_name": "dealthread-saga",
                    "service_model": "client",
                    "service_model_ref": "dt-1",
                    "status": "successful",
                },
                "custom_fields": [{"custom_field_id": "32", "value": "dt-1"}],
            }
        }

    def test_what_is_not_known_is_left_out(self) -> None:
        bare = CLIENT.model_copy(update={"billing_email": "", "address": Address()})

        (body,) = mapping.client_body(KEY, bare, CONFIG).values()

        assert isinstance(body, dict)
        assert not {"email", "address"} & body.keys()


class TestProjectBody:
    def test_every_field_is_mapped_and_it_is_closed_for_time(self) -> None:
        assert mapping.project_body(KEY, NEW_PROJECT, "3", CONFIG) == {
            "workspace": {
                "title": "Rollout (P-1)",
                "creator_role": "maven",
                "budgeted": True,
                "price": "100000",
                "currency": "EUR",
                "start_date": "2026-12-01",
                "due_date": "2027-05-31",
                "access_level": "invitation",
                "require_time_approvals": True,
                "require_expense_approvals": True,
                "time_trackable": False,
                "stage": "project",
                "rate_card_id": "6",
                "project_tracker_template_id": "77",
                "project_template_start_date": "2026-12-01",
                "primary_maven_id": "3",
                "approver_ids": ["3"],
                "primary_workspace_group_id": "9",
                "external_reference": {
                    "service_name": "dealthread-saga",
                    "service_model": "project",
                    "service_model_ref": "dt-1",
                    "status": "successful",
                },
                "custom_fields": [{"custom_field_id": "31", "value": "dt-1"}],
            }
        }

    def test_what_is_not_planned_is_left_out(self) -> None:
        bare = NEW_PROJECT.model_copy(update={"end": None, "template": "", "rate_card": ""})

        (body,) = mapping.project_body(KEY, bare, "", CONFIG).values()

        assert isinstance(body, dict)
        absent = {"due_date", "rate_card_id", "primary_maven_id", "approver_ids"}
        absent |= {"project_tracker_template_id", "project_template_start_date"}
        assert not absent & body.keys()

    @pytest.mark.parametrize("field", ["template", "rate_card"])
    def test_what_is_no_id_of_kantata_s_is_refused_by_name(self, field: str) -> None:
        with pytest.raises(Invalid) as caught:
            mapping.project_body(KEY, NEW_PROJECT.model_copy(update={field: "7/7"}), "", CONFIG)
        assert caught.value.field == field

    def test_a_project_without_its_client_is_refused(self) -> None:
        with pytest.raises(Invalid) as caught:
            mapping.project_body(KEY, NEW_PROJECT.model_copy(update={"client": None}), "", CONFIG)
        assert caught.value.field == "client"

    @pytest.mark.parametrize("length", [1, 249, 250, 10_000])
    def test_the_title_keeps_the_whole_code(self, length: int) -> None:
        title = mapping.project_title("x" * length, "P-1")

        assert len(title) <= mapping.TEXT_MAX
        assert title.endswith(" (P-1)")
        assert ("…" in title) is (length > 249)


class TestTasksBody:
    @pytest.mark.parametrize("type_", ContractLineType)
    def test_one_task_per_line_of_every_type(self, type_: ContractLineType) -> None:
        task = PlannedTask(
            ref="1",
            title="Consulting",
            type=type_,
            billable=True,
            budget=money("1200.50", "EUR"),
            start=date(2026, 12, 1),
            due=date(2027, 5, 31),
        )
        request = ProvisionTasks(
            connection="kantata", title="Lines", tasks=(task,), project=PROJECT
        )

        assert mapping.tasks_body(KEY, request, CONFIG) == {
            "story": {
                "title": "Lines",
                "story_type": "deliverable",
                "workspace_id": "10",
                "external_reference": {
                    "service_name": "dealthread-saga",
                    "service_model": "task_list",
                    "service_model_ref": "dt-1",
                    "status": "successful",
                },
                "custom_fields": [{"custom_field_id": "33", "value": "dt-1"}],
                "sub_stories": [
                    {
                        "title": "Consulting",
                        "story_type": "task",
                        "workspace_id": "10",
                        "billable": True,
                        "fixed_fee": type_ is ContractLineType.FIXED_FEE,
                        "budget_estimate_in_cents": 120050,
                        "start_date": "2026-12-01",
                        "due_date": "2027-05-31",
                    }
                ],
            }
        }

    def test_tasks_without_their_project_are_refused(self) -> None:
        request = ProvisionTasks(connection="kantata", title="Lines", tasks=())

        with pytest.raises(Invalid) as caught:
            mapping.tasks_body(KEY, request, CONFIG)
        assert caught.value.field == "project"

    def test_a_milestone_is_beside_its_line_and_billed_as_that(self) -> None:
        fixed = MilestoneTask(line="L2", title="Go-live\n", due=date(2027, 1, 31))
        hourly = MilestoneTask(line="L1", title="Kick-off")

        body = mapping.tasks_body(KEY, lines(fixed, hourly), CONFIG)["story"]

        assert isinstance(body, dict)
        assert [row["story_type"] for row in body["sub_stories"]] == 2 * ["task"] + 2 * [
            "milestone"
        ]
        assert body["sub_stories"][2:] == [
            {
                "title": "Go-live",
                "story_type": "milestone",
                "workspace_id": "10",
                "billable": True,
                "fixed_fee": True,
                "due_date": "2027-01-31",
            },
            {
                "title": "Kick-off",
                "story_type": "milestone",
                "workspace_id": "10",
                "billable": False,
                "fixed_fee": False,
            },
        ]

    def test_a_milestone_of_no_line_is_refused(self) -> None:
        with pytest.raises(Invalid) as caught:
            mapping.tasks_body(KEY, lines(MilestoneTask(line="L9", title="Go-live")), CONFIG)
        assert caught.value.field == "milestones"


class TestMilestonesBody:
    @pytest.mark.parametrize(
        ("amount", "cents"),
        [
            (money("75000.00", "EUR"), 7_500_000),
            (money("0.01", "USD"), 1),
            (money("4000000", "JPY"), 4_000_000),
            (money("1.234", "KWD"), 1_234),
            (money("-10.50", "EUR"), -1_050),
        ],
    )
    def test_amounts_are_whole_minor_units(self, amount: Money, cents: int) -> None:
        text = dump_json(mapping.milestones_body(KEY, milestones(amount), CONFIG))

        assert f'"amount_in_cents":{cents},' in text

    def test_each_carries_the_key_and_its_number(self) -> None:
        amount = money("1.00", "EUR")
        request = milestones(amount, amount, due=date(2027, 1, 31))

        (rows,) = mapping.milestones_body(KEY, request, CONFIG).values()

        assert isinstance(rows, list)
        refs = [row["external_reference"]["service_model_ref"] for row in rows]
        assert refs == ["dt-1:1", "dt-1:2"] == mapping.milestone_refs(KEY)[:2]
        assert {row["date_to_invoice"] for row in rows} == {"2027-01-31"}
        assert {row["billing_type"] for row in rows} == {"fixed_date"}

    def test_one_with_a_task_falls_due_upon_its_completion(self) -> None:
        amount = money("1.00", "EUR")
        tasks = tuple(RecordRef(system="kantata", type="task", id=id_) for id_ in ("7", "8"))
        request = milestones(amount, amount).model_copy(update={"tasks": tasks})

        (rows,) = mapping.milestones_body(KEY, request, CONFIG).values()

        assert isinstance(rows, list)
        assert [(row["billing_type"], row["story_id"]) for row in rows] == [
            ("upon_completion", "7"),
            ("upon_completion", "8"),
        ]

    @pytest.mark.parametrize("ids", [("7",), ("7", "8", "9"), ("7", "x")])
    def test_other_tasks_than_milestones_are_refused(self, ids: tuple[str, ...]) -> None:
        tasks = tuple(RecordRef(system="kantata", type="task", id=id_) for id_ in ids)
        amount = money("1.00", "EUR")
        request = milestones(amount, amount).model_copy(update={"tasks": tasks})

        with pytest.raises(Invalid):
            mapping.milestones_body(KEY, request, CONFIG)

    def test_a_milestone_without_a_date_has_none(self) -> None:
        assert "date_to_invoice" not in dump_json(
            mapping.milestones_body(KEY, milestones(money("1.00", "EUR")), CONFIG)
        )

    def test_the_references_of_the_longest_key_fit_into_a_request_line(self) -> None:
        longest = external_id("x" * 500)
        encoded = ",".join(mapping.milestone_refs(longest)).replace(",", "%2C").replace(":", "%3A")

        assert len(encoded) < 7_500  # common servers take lines of 8,000


class TestTexts:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("  two\n lines\t", "two lines"),
            ("x" * 10, "x" * 10),
            ("x" * 11, "x" * 9 + "…"),
            ("xxxxxxxx yz", "xxxxxxxx…"),
            ("🚀" * 11, "🚀" * 9 + "…"),
        ],
    )
    def test_labels_are_shortened(self, text: str, shown: str) -> None:
        assert mapping.shortened(text, 10) == shown

    def test_the_longest_note_that_fits_is_taken_and_no_longer_one(self) -> None:
        body = mapping.erp_link_body("10", "x" * 255, CONFIG)

        assert body["external_reference"] == {
            "subject_type": "Workspace",
            "subject_id": "10",
            "service_name": "dealthread-erp",
            "service_model": "project",
            "service_model_ref": "x" * 255,
            "status": "successful",
        }
        with pytest.raises(Invalid):
            mapping.erp_link_body("10", "x" * 256, CONFIG)

    @pytest.mark.parametrize("bad", ["", "1a", "-1", "1,2", "../1", "1" * 19, "١"])
    def test_only_digits_are_an_id(self, bad: str) -> None:
        with pytest.raises(Invalid):
            mapping.checked_id(bad)

    @pytest.mark.parametrize("bad", ["", "a,b", "a b", "a:1", "x" * 65])
    def test_a_key_that_would_break_the_list_is_refused(self, bad: str) -> None:
        with pytest.raises(Invalid):
            mapping.checked_key(ExternalId(bad))


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"integration_key_fields": {"workspace": "x"}},
            {"key_service": "a,b"},
            {"erp_service": ""},
            {"erp_service": "dealthread-saga"},
            {"unknown": 1},
        ],
    )
    def test_what_is_wrong_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            KantataConfig.model_validate(
                {"base_url": "https://x", "auth": {"token": "secret-token"}, **wrong}
            )

    def test_the_token_is_never_shown(self) -> None:
        assert "secret-token" not in repr(CONFIG)
