"""What people may do to drafts: four eyes, limits, hashes, and lines that never get lost."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.client_pos import ClientPo, PoBasis, PoLine, PoStanding, untaken_lines
from canonical.draft_acts import (
    AnyAct,
    DeferLines,
    EditNarrative,
    HoldLines,
    Merge,
    ProposeWriteDown,
    Reject,
    Release,
    Returned,
    Review,
    Split,
    WriteDown,
)
from canonical.drafts import Draft, DraftState, LineState
from policies.bundle import load_bundle
from policies.preflight import Standing
from policies.queue import judge
from policies.queue_case import ENGINE, Actor, Case, Judged
from policies.queue_lines import proposals
from tests.support.drafts import NOW, TODAY, draft, fee, hours, money

BUNDLE = load_bundle(None)
INVOICING = BUNDLE.policies.invoicing
INES = Actor("ines.duarte", frozenset({"finance"}), "ines.duarte@example.com")
TOM = Actor("tom.becker", frozenset({"finance", "operator"}), "tom.becker@example.com")
CONTROLLER = Actor("cara", frozenset({"controller"}), "cara@example.com")
MAYA = Actor("maya", frozenset({"operator", "finance"}), "maya.chen@example.com")
VERA = Actor("vera", frozenset({"viewer"}))
STANDING = Standing(today=TODAY, now=NOW)


def three_lines(**changes: Any) -> Draft:
    """Return a draft with three lines: 1,000.00, 500.00 and 41.20."""
    return draft(
        BUNDLE,
        fee(1, "1000.00"),
        fee(2, "500.00"),
        hours(3, 0, kind="expense", amount=money("41.20"), rate=None, approved_by=()),
        **changes,
    )


def decide(of: Draft, act: AnyAct, actor: Actor = INES, **more: Any) -> Judged:
    """Judge an act, as an activity does under lock."""
    other = more.pop("other", None)
    standing = replace(STANDING, **more)
    return judge(of, act, Case(actor, standing, INVOICING, other))


def release(of: Draft, by: Actor = INES) -> Release:
    return Release(by=by.name, content_hash=of.content_hash)


def test_finance_releases_what_it_has_looked_at() -> None:
    of = three_lines()
    judged = decide(of, release(of))
    assert judged.refused == ()
    assert judged.draft is not None
    assert judged.draft.state is DraftState.RELEASED
    assert judged.draft.posting == 1
    assert judged.draft.released_hash == of.content_hash == judged.draft.content_hash


@pytest.mark.parametrize(
    "change",
    [
        lambda of: of.model_copy(update={"on": date(2026, 12, 5)}),
        lambda of: of.model_copy(update={"client_po": "PO-9"}),
        lambda of: of.model_copy(update={"payment_days": 14}),
        lambda of: decide(of, EditNarrative(by="tom", line=1, narrative="Other"), TOM).draft,
        lambda of: decide(of, HoldLines(by="tom", lines=(2,), because="x"), TOM).draft,
    ],
)
def test_any_change_voids_a_release(change: Any) -> None:
    of = three_lines()
    changed = change(of)
    judged = decide(changed, release(of))
    assert any("changed since" in reason for reason in judged.refused)


@pytest.mark.parametrize(
    "act",
    [
        EditNarrative(by="tom.becker", line=1, narrative="Other words"),
        HoldLines(by="tom.becker", lines=(2,), because="wait"),
        DeferLines(by="tom.becker", lines=(2,), because="wait", until=date(2027, 1, 1)),
        WriteDown(by="tom.becker", line=1, amount=money("100.00"), because="goodwill"),
        Split(by="tom.becker", lines=(2,)),
    ],
)
def test_whoever_changed_a_draft_does_not_release_it(act: AnyAct) -> None:
    changed = decide(three_lines(), act, TOM).draft
    assert changed is not None
    assert any("prepared it" in reason for reason in decide(changed, release(changed), TOM).refused)
    assert decide(changed, release(changed), INES).refused == ()


def test_a_split_is_prepared_by_who_split_it() -> None:
    judged = decide(three_lines(), Split(by="tom.becker", lines=(2,)), TOM)
    made = judged.made
    assert made is not None
    assert "tom.becker" in made.preparers
    assert [line.amount for line in made.lines] == [money("500.00")]
    assert judged.draft is not None
    assert judged.draft.net == money("1041.20")


def test_who_approved_the_time_does_not_release_it() -> None:
    of = three_lines()
    assert of.preparers == ("maya.chen@example.com",)
    assert any("prepared it" in reason for reason in decide(of, release(of), MAYA).refused)


def test_who_reviewed_does_not_release() -> None:
    of = three_lines(state=DraftState.IN_REVIEW)
    reviewed = decide(of, Review(by=TOM.name), TOM).draft
    assert reviewed is not None
    assert reviewed.state is DraftState.QUEUED
    assert decide(reviewed, release(reviewed), TOM).refused


@pytest.mark.parametrize("actor", [VERA, Actor("olivia", frozenset({"operator"}))])
def test_only_finance_releases(actor: Actor) -> None:
    of = three_lines()
    assert any("has not the role" in reason for reason in decide(of, release(of), actor).refused)


def test_a_role_releases_up_to_its_limit_gross() -> None:
    # 250,000.00 gross is finance's limit; 19% are expected.
    within = draft(BUNDLE, fee(1, "210084.03"))
    assert within.gross == money("250000.00")
    assert decide(within, release(within)).refused == ()
    beyond = draft(BUNDLE, fee(1, "210084.04"))
    assert any("up to 250,000.00" in reason for reason in decide(beyond, release(beyond)).refused)
    assert decide(beyond, release(beyond), CONTROLLER).refused == ()


def test_siblings_of_a_split_count_together() -> None:
    whole = draft(BUNDLE, fee(1, "200000.00"), fee(2, "100000.00"))
    judged = decide(whole, Split(by="tom.becker", lines=(2,)), TOM)
    assert judged.draft is not None
    assert judged.made is not None
    sibling = judged.made.model_copy(update={"id": "sibling"})
    refused = decide(judged.draft, release(judged.draft), siblings=(sibling,)).refused
    assert any("1 siblings" in reason and "357,000.00" in reason for reason in refused)
    assert decide(judged.draft, release(judged.draft)).refused == ()


def test_a_currency_without_a_limit_is_not_released() -> None:
    of = draft(BUNDLE, fee(1, "10.00", currency="GBP", legal_entity="DE"))
    assert decide(of, release(of)).refused == ()
    of = draft(BUNDLE, fee(1, "10.00", currency="SEK"))
    assert any("up to 0.00 SEK" in reason for reason in decide(of, release(of)).refused)


def po(amount: str, currency: str = "EUR", **changes: Any) -> PoStanding:
    """Return a client PO of which nothing is taken."""
    given = ClientPo(
        client_id="001", number="PO-1", amount=money(amount, currency), valid_from=date(2026, 1, 1)
    ).model_copy(update=changes)
    nothing = money("0.00", currency)
    return PoStanding(
        po=given,
        drafted=nothing,
        released=nothing,
        invoiced=nothing,
        credited=nothing,
        lines=untaken_lines(given),
    )


@pytest.mark.parametrize(
    ("standing", "says"),
    [
        (None, "is not known"),
        (po("1541.19"), "has 1,541.19 EUR left"),
        (po("1541.20", basis=PoBasis.GROSS), "this needs 1,834.03 EUR"),
        (po("9999.00", valid_to=date(2026, 12, 3)), "valid from 2026-01-01 to 2026-12-03"),
        (po("9999.00", valid_from=date(2026, 12, 5)), "valid from 2026-12-05"),
        (po("9999.00", projects=("5002",)), "is not for project 5001"),
        (po("9999.00", "USD"), "is in USD"),
    ],
)
def test_a_missing_short_or_expired_po_blocks_with_the_reason(
    standing: PoStanding | None, says: str
) -> None:
    of = three_lines(client_po="PO-1")
    refused = decide(of, release(of), po=standing).refused
    assert len(refused) == 1
    assert says in refused[0]


def test_a_po_that_just_suffices_does_not_block() -> None:
    of = three_lines(client_po="PO-1")
    assert decide(of, release(of), po=po("1541.20")).refused == ()


def po_line(number: str, amount: str, *contract_lines: str) -> PoLine:
    return PoLine(number=number, amount=money(amount), contract_lines=contract_lines)


def two_contract_lines() -> Draft:
    """Return a draft of 1,000.00 for contract line L1, and 500.00 for L2; 19% are expected."""
    return draft(BUNDLE, fee(1, "1000.00"), fee(2, "500.00", line="L2"), client_po="PO-1")


@pytest.mark.parametrize(
    ("lines", "basis", "says"),
    [
        (
            (po_line("10", "999.99", "L1"), po_line("20", "500.00", "L2")),
            PoBasis.NET,
            (
                "line 10 of client PO PO-1 has 999.99 EUR left (net), this needs 1,000.00 EUR, "
                "0.01 EUR more"
            ),
        ),
        (
            (po_line("10", "1190.00", "L1"), po_line("20", "590.00", "L2")),
            PoBasis.GROSS,
            (
                "line 20 of client PO PO-1 has 590.00 EUR left (gross), this needs 595.00 EUR, "
                "5.00 EUR more"
            ),
        ),
        (
            (po_line("10", "700.00"), po_line("20", "700.00")),
            PoBasis.NET,
            "lines 10, 20 of client PO PO-1 have 1,400.00 EUR left (net), this needs 1,500.00 EUR",
        ),
        (
            (po_line("10", "5000.00", "L1"),),
            PoBasis.NET,
            "no line of client PO PO-1 covers contract line L2: ask the client for one that does",
        ),
    ],
)
def test_a_short_or_missing_line_of_a_po_blocks_with_the_reason(
    lines: tuple[PoLine, ...], basis: PoBasis, says: str
) -> None:
    of = two_contract_lines()
    refused = decide(of, release(of), po=po("9999.00", basis=basis, lines=lines)).refused
    assert len(refused) == 1
    assert says in refused[0]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (po_line("10", "1000.00", "L1"), po_line("20", "500.00", "L2")),
        (po_line("10", "1000.00", "L1"), po_line("20", "400.00"), po_line("30", "100.00")),
        (po_line("10", "1500.00", "L2", "L1"),),
    ],
)
def test_lines_of_a_po_that_just_suffice_do_not_block(lines: tuple[PoLine, ...]) -> None:
    of = two_contract_lines()
    assert decide(of, release(of), po=po("9999.00", lines=lines)).refused == ()


def test_what_was_taken_of_a_line_is_not_there_for_another_draft() -> None:
    of = two_contract_lines()
    standing = po("9999.00", lines=(po_line("10", "1500.00", "L1", "L2"),))
    (line, rest) = standing.lines
    taken = line.model_copy(update={"invoiced": money("100.00"), "credited": money("40.00")})
    refused = decide(
        of, release(of), po=standing.model_copy(update={"lines": (taken, rest)})
    ).refused
    assert "has 1,440.00 EUR left" in refused[0]


def test_a_correction_below_nothing_passes_a_line_of_which_too_much_was_taken() -> None:
    of = draft(BUNDLE, fee(1, "500.00"), fee(2, "-100.00", line="L2"), client_po="PO-1")
    standing = po("9999.00", lines=(po_line("10", "500.00", "L1"), po_line("20", "0.00", "L2")))
    (first, second, rest) = standing.lines
    taken = second.model_copy(update={"invoiced": money("300.00")})
    standing = standing.model_copy(update={"lines": (first, taken, rest)})
    assert decide(of, release(of), po=standing).refused == ()


def test_holds_of_the_client_and_of_what_is_billed_block() -> None:
    of = three_lines()
    ref = of.lines[0].bills[0]
    refused = decide(of, release(of), client_holds=("case 500",), held={ref: "by hand"}).refused
    assert [reason.split(":")[0] for reason in refused] == [
        "001 is not billed for now",
        "line 1 is held",
    ]


def test_all_reasons_are_told_at_once() -> None:
    of = three_lines(client_po="PO-1")
    act = Release(by=MAYA.name, content_hash="0" * 64)
    assert len(decide(of, act, MAYA, client_holds=("x",)).refused) == 4


def test_a_write_down_keeps_the_parts_and_says_the_difference() -> None:
    act = WriteDown(by=INES.name, line=1, amount=money("100.00"), because="goodwill")
    once = decide(three_lines(), act).draft
    assert once is not None
    twice = decide(once, act).draft
    assert twice is not None
    line = twice.lines[0]
    assert (line.amount, line.written_down) == (money("800.00"), money("200.00"))
    assert line.expected_tax == money("152.00")


def test_a_line_written_down_whole_is_written_off() -> None:
    act = WriteDown(by=INES.name, line=2, amount=money("500.00"), because="our fault")
    judged = decide(three_lines(), act)
    assert judged.draft is not None
    assert judged.draft.lines[1].state is LineState.WRITTEN_OFF
    assert [line.number for line in judged.written_off] == [2]
    assert judged.draft.net == money("1041.20")


@pytest.mark.parametrize("amount", ["0.00", "-1.00", "1000.01"])
def test_a_write_down_stays_within_the_line(amount: str) -> None:
    act = WriteDown(by=INES.name, line=1, amount=money(amount), because="x")
    assert "more than 0 and at most" in decide(three_lines(), act).refused[0]


def test_write_downs_of_a_draft_add_up_to_the_limit() -> None:
    of = draft(BUNDLE, fee(1, "9000.00"), fee(2, "9000.00"))
    first = decide(of, WriteDown(by="i", line=1, amount=money("3000.00"), because="x")).draft
    assert first is not None
    second = WriteDown(by="i", line=2, amount=money("2000.01"), because="x")
    assert "up to 5,000.00" in decide(first, second).refused[0]
    assert decide(first, second, CONTROLLER).refused == ()


def whole(line: int, amount: str = "4000.00") -> WriteDown:
    return WriteDown(by="i", line=line, amount=money(amount), because="x")


def test_lines_that_are_written_off_whole_count_too() -> None:
    of = draft(BUNDLE, fee(1, "4000.00"), fee(2, "4000.00"), fee(3, "4000.00"))
    first = decide(of, whole(1)).draft
    assert first is not None
    assert "this is 8,000.00 EUR" in decide(first, whole(2)).refused[0]
    assert decide(first, whole(2, "1000.00")).refused == ()


def test_what_was_written_down_and_then_off_counts_once() -> None:
    of = draft(BUNDLE, fee(1, "4000.00"), fee(2, "4000.00"))
    down = decide(of, whole(1, "1500.00")).draft
    assert down is not None
    off = decide(down, whole(1, "2500.00")).draft
    assert off is not None
    assert decide(off, whole(2, "1000.00")).refused == ()
    assert "this is 5,000.01 EUR" in decide(off, whole(2, "1000.01")).refused[0]


def test_write_offs_of_kin_add_up_to_the_limit() -> None:
    of = draft(BUNDLE, fee(1, "4000.00"), fee(2, "4000.00"), fee(3, "9.00"))
    down = decide(of, whole(2, "3000.00")).draft
    assert down is not None
    parted = decide(down, Split(by="t", lines=(2,)), TOM)
    assert parted.draft is not None
    assert parted.made is not None
    made = parted.made.model_copy(update={"id": "made"})
    kin = (parted.draft, made)
    assert decide(parted.draft, whole(1, "2000.00"), kin=kin).refused == ()
    assert "5,000.01 EUR" in decide(parted.draft, whole(1, "2000.01"), kin=kin).refused[0]
    ended = decide(made, whole(1, "1000.00"), kin=kin).draft
    assert ended is not None
    assert ended.state is DraftState.EMPTY
    refused = decide(parted.draft, whole(1, "1000.01"), kin=(parted.draft, ended)).refused
    assert "5,000.01 EUR" in refused[0]


@pytest.mark.parametrize("state", [DraftState.IN_REVIEW, DraftState.QUEUED])
def test_a_merge_into_an_escalated_draft_begins_a_new_deadline(state: DraftState) -> None:
    late = three_lines(state=state, escalated=True)
    fresh = three_lines(id="other", state=DraftState.IN_REVIEW, review_until=NOW)
    merged = decide(late, Merge(by="t", other="other"), TOM, other=fresh).draft
    assert merged is not None
    assert (merged.review_until, merged.escalated) == (NOW, False)
    both = fresh.model_copy(update={"review_until": None, "escalated": True})
    merged = decide(late, Merge(by="t", other="other"), TOM, other=both).draft
    assert merged is not None
    assert (merged.review_until, merged.escalated) == (None, True)


def test_a_proposal_changes_no_amount() -> None:
    act = ProposeWriteDown(by="olivia", line=1, amount=money("100.00"), because="late")
    judged = decide(three_lines(), act, Actor("olivia", frozenset({"operator"})))
    assert judged.draft is not None
    assert judged.draft.net == money("1541.20")
    assert judged.draft.proposed_write_down == money("100.00")
    assert judged.draft.content_hash == three_lines().content_hash


def test_a_proposal_stays_on_its_line_until_finance_decides() -> None:
    of = three_lines(state=DraftState.IN_REVIEW)
    act = ProposeWriteDown(by=TOM.name, line=1, amount=money("100.00"), because="late")
    noted = decide(of, act, TOM).draft
    assert noted is not None
    reviewed = decide(noted, Review(by=TOM.name), TOM).draft
    assert reviewed is not None
    assert proposals(reviewed) == ("tom.becker proposes to write down line 1 by 100.00 EUR: late",)
    assert reviewed.problems == ()
    down = WriteDown(by=INES.name, line=1, amount=money("40.00"), because="agreed")
    decided = decide(reviewed, down).draft
    assert decided is not None
    assert (proposals(decided), decided.proposed_write_down) == ((), None)


def test_every_act_says_anew_what_blocks() -> None:
    act = EditNarrative(by="t", line=1, narrative="Other")
    blocked = decide(three_lines(), act, TOM, client_holds=("case 500",), warnings=("unpaid",))
    assert blocked.draft is not None
    assert blocked.draft.problems == ("001 is not billed for now: case 500",)
    assert blocked.draft.warnings == ("unpaid",)
    split_off = decide(three_lines(), Split(by="t", lines=(2,)), TOM, closed=("Dec 2026",))
    assert split_off.made is not None
    assert "Dec 2026 is closed in netsuite" in split_off.made.problems[0]


def test_a_closed_period_blocks() -> None:
    of = three_lines()
    assert "Dec 2026 is closed" in decide(of, release(of), closed=("Dec 2026",)).refused[0]


def test_an_unknown_tax_blocks_since_it_would_count_net_against_a_gross_limit() -> None:
    of = draft(BUNDLE, fee(1, "1000.00", tax_category="services-unheard-of"))
    assert of.gross == of.net
    refused = decide(of, release(of)).refused
    assert len(refused) == 1
    assert "no tax is expected for category services-unheard-of" in refused[0]


def test_a_line_without_category_counts_at_the_highest_expected_rate() -> None:
    within = draft(BUNDLE, fee(1, "210084.03", tax_category=""))
    assert decide(within, release(within)).refused == ()
    beyond = draft(BUNDLE, fee(1, "210084.04", tax_category=""))
    assert any("up to 250,000.00" in reason for reason in decide(beyond, release(beyond)).refused)


def test_who_vouched_for_its_amounts_does_not_release_it() -> None:
    of = three_lines()
    refused = decide(of, release(of), vouchers=("Ines.Duarte@example.com",)).refused
    assert any("let a differing rate pass" in reason for reason in refused)
    assert decide(of, release(of), vouchers=("tom.becker",)).refused == ()


def test_whoever_has_no_email_does_not_release() -> None:
    of = three_lines()
    nameless = Actor("ines.duarte", frozenset({"finance"}))
    assert any("has no e-mail" in reason for reason in decide(of, release(of), nameless).refused)


def test_the_original_wording_is_kept_for_good() -> None:
    of = three_lines()
    first = decide(of, EditNarrative(by="t", line=1, narrative=" New  words "), TOM).draft
    assert first is not None
    second = decide(first, EditNarrative(by="t", line=1, narrative="Newer"), TOM).draft
    assert second is not None
    line = second.lines[0]
    assert (line.narrative, line.original_narrative) == ("Newer", "Milestone 1")


def test_a_rejection_holds_or_frees_every_line() -> None:
    held = decide(three_lines(), Reject(by="i", because="wrong client"))
    assert held.draft is not None
    assert held.draft.state is DraftState.REJECTED
    assert len(held.held) == 3
    freed = decide(three_lines(), Reject(by="i", because="anew", hold=False))
    assert len(freed.freed) == 3
    assert freed.held == ()


def test_merging_takes_all_lines_and_both_preparers() -> None:
    one = three_lines()
    two = three_lines(id="other", preparers=("zoe",))
    judged = decide(one, Merge(by="tom.becker", other="other"), TOM, other=two)
    assert judged.draft is not None
    assert judged.other is not None
    assert judged.draft.net == money("3082.40")
    assert [line.number for line in judged.draft.lines] == [1, 2, 3, 4, 5, 6]
    assert {"zoe", "maya.chen@example.com", "tom.becker"} <= set(judged.draft.preparers)
    assert judged.other.state is DraftState.MERGED
    assert judged.other.live_lines == ()


def test_what_one_invoice_cannot_hold_is_not_merged() -> None:
    other = three_lines(id="other", client_po="PO-2", currency="USD")
    refused = decide(three_lines(), Merge(by="t", other="other"), TOM, other=other).refused
    assert refused == ("they differ in currency, client_po: one invoice has one",)


def test_a_merge_keeps_to_the_lines_that_the_issuing_system_takes() -> None:
    one, two = three_lines(), three_lines(id="other")
    act = Merge(by="tom.becker", other="other")

    refused = decide(one, act, TOM, other=two, lines_max=5).refused

    assert refused == (
        "an invoice of netsuite takes at most 5 lines, and this has 6 then: leave them two",
    )
    assert decide(one, act, TOM, other=two, lines_max=6).refused == ()


def test_a_draft_with_more_lines_than_its_issuing_system_takes_is_not_released() -> None:
    of = three_lines()
    refused = decide(of, release(of), lines_max=2).refused
    assert refused == ("an invoice of netsuite takes at most 2 lines, and this has 3: split it",)
    rest = decide(of, Split(by="tom.becker", lines=(3,)), TOM, lines_max=2).draft
    assert rest is not None
    assert rest.problems == ()


def test_a_refused_posting_queues_the_draft_and_holds_what_was_withdrawn() -> None:
    of = three_lines()
    released = decide(of, release(of)).draft
    assert released is not None
    act = Returned(
        by=ENGINE, because="period closed", posting=1, withdrawn=(released.lines[1].bills[0],)
    )
    judged = decide(released, act, Actor(ENGINE))
    assert judged.draft is not None
    assert judged.draft.state is DraftState.QUEUED
    assert judged.draft.returned == "period closed"
    assert judged.draft.lines[1].state is LineState.HELD
    assert judged.draft.net == money("1041.20")
    late = act.model_copy(update={"posting": 2})
    assert decide(released, late, Actor(ENGINE)).refused


def test_nobody_but_the_engine_returns_a_draft() -> None:
    of = three_lines()
    released = decide(of, release(of)).draft
    assert released is not None
    act = Returned(by="ines.duarte", because="x", posting=1)
    assert decide(released, act, CONTROLLER).refused


def test_nobody_releases_in_the_engines_name() -> None:
    of = three_lines()
    for act in (release(of), Reject(by=ENGINE, because="x")):
        assert decide(of, act, Actor(ENGINE)).refused == (
            "the posting itself returns a draft, and does nothing else to it",
        )


def test_a_released_draft_takes_no_other_act() -> None:
    of = three_lines()
    released = decide(of, release(of)).draft
    assert released is not None
    for act in (release(released), Reject(by="i", because="x"), HoldLines(by="i", lines=(1,))):
        assert "it is released" in decide(released, act).refused[0]


def test_a_draft_without_lines_is_empty() -> None:
    act = HoldLines(by="t", lines=(1, 2, 3), because="all wrong")
    judged = decide(three_lines(), act, TOM)
    assert judged.draft is not None
    assert judged.draft.state is DraftState.EMPTY


def test_a_negative_draft_is_not_released() -> None:
    of = draft(BUNDLE, fee(1, "-10.00"))
    assert any("not negative" in reason for reason in decide(of, release(of)).refused)


NUMBERS = st.lists(st.integers(min_value=1, max_value=3), min_size=1, max_size=3, unique=True)
ACTS = st.one_of(
    st.builds(HoldLines, by=st.just("t"), because=st.just("x"), lines=NUMBERS.map(tuple)),
    st.builds(
        DeferLines,
        by=st.just("t"),
        because=st.just("x"),
        lines=NUMBERS.map(tuple),
        until=st.just(date(2027, 1, 1)),
    ),
    st.builds(Split, by=st.just("t"), lines=NUMBERS.map(tuple)),
    st.builds(
        WriteDown,
        by=st.just("t"),
        because=st.just("x"),
        line=st.integers(min_value=1, max_value=3),
        amount=st.integers(min_value=1, max_value=600).map(lambda cents: money(f"{cents}.00")),
    ),
)


@given(acts=st.lists(ACTS, max_size=6))
def test_no_act_loses_or_doubles_an_amount(acts: list[AnyAct]) -> None:
    """What the drafts bill, wrote down and gave back is always what was drafted."""
    of = three_lines()
    gone = Decimal(0)
    made = Decimal(0)
    for act in acts:
        judged = decide(of, act, CONTROLLER)
        if judged.draft is None:
            assert judged.refused
            continue
        for line in (*judged.held, *judged.freed, *judged.written_off):
            whole = line.amount.amount
            gone += whole + (line.written_down.amount if line.written_down else 0)
        if judged.made is not None:
            made += sum(
                line.amount.amount + (line.written_down.amount if line.written_down else 0)
                for line in judged.made.lines
            )
        of = judged.draft
    left = sum(
        line.amount.amount + (line.written_down.amount if line.written_down else 0)
        for line in of.live_lines
    )
    assert left + gone + made == Decimal("1541.20")
