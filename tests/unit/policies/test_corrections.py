"""What a person may correct, who else has to agree, and which steps it changes."""

import pytest

from canonical import activities as ref
from canonical.activities import ActivityRef
from canonical.failures import StepFailed
from canonical.opportunity import OpportunityToProjectPlan
from canonical.saga import Verb
from policies.bundle import Bundle
from policies.corrections import (
    CORRECTABLE,
    OWNERS,
    SENSITIVE_FIELDS,
    check_corrections,
    needs_second_person,
)
from policies.planning import plan_opportunity
from tests.support.deals import TODAY, seeded


def planned(slug: str, bundle: Bundle, **corrections: str) -> OpportunityToProjectPlan:
    return plan_opportunity(seeded(slug), bundle, corrections=corrections, today=TODAY)


def refusal(corrections: dict[str, str]) -> tuple[str, str, str]:
    """Return field, owner and message of a refused correction."""
    with pytest.raises(StepFailed) as caught:
        check_corrections(corrections)
    detail = caught.value.detail
    assert detail.reason == "correction_refused"
    return detail.field, detail.owner, detail.message


class TestOwnership:
    @pytest.mark.parametrize("field", sorted(OWNERS))
    def test_what_the_crm_owns_is_corrected_there(self, field: str) -> None:
        assert refusal({field: "x"}) == (
            field,
            "the CRM",
            f"{field} is owned by the CRM: correct it there, then retry.",
        )

    def test_what_does_not_exist_is_refused_with_what_does(self) -> None:
        field, owner, message = refusal({"colour": "red"})
        assert (field, owner) == ("colour", "")
        assert message == (
            "'colour' cannot be corrected; what can: business_class, department, legal_entity, "
            "location, project_manager_email, project_name, rate_card, tax_category, template."
        )

    def test_no_field_is_both_ours_and_theirs(self) -> None:
        assert not CORRECTABLE & OWNERS.keys()
        assert SENSITIVE_FIELDS <= CORRECTABLE

    @pytest.mark.parametrize("field", sorted(CORRECTABLE))
    def test_what_is_ours_can_be_corrected(self, field: str) -> None:
        check_corrections({field: "12"})

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("template", ""),
            ("template", "  "),
            ("project_name", "x" * 256),
            ("project_name", "two\nlines"),
            ("location", "30; DROP TABLE"),
            ("rate_card", "{5}"),
        ],
    )
    def test_a_value_that_cannot_be_is_refused(self, field: str, value: str) -> None:
        assert refusal({field: value})[0] == field

    def test_planning_refuses_what_the_desk_should_have(self, bundle: Bundle) -> None:
        with pytest.raises(StepFailed, match="owned by the CRM"):
            planned("tm-us", bundle, contract_amount="1")


class TestSecondPerson:
    @pytest.mark.parametrize(
        ("verb", "corrections", "financial", "expected"),
        [
            (Verb.RETRY, {}, True, False),
            (Verb.RETRY, {"template": "advisory"}, True, False),
            (Verb.RETRY, {"legal_entity": "DE"}, False, True),
            (Verb.RETRY, {"tax_category": "services-exempt"}, False, True),
            (Verb.RETRY, {"rate_card": "5"}, False, True),
            (Verb.RETRY, {"template": "advisory", "legal_entity": "DE"}, False, True),
            (Verb.ADOPT, {}, True, True),
            (Verb.ADOPT, {}, False, False),
            (Verb.SKIP, {}, True, True),
            (Verb.FINISH_FORWARD, {}, True, True),
            (Verb.ACCEPT_RESIDUE, {}, True, True),
            (Verb.ACCEPT_RESIDUE, {}, False, False),
            (Verb.ROLL_BACK, {}, True, False),
            (Verb.HOLD, {}, True, False),
        ],
    )
    def test_it_is_asked_for_money_entity_and_tax(
        self, verb: Verb, corrections: dict[str, str], financial: bool, expected: bool
    ) -> None:
        assert needs_second_person(verb, corrections, financial) is expected


