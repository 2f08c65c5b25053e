"""The engagement that a provisioned deal begins with."""

from decimal import Decimal
from typing import Any

import pytest

from canonical.deal import ContractLineType
from canonical.engagement import BillingMethod, CapBase, Engagement, RatingMode
from canonical.opportunity import OpportunityToProjectPlan
from canonical.records import Receipt, RecordRef, WriteOutcome
from policies.billing_schema import LinePolicy
from policies.bundle import Bundle
from policies.engaging import engagement_of
from policies.fingerprint import with_hashes
from policies.planning import plan_opportunity
from policies.schema import Policies
from tests.support.deals import START, TODAY, seeded
from tests.support.month import money


def planned(slug: str, bundle: Bundle) -> OpportunityToProjectPlan:
    return plan_opportunity(seeded(slug), bundle, corrections={}, today=TODAY)


def receipt(id_: str, *parts: str) -> Receipt:
    def record(each: str) -> RecordRef:
        return RecordRef(system="x", type="y", id=each)

    return Receipt(
        record=record(id_), outcome=WriteOutcome.CREATED, parts=tuple(map(record, parts))
    )


def engaged(plan: OpportunityToProjectPlan, policies: Policies, **more: Any) -> Engagement:
    count = len(plan.tasks.tasks) + len(plan.tasks.milestones)
    tasks = [f"T{number}" for number in range(count)]
    given: dict[str, Any] = {
        "psa_project": receipt("501"),
        "tasks": receipt("900", *tasks),
        "erp_projects": {each.item: receipt(f"P-{each.item}") for each in plan.erp_projects},
        "clients": {each.connection: receipt("C-1") for each in plan.clients},
    }
    return engagement_of(plan, policies, **(given | more))


def test_a_mixed_deal(bundle: Bundle) -> None:
    plan = planned("mixed-jp", bundle)
    found = engaged(plan, bundle.policies)
    assert found.id == f"salesforce/{plan.deal_id}"
    assert (found.psa, found.project_id, found.effective_from) == ("kantata", "501", START)
    assert found.default_line == found.lines[0].ref
    time_line = found.lines[0]
    assert time_line.caps[0].amount == money(12_000_000, "JPY")
    assert time_line.caps[0].base is CapBase.ALL
    assert (time_line.task_ids, time_line.erp_project_id) == (("T0",), "P-JP")
    assert (time_line.erp, time_line.erp_client_id) == ("netsuite", "C-1")
    assert time_line.dimensions == plan.erp_projects[0].dimensions
    assert (time_line.client_po, time_line.tax_category) == ("PO-2026-0004", "services-standard")
    assert {rate.role: rate.rate for rate in time_line.rates}["Principal"] == Decimal(30_000)
    assert time_line.multipliers.overtime == Decimal("1.5")
    assert [line.caps for line in found.lines[1:]] == [(), ()]


def test_an_hour_on_a_milestone_is_its_lines(bundle: Bundle) -> None:
    found = engaged(planned("mixed-jp", bundle), bundle.policies)
    assert [line.task_ids for line in found.lines] == [("T0",), ("T1", "T3", "T4"), ("T2",)]


def test_a_retainer_holds_what_was_sold(bundle: Bundle) -> None:
    line = engaged(planned("retainer-gb", bundle), bundle.policies).lines[0]
    assert line.retainer is not None
    assert (line.retainer.balance, line.retainer.overage) == (money("60000.00", "GBP"), "to_bill")


def test_each_line_is_its_own_entitys(bundle: Bundle) -> None:
    found = engaged(planned("two-entity", bundle), bundle.policies)
    assert [(line.legal_entity, line.erp_project_id) for line in found.lines] == [
        ("US", "P-US"),
        ("DE", "P-DE"),
    ]


def test_the_entitys_terms_come_before_the_types(bundle: Bundle) -> None:
    lines = LinePolicy.model_validate(
        {
            "default": {"billing_method": "erp_lines", "rating": "psa"},
            "types": {"time_and_materials": {"rating": "compare", "increment_minutes": 15}},
            "entities": {"US": {"increment_minutes": 6}},
        }
    )
    billing = bundle.policies.billing.model_copy(update={"lines": lines})
    policies = bundle.policies.model_copy(update={"billing": billing})
    line = engaged(planned("tm-us", bundle), policies).lines[0]
    assert (line.billing_method, line.rating) == (BillingMethod.ERP_LINES, RatingMode.COMPARE)
    assert line.increment_minutes == 6


def test_two_lines_by_the_hour_have_no_default(bundle: Bundle) -> None:
    plan = planned("mixed-jp", bundle)
    hourly = [
        task.model_copy(update={"type": ContractLineType.TIME_AND_MATERIALS})
        for task in plan.tasks.tasks
    ]
    tasks = plan.tasks.model_copy(update={"tasks": tuple(hourly)})
    found = engaged(plan.model_copy(update={"tasks": tasks}), bundle.policies)
    assert found.default_line == ""


def test_other_tasks_than_planned_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="5 tasks were planned, and the PSA confirmed 1"):
        engaged(planned("mixed-jp", bundle), bundle.policies, tasks=receipt("900", "T0"))


def _old(plan: OpportunityToProjectPlan) -> OpportunityToProjectPlan:
    """Return a plan as it was made before lines said who delivers them."""
    content = plan.model_dump(mode="json")
    for task in content["tasks"]["tasks"]:
        for name in ("cap", "legal_entity", "tax_category", "client_po"):
            del task[name]
    return OpportunityToProjectPlan.model_validate(content)


def test_an_older_plan_still_tells_of_one_entity(bundle: Bundle) -> None:
    old = _old(planned("tm-us", bundle))
    assert engaged(old, bundle.policies).lines[0].legal_entity == "US"
    with pytest.raises(ValueError, match="which legal entity"):
        engaged(_old(planned("two-entity", bundle)), bundle.policies)


def _untied(plan: OpportunityToProjectPlan) -> OpportunityToProjectPlan:
    """Return a plan as it was made before milestones had tasks."""
    content = plan.model_dump(mode="json")
    del content["tasks"]["milestones"]
    return OpportunityToProjectPlan.model_validate(content)


def test_an_older_plan_has_the_tasks_of_its_lines_alone(bundle: Bundle) -> None:
    found = engaged(_untied(planned("mixed-jp", bundle)), bundle.policies)
    assert [line.task_ids for line in found.lines] == [("T0",), ("T1",), ("T2",)]


def test_an_older_plan_without_milestones_changes_no_step(bundle: Bundle) -> None:
    plan = planned("tm-us", bundle)
    assert with_hashes(_untied(plan)).request_hashes == plan.request_hashes
    tied = planned("fixed-de", bundle)
    assert with_hashes(_untied(tied)).request_hashes != tied.request_hashes


def test_what_is_for_billing_alone_changes_no_step(bundle: Bundle) -> None:
    plan = planned("mixed-jp", bundle)
    assert with_hashes(_old(plan)).request_hashes == plan.request_hashes
