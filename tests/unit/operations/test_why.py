"""Every fact that keeps an entry from its invoice is told, with who must act."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from canonical.entries import EntryKind, EntryRef, HoldReason
from canonical.money import Money
from canonical.rating import Disposition
from operations.billing import Waiting
from operations.why import NOBODY, Reason, reasons
from store.subledger import Finding, Hold, TracedPart, Why

WHEN = datetime(2026, 11, 16, 9, tzinfo=UTC)
REF = EntryRef(kind=EntryKind.TIME, id="4711")
RUN = "billing-run/kantata/5001/2026-11/1"


def why(state: str, **facts: Any) -> list[Reason]:
    known = {"project_id": "5001", "approved_at": WHEN, "engagement": "salesforce/006"}
    return reasons(Why(ref=REF, state=state, **{**known, **facts}))


def hold(reason: HoldReason) -> Hold:
    return Hold(reason=reason, owner="rating", because=f"because of {reason}", since=WHEN)


def part(disposition: Disposition, amount: str = "210000", currency: str = "JPY") -> TracedPart:
    return TracedPart(
        version="v",
        cycle=1,
        number=1,
        disposition=disposition,
        amount=Money(amount=Decimal(amount), currency=currency),
        minutes=60,
        cap="",
        state="placed",
        run_key=RUN,
    )


@pytest.mark.parametrize(
    ("reason", "who"),
    [
        (HoldReason.BY_HAND, "who held it releases it: starter.py billing unhold"),
        (HoldReason.NO_CONTRACT_LINE, "engagement's owner"),
        (HoldReason.NO_RATE, "engagement's owner"),
        (HoldReason.NO_COST_RATE, "HR "),
        (HoldReason.NO_EXCHANGE_RATE, "finance enters the exchange rate in the ERP"),
        (HoldReason.RATE_MISMATCH, "project manager"),
        (HoldReason.DUPLICATE_EXPENSE, "project manager"),
        (HoldReason.UNKNOWN_PERSON, "HR or the PSA's administrator"),
        (HoldReason.BILLED_OUTSIDE, "finance takes it off the invoice"),
        (HoldReason.PERIOD_CLOSED, "finance opens the period"),
        (HoldReason.BAD_QUANTITY, "the person corrects the entry in the PSA"),
    ],
)
def test_a_hold_is_told_with_who_mends_it_and_how_it_ends(reason: HoldReason, who: str) -> None:
    (told,) = why("approved", holds=(hold(reason),))
    assert told.text == (f"It is held since 2026-11-16 by rating ({reason}): because of {reason}")
    assert who in told.who
    released_by_itself = {HoldReason.BILLED_OUTSIDE, HoldReason.BAD_QUANTITY}
    assert ("billing unhold" in told.who) is (reason not in released_by_itself)
    assert told.who.count("billing unhold") <= 1


def test_the_list_of_reasons_above_is_whole() -> None:
    (marker,) = (
        mark
        for mark in test_a_hold_is_told_with_who_mends_it_and_how_it_ends.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    )
    assert {case[0] for case in marker.args[1]} == set(HoldReason)


@pytest.mark.parametrize(
    ("state", "facts", "text", "who"),
    [
        ("unknown", {}, "never approved in the PSA", "the approver in the PSA"),
        (
            "approved",
            {},
            "It was approved 2026-11-16 and waits for the next billing run.",
            f"{NOBODY}; or now: starter.py billing run",
        ),
        (
            "approved",
            {"engagement": None},
            "Nothing bills project 5001 on its day.",
            "starter.py engagement import",
        ),
        (
            "withdrawn",
            {"because": "unapproved"},
            "Its approval was withdrawn in the PSA.",
            "the approver in the PSA",
        ),
        ("withdrawn", {"because": "vanished"}, "It was deleted in the PSA.", "the approver"),
        ("withdrawn", {"because": "superseded"}, "the change is not approved", "the approver"),
        ("waiting", {}, "an earlier version of it has yet to leave its run", NOBODY),
        *(
            (
                state,
                {"run_key": RUN, "run_state": state},
                f"It is in {RUN}, which is {state}.",
                f"starter.py status {RUN}",
            )
            for state in ("claimed", "rated", "placed")
        ),
    ],
)
def test_each_state_is_told(state: str, facts: dict[str, Any], text: str, who: str) -> None:
    (told,) = why(state, **facts)
    assert text in told.text
    assert who in told.who
    assert "None" not in told.text


@pytest.mark.parametrize(
    ("disposition", "text"),
    [
        (Disposition.TO_BILL, "goes to drafting"),
        (Disposition.COVERED_BY_FIXED_FEE, "is covered by the fixed fee"),
        (Disposition.DRAWN_FROM_RETAINER, "was drawn from the retainer"),
        (Disposition.OVER_CAP, "is over the cap"),
        (Disposition.WRITTEN_OFF, "was written off"),
        (Disposition.NON_BILLABLE, "is not billable"),
    ],
)
def test_a_part_that_has_its_place_is_told(disposition: Disposition, text: str) -> None:
    facts = {"run_key": RUN, "run_state": "handed_over", "parts": (part(disposition),)}
    (told,) = why("placed", **facts)
    assert told.text == f"210,000 JPY {text} (placed)."
    waits = disposition is Disposition.TO_BILL
    assert told.who == ("finance releases the draft" if waits else "nobody: it has its place")


def test_two_parts_are_two_reasons() -> None:
    parts = (part(Disposition.TO_BILL, "80.00", "USD"), part(Disposition.OVER_CAP, "20.00", "USD"))
    told = why("placed", run_key=RUN, run_state="handed_over", parts=parts)
    assert [each.text.split(" (")[0] for each in told] == [
        "80.00 USD goes to drafting",
        "20.00 USD is over the cap",
    ]


def test_placed_by_a_run_that_stands_still_is_not_told_as_billed() -> None:
    (told,) = why("placed", run_key=RUN, run_state="placed", parts=(part(Disposition.TO_BILL),))
    assert told.text == f"It is in {RUN}, which is placed."


def test_every_hold_and_finding_is_told_before_the_state() -> None:
    finding = Finding(
        finding="billed_outside",
        project_id="5001",
        ref=REF,
        detail="on the PSA's invoice 17",
        found_at=WHEN,
    )
    holds = (hold(HoldReason.BY_HAND), hold(HoldReason.NO_RATE))
    told = why("approved", holds=holds, findings=(finding,))
    assert [each.text.split("(")[-1].split(")")[0] for each in told[:2]] == ["by_hand", "no_rate"]
    assert told[2] == Reason(
        text="billed_outside: on the PSA's invoice 17", who="finance looks into it"
    )
    assert len(told) == 3  # "waits for the next run" would be wrong: it is held


def test_a_change_that_waits_to_be_read_is_told_after_what_was_read_before() -> None:
    facts = Why(ref=REF, state="unknown")
    *_, told = reasons(facts, Waiting(project_id="5001", next_run_at=WHEN))
    assert told.text.endswith(f"the next billing run reads it, at {WHEN:%Y-%m-%d %H:%M:%S %Z}.")
    assert told.who.endswith("starter.py billing run 5001")
    *_, told = reasons(facts, Waiting(project_id="5001", run_under_way=True))
    assert "once the one under way has ended" in told.text


@pytest.mark.parametrize("changed", ["unapproved", "superseded", "vanished"])
def test_a_change_under_a_run_is_told(changed: str) -> None:
    (told,) = why("claimed", run_key=RUN, run_state="claimed", changed=changed)
    assert told.text == f"It was {changed} in the PSA while {RUN} holds it: the run lets it go."
    assert told.who == NOBODY
