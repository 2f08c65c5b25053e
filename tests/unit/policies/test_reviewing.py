"""Who reviews a draft: the lead of all that it bills, if they may; else whom the policy names."""

from dataclasses import replace
from typing import Any

import pytest

from policies.bundle import Bundle
from policies.drafting import Group, groups_of
from policies.queue_case import Actor
from policies.reviewing import reviewer_of
from tests.support.drafts import fee, hours

LEAD = "maya.chen@example.com"
PEOPLE = (
    Actor("olivia", frozenset({"operator"}), "olivia@example.com"),
    Actor("maya.chen", frozenset({"operator"}), "Maya.Chen@example.com"),
    Actor("auditor", frozenset({"reader"}), "auditor@example.com"),
)


def group(bundle: Bundle, *leads: str) -> Group:
    billables = [hours(n, 60, lead=lead) for n, lead in enumerate(leads, start=1)]
    (made,) = groups_of([*billables, fee(99, "500", lead=leads[0])], bundle)
    return made


def with_reviewer(bundle: Bundle, name: str) -> Bundle:
    invoicing = bundle.policies.invoicing
    terms = invoicing.entities["DE"]
    review = terms.review.model_copy(update={"reviewer": name})
    entities = {**invoicing.entities, "DE": terms.model_copy(update={"review": review})}
    changed: dict[str, Any] = {"invoicing": invoicing.model_copy(update={"entities": entities})}
    return replace(bundle, policies=bundle.policies.model_copy(update=changed))


@pytest.mark.parametrize(
    ("leads", "expected"),
    [
        ((LEAD, LEAD), "maya.chen"),
        ((LEAD, "luca.rossi@example.com"), "olivia"),
        (("luca.rossi@example.com",), "olivia"),
        (("auditor@example.com",), "olivia"),
        (("",), "olivia"),
    ],
)
def test_the_lead_of_all_reviews_if_they_may(
    bundle: Bundle, leads: tuple[str, ...], expected: str
) -> None:
    bundle = with_reviewer(bundle, "olivia")
    assert reviewer_of(group(bundle, *leads), bundle, PEOPLE) == expected


def test_without_a_policy_anybody_who_may_reviews(bundle: Bundle) -> None:
    assert reviewer_of(group(bundle, ""), bundle, PEOPLE) == ""
