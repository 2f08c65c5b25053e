"""Who reviews a draft: whoever leads the work that it bills, else whom the policy names."""

from collections.abc import Sequence

from policies.bundle import Bundle
from policies.drafting import Group
from policies.queue import REVIEWERS
from policies.queue_case import Actor


def reviewer_of(group: Group, bundle: Bundle, people: Sequence[Actor]) -> str:
    """Return the name of who is to review a group's draft; empty: anybody who may review.

    One who leads all its projects reviews it, if they are among the people who may. A draft over
    projects of several leads, or of one whom nobody here knows, goes to the policy's reviewer.
    """
    leads = {each.lead for each in group.billables}
    lead = leads.pop() if len(leads) == 1 else ""
    for person in people:
        if lead and person.is_among([lead]) and person.roles & REVIEWERS:
            return person.name
    entity = group.billables[0].legal_entity
    return bundle.policies.invoicing.entities[entity].review.reviewer
