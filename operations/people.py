"""Who may decide what, and what makes no sense: refused in one sentence each (DESIGN 3.6)."""

from collections.abc import Mapping
from typing import Final

from canonical.saga import Verb, WorkItem, WorkItemKind
from store.inbox import event_of

SHOWN_MAX: Final = 80
FINANCE, OPERATOR, ADMIN = "finance", "operator", "admin"
FINANCIAL_STEPS: Final = {
    "match_client",
    "provision_client",
    "add_client_entity",
    "add_client_currency",
    "provision_erp_project",
    "link_erp_project",
}


class Refused(Exception):
    """What a person asked for makes no sense now; the message says why and what would."""


def check_decision(
    people: Mapping[str, frozenset[str]],
    item: WorkItem,
    verb: Verb,
    by: str,
    *,
    record_id: str,
    because: str,
) -> None:
    """Refuse a decision that the person may not take, or that makes no sense.

    Raises:
        Refused: with the reason, and what would do.
    """
    roles = {FINANCE, ADMIN} if item.kind is WorkItemKind.GATE else {OPERATOR, FINANCE, ADMIN}
    check_role(people, by, roles, f"{verb} at {item.step}")
    check_sense(item, verb)
    if verb is Verb.ADOPT and not record_id:
        raise Refused("adopt needs the record: add --record ID.")
    if verb in {Verb.SKIP, Verb.ACCEPT_RESIDUE, Verb.ABANDON} and not because:
        raise Refused(f'{verb} needs the evidence: add --because "…".')


def check_role(
    people: Mapping[str, frozenset[str]], person: str, roles: set[str], what: str
) -> None:
    """Refuse a person who is not known, or has none of the roles.

    Raises:
        Refused: naming those who are known, or the roles.
    """
    if person not in people:
        known = ", ".join(sorted(people)) or "nobody"
        raise Refused(
            f"{short(person)} is not in dealthread.toml under [people]; known: {known}. "
            "Say who decides with --as NAME."
        )
    if not roles & people[person]:
        raise Refused(f"{person} has not the role for {what}: {' or '.join(sorted(roles))}.")


def check_sense(item: WorkItem, verb: Verb) -> None:
    """Refuse a verb that makes no sense at this work item.

    Raises:
        Refused: naming those that do.
    """
    if item.kind is WorkItemKind.DEAD_LETTER:
        raise Refused(
            f"{item.id} is an event that could not be handled, and no saga waits for it: remove "
            f"the cause, then replay it: starter.py events replay {event_of(item.id)}."
        )
    if item.kind is WorkItemKind.NATIVE_CREDIT:
        raise Refused(
            f"{item.id} is a credit that was made in {item.connection}, and no saga waits for it: "
            "say what it is for with `starter.py invoice explain`."
        )
    if item.kind is WorkItemKind.DELIVERY:
        raise Refused(
            f"{item.id} is about an invoice that did not reach the client, and no saga waits for "
            f"it: send it again from {item.connection}, then say so with `starter.py invoice "
            "transmitted`."
        )
    if item.kind is WorkItemKind.DIFFERENCE:
        raise Refused(
            f"{item.id} is about a tax that {item.connection} made, which is final, and no saga "
            "waits for it: accept it with `starter.py invoice accept-tax`."
        )
    if item.kind in {WorkItemKind.STUCK, WorkItemKind.FINDING}:
        raise Refused(
            f"{item.id} closes by itself once its cause is gone, and no saga waits for it: "
            f"`starter.py work show {item.id}` says what helps."
        )
    if verb not in item.verbs:
        raise Refused(f"{verb} makes no sense at {item.step}; possible: {', '.join(item.verbs)}.")


def financial(item: WorkItem) -> bool:
    """Return whether the item's step keeps a financial record: those of the ERP do."""
    return item.step in FINANCIAL_STEPS


def short(text: str) -> str:
    """Return what a person typed as it can be shown: bounded, without control characters."""
    return ascii(text) if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]!a}…"