class TestEffect:
    def test_a_missing_mapping_is_corrected_by_a_known_one(self, bundle: Bundle) -> None:
        plan = planned("missing-mapping", bundle, template="advisory")
        assert plan.psa_project.template == "78"

    def test_a_name_too_long_is_corrected_by_a_shorter_one(self, bundle: Bundle) -> None:
        with pytest.raises(StepFailed, match="the name of the account"):
            planned("long-name", bundle, project_name="Archive")
        plan = planned("tm-us", bundle, project_name="Archive")
        assert (plan.title, plan.psa_project.name) == ("Archive", "Archive")

    def test_ids_stand_in_for_those_of_the_bundle(self, bundle: Bundle) -> None:
        plan = planned(
            "tm-us",
            bundle,
            department="11",
            business_class="22",
            location="31",
            rate_card="6",
            project_manager_email="luca.rossi@example.com",
        )
        dimensions = plan.erp_projects[0].dimensions
        assert (dimensions.department, dimensions.business_class) == ("11", "22")
        assert dimensions.location == "31"
        assert plan.psa_project.rate_card == "6"
        assert plan.psa_project.manager_email == "luca.rossi@example.com"

    def test_a_missing_entity_is_given_to_deal_and_lines(self, bundle: Bundle) -> None:
        with pytest.raises(StepFailed) as caught:
            planned("incomplete", bundle, legal_entity="US")
        assert caught.value.detail.message == "the contract's start is missing."

    @pytest.mark.parametrize("field", ["legal_entity", "location"])
    def test_entities_that_differ_on_purpose_are_not_levelled(
        self, bundle: Bundle, field: str
    ) -> None:
        with pytest.raises(StepFailed, match="differs by line, which name 2 legal entities"):
            planned("two-entity", bundle, **{field: "US"})


def changed(before: OpportunityToProjectPlan, after: OpportunityToProjectPlan) -> set[str]:
    """Return the steps whose request differs."""
    keys = before.request_hashes.keys() | after.request_hashes.keys()
    return {k for k in keys if before.request_hashes.get(k) != after.request_hashes.get(k)}


class TestFingerprint:
    def test_the_same_deal_has_the_same_hashes(self, bundle: Bundle) -> None:
        assert changed(planned("mixed-jp", bundle), planned("mixed-jp", bundle)) == set()

    @pytest.mark.parametrize(
        ("corrections", "steps"),
        [
            ({"department": "11"}, {"provision_erp_project:US"}),
            ({"rate_card": "6"}, {"provision_psa_project"}),
            ({"template": "managed"}, {"provision_erp_project:US", "provision_psa_project"}),
            ({"project_manager_email": "luca@example.com"}, {"provision_psa_project"}),
        ],
    )
    def test_a_correction_changes_only_the_steps_that_it_concerns(
        self, bundle: Bundle, corrections: dict[str, str], steps: set[str]
    ) -> None:
        before, after = planned("tm-us", bundle), planned("tm-us", bundle, **corrections)
        assert changed(before, after) == steps

    def test_every_step_with_a_request_has_a_hash_by_its_item(self, bundle: Bundle) -> None:
        keys = planned("two-entity", bundle).request_hashes.keys()
        steps: list[tuple[ActivityRef, list[str]]] = [  # type: ignore[type-arg]
            (ref.MATCH_CLIENT, ["netsuite"]),
            (ref.PROVISION_CLIENT, ["netsuite"]),
            (ref.ADD_CLIENT_ENTITY, ["US", "DE"]),
            (ref.ADD_CLIENT_CURRENCY, ["netsuite"]),
            (ref.PROVISION_ERP_PROJECT, ["US", "DE"]),
            (ref.PROVISION_PSA_CLIENT, []),
            (ref.PROVISION_PSA_PROJECT, []),
            (ref.PROVISION_TASKS, []),
            (ref.PROVISION_MILESTONES, []),
            (ref.LINK_PSA_PROJECT, []),
            (ref.LINK_ERP_PROJECT, ["US", "DE"]),
            (ref.WRITE_BACK, []),
            (ref.OPEN_FOR_TIME, []),
        ]
        expected = {
            f"{step.name}:{item}" if item else step.name
            for step, items in steps
            for item in items or [""]
        }
        assert keys == expected
