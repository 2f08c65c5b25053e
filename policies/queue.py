"""What people may do to drafts, and what becomes of them: pure decisions, taken under lock.

An act is taken or refused with all its reasons. Who prepared a draft (approved its time, worded,
split, merged or wrote down) never releases it; limits count the gross total of a draft together
with its siblings of a split; a release names the content hash of what it was given for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from canonical.drafts import (
    AnyAct,
    DeferLines,
    Delegate,
    Draft,
    DraftAct,
    DraftLine,
    DraftState,
    EditNarrative,
    HoldLines,
    LineState,
    Merge,
    ProposeWriteDown,
    Recheck,
    Reject,
    Release,
    Returned,
    Review,
    Split,
    WriteDown,
)
from canonical.money import Money
from policies.drafting import expected_tax
from policies.invoicing_schema import Invoicing, RoleLimits
from policies.posting import quantity_and_rate
from policies.preflight import Standing, blocking

ENGINE: Final = "dealthread"
"""Who acts where no person does; a name that no person can have."""
FINANCE: Final = frozenset({"finance", "controller", "admin"})
REVIEWERS: Final = frozenset({"operator", "finance", "controller", "admin"})
OPEN: Final = frozenset({DraftState.IN_REVIEW, DraftState.QUEUED})


_TAKES: Final[dict[type[DraftAct], frozenset[DraftState]]] = {
    Review: frozenset({DraftState.IN_REVIEW}),
    Delegate: frozenset({DraftState.IN_REVIEW}),
    Release: frozenset({DraftState.QUEUED}),
    WriteDown: frozenset({DraftState.QUEUED}),
    Returned: frozenset({DraftState.RELEASED}),
}


@dataclass(frozen=True)
class Actor:
    """Somebody who acts, as the configuration knows them."""

    name: str
    roles: frozenset[str] = frozenset()
    email: str = ""

    def is_among(self, people: Sequence[str]) -> bool:
        """Whether one of these names or e-mail addresses is theirs."""
        own = {self.name.casefold(), self.email.casefold()} - {""}
        return any(each.casefold() in own for each in people)


@dataclass(frozen=True)
class Judged:
    """What an act came to; nothing changes where it is refused."""

    refused: tuple[str, ...] = ()
    draft: Draft | None = None
    other: Draft | None = None
    """Of a merge: the draft that ended."""
    made: Draft | None = None
    """Of a split: the new draft, its number still to be counted."""
    freed: tuple[DraftLine, ...] = ()
    """Lines whose amounts are free to be drafted again."""
    held: tuple[DraftLine, ...] = ()
    """Lines whose amounts are held until somebody releases them."""
    written_off: tuple[DraftLine, ...] = ()


@dataclass(frozen=True)
class Case:
    """Everything beside draft and act that a decision depends on."""

    actor: Actor
    standing: Standing
    invoicing: Invoicing
    other: Draft | None = None
    """The second draft of a merge."""


def judge(draft: Draft, act: AnyAct, case: Case) -> Judged:
    """Decide on an act: what becomes of the draft, or every reason why it is refused."""
    problems = _not_now(draft, act, case.actor)
    if problems:
        return Judged(refused=problems)
    return _DECISIONS[type(act)](draft, act, case)


def _not_now(draft: Draft, act: AnyAct, actor: Actor) -> tuple[str, ...]:
    """Refuse who may not act so, and what makes no sense in the draft's state."""
    if isinstance(act, Returned) != (actor.name == ENGINE):
        return ("the posting itself returns a draft, and does nothing else to it",)
    allowed = _TAKES.get(type(act), OPEN)
    if draft.state not in allowed:
        states = " or ".join(sorted(allowed))
        return (f"it is {draft.state}, and {act.act} takes a draft that is {states}",)
    roles = FINANCE if isinstance(act, Release | WriteDown | Reject) else REVIEWERS
    if not isinstance(act, Returned) and not actor.roles & roles:
        needed = " or ".join(sorted(roles))
        return (f"{actor.name} has not the role for {act.act}: {needed}",)
    return ()


def _reviewed(draft: Draft, _act: Review, case: Case) -> Judged:
    known = {draft.reviewer, draft.delegate} - {""}
    mine = not known or draft.escalated or case.actor.is_among(sorted(known))
    if not mine and not case.actor.roles & FINANCE:
        return Judged(refused=(f"{draft.reviewer or draft.delegate} reviews this draft",))
    changed = _changed(draft, case.actor).model_copy(
        update={"state": DraftState.QUEUED, "review_until": None}
    )
    return _rechecked(changed, Recheck(by=case.actor.name), case)


def _rechecked(draft: Draft, _act: Recheck, case: Case) -> Judged:
    problems = blocking(draft, case.standing, case.invoicing)
    return Judged(draft=draft.model_copy(update={"problems": problems}))


def _delegated(draft: Draft, act: Delegate, _case: Case) -> Judged:
    return Judged(draft=draft.model_copy(update={"delegate": act.to}))


def _edit(draft: Draft, act: EditNarrative, case: Case) -> Judged:
    line = _live(draft, act.line)
    if line is None:
        return Judged(refused=(_no_line(draft, act.line),))
    new = line.model_copy(
        update={
            "narrative": " ".join(act.narrative.split()),
            "original_narrative": line.original_narrative or line.narrative,
        }
    )
    return Judged(draft=_changed(_with_lines(draft, [new]), case.actor))


def _take_off(draft: Draft, act: HoldLines | DeferLines, case: Case) -> Judged:
    lines, missing = _several(draft, act.lines)
    if missing:
        return Judged(refused=missing)
    if not act.because:
        return Judged(refused=("it needs a reason: say why",))
    until = act.until if isinstance(act, DeferLines) else None
    defers = until is not None
    changes: dict[str, object] = {
        "state": LineState.DEFERRED if defers else LineState.HELD,
        "because": act.because,
        "deferred_until": until,
    }
    off = tuple(line.model_copy(update=changes) for line in lines)
    new = _ended_if_empty(_changed(_with_lines(draft, off), case.actor))
    return Judged(draft=new, freed=off if defers else (), held=() if defers else off)


def _propose(draft: Draft, act: ProposeWriteDown, case: Case) -> Judged:
    line = _live(draft, act.line)
    problem = _amount_problem(draft, line, act.line, act.amount, act.because)
    if problem or line is None:
        return Judged(refused=(problem,))
    who = case.actor.name
    note = f"{who} proposes to write down line {line.number} by {act.amount}: {act.because}"
    return Judged(
        draft=draft.model_copy(
            update={"proposed_write_down": act.amount, "problems": (*draft.problems, note)}
        )
    )


def _write_down(draft: Draft, act: WriteDown, case: Case) -> Judged:
    line = _live(draft, act.line)
    problem = _amount_problem(draft, line, act.line, act.amount, act.because)
    if problem or line is None:
        return Judged(refused=(problem,))
    before = sum(
        (each.written_down.amount for each in draft.lines if each.written_down), Decimal(0)
    )
    total = Money(amount=before + act.amount.amount, currency=draft.currency)
    refused = _over_limit(
        case.actor, case.invoicing, total, "write off", lambda limits: limits.write_off
    )
    if refused:
        return Judged(refused=refused)
    down = act.amount.amount + (line.written_down.amount if line.written_down else Decimal(0))
    left = Money(amount=line.amount.amount - act.amount.amount, currency=draft.currency)
    if not left.amount:
        off = line.model_copy(update={"state": LineState.WRITTEN_OFF, "because": act.because})
        new = _ended_if_empty(_changed(_with_lines(draft, [off]), case.actor))
        return Judged(draft=new, written_off=(off,))
    terms = case.invoicing.entities[draft.legal_entity]
    percent, tax = expected_tax(left, line.tax_category, terms.expected_tax)
    quantity, price = quantity_and_rate(0, None, left)
    new_line = line.model_copy(
        update={
            "amount": left,
            "written_down": Money(amount=down, currency=draft.currency),
            "because": act.because,
            "quantity": quantity,
            "unit": "item",
            "unit_price": price,
            "tax_percent": percent,
            "expected_tax": tax,
        }
    )
    return Judged(draft=_changed(_with_lines(draft, [new_line]), case.actor))


def _split(draft: Draft, act: Split, case: Case) -> Judged:
    lines, missing = _several(draft, act.lines)
    if missing:
        return Judged(refused=missing)
    if len(lines) == len(draft.live_lines):
        return Judged(refused=("a split leaves at least one line on the draft",))
    moved = [
        line.model_copy(update={"state": LineState.MOVED, "because": act.because}) for line in lines
    ]
    made = draft.model_copy(
        update={
            "id": "",
            "version": 1,
            "lines": tuple(
                line.model_copy(update={"number": number})
                for number, line in enumerate(lines, start=1)
            ),
            "preparers": _with(draft.preparers, case.actor),
            "posting": 0,
            "returned": "",
        }
    )
    return Judged(draft=_changed(_with_lines(draft, moved), case.actor), made=made)


def _merge(draft: Draft, act: Merge, case: Case) -> Judged:
    other = case.other
    if other is None or other.id == draft.id:
        return Judged(refused=(f"there is no other draft {act.other}",))
    if other.state not in OPEN:
        return Judged(refused=(f"{other.id} is {other.state}",))
    same = ("legal_entity", "bill_to", "currency", "connection", "method", "client_po", "client_id")
    different = [name for name in same if getattr(draft, name) != getattr(other, name)]
    if different:
        return Judged(refused=(f"they differ in {', '.join(different)}: one invoice has one",))
    first = max((line.number for line in draft.lines), default=0) + 1
    added = tuple(
        line.model_copy(update={"number": number})
        for number, line in enumerate(other.live_lines, start=first)
    )
    whole = draft.model_copy(
        update={
            "lines": (*draft.lines, *added),
            "preparers": tuple(sorted({*draft.preparers, *other.preparers})),
            # Reviewed only if both were.
            "state": DraftState.IN_REVIEW
            if DraftState.IN_REVIEW in {draft.state, other.state}
            else DraftState.QUEUED,
            "review_until": draft.review_until or other.review_until,
        }
    )
    moved = tuple(
        line.model_copy(update={"state": LineState.MOVED, "because": f"merged into {draft.id}"})
        if line.state is LineState.IN
        else line
        for line in other.lines
    )
    ended = other.model_copy(
        update={"lines": moved, "state": DraftState.MERGED, "version": other.version + 1}
    )
    return Judged(draft=_changed(whole, case.actor), other=ended)


def _reject(draft: Draft, act: Reject, _case: Case) -> Judged:
    if not act.because:
        return Judged(refused=("a rejection needs a reason: say why",))
    new = draft.model_copy(
        update={
            "state": DraftState.REJECTED,
            "version": draft.version + 1,
            "review_until": None,
            "lines": tuple(
                line.model_copy(
                    update={
                        "state": LineState.HELD if act.hold else LineState.DEFERRED,
                        "because": act.because,
                    }
                )
                if line.state is LineState.IN
                else line
                for line in draft.lines
            ),
        }
    )
    live = {line.number for line in draft.live_lines}
    off = tuple(line for line in new.lines if line.number in live)
    return Judged(draft=new, held=off if act.hold else (), freed=() if act.hold else off)


def _release(draft: Draft, act: Release, case: Case) -> Judged:
    actor, standing = case.actor, case.standing
    problems = list(blocking(draft, standing, case.invoicing))
    if act.content_hash != draft.content_hash:
        problems.append(
            f"it has changed since: its content hash is {draft.content_hash[:12]}, not "
            f"{act.content_hash[:12]}; look at it again"
        )
    if actor.is_among(draft.preparers):
        problems.append(
            f"{actor.name} prepared it (approved its time or milestones, or changed it): "
            "somebody else of finance releases it"
        )
    if not draft.live_lines:
        problems.append("it has no lines")
    if draft.net.amount < 0:
        problems.append(f"its net is {draft.net}: an invoice is not negative; merge or hold lines")
    family = [draft, *(each for each in standing.siblings if each.id != draft.id)]
    total = Money(
        amount=sum((each.gross.amount for each in family), Decimal(0)), currency=draft.currency
    )
    what = "release" if len(family) == 1 else f"release (with its {len(family) - 1} siblings)"
    problems += _over_limit(actor, case.invoicing, total, what, lambda limits: limits.release)
    if problems:
        return Judged(refused=tuple(problems))
    return Judged(
        draft=draft.model_copy(
            update={
                "state": DraftState.RELEASED,
                "version": draft.version + 1,
                "problems": (),
                "returned": "",
                "released_by": actor.name,
                "released_at": standing.now,
                "released_hash": draft.content_hash,
                "posting": draft.posting + 1,
            }
        )
    )


def _returned(draft: Draft, act: Returned, _case: Case) -> Judged:
    if act.posting != draft.posting:
        return Judged(refused=(f"posting {act.posting} is over; it is now at {draft.posting}",))
    withdrawn = set(act.withdrawn)
    off = tuple(
        line.model_copy(update={"state": LineState.HELD, "because": act.because})
        for line in draft.live_lines
        if withdrawn & set(line.bills)
    )
    new = _with_lines(draft, off).model_copy(
        update={
            "state": DraftState.QUEUED,
            "version": draft.version + 1,
            "returned": act.because,
            "released_by": "",
            "released_at": None,
            "released_hash": "",
        }
    )
    return Judged(draft=_ended_if_empty(new), held=off)


def _over_limit(
    actor: Actor,
    invoicing: Invoicing,
    total: Money,
    what: str,
    of: "Callable[[RoleLimits], dict[str, Decimal] | str]",
) -> tuple[str, ...]:
    """Refuse what exceeds the highest limit among somebody's roles."""
    highest = Decimal(0)
    for role, limits in invoicing.limits.items():
        if role in actor.roles:
            limit = of(limits)
            if isinstance(limit, str):
                return ()
            highest = max(highest, limit.get(total.currency, Decimal(0)))
    if total.amount <= highest:
        return ()
    most = Money.rounded(highest, total.currency)
    return (f"{actor.name} may {what} up to {most}, and this is {total}",)


def _amount_problem(
    draft: Draft, line: DraftLine | None, number: int, amount: Money, because: str
) -> str:
    if line is None:
        return _no_line(draft, number)
    if amount.currency != draft.currency:
        return f"the draft is in {draft.currency}, not {amount.currency}"
    if amount.amount <= 0 or amount.amount > line.amount.amount:
        return f"line {number} has {line.amount}: write down more than 0 and at most that"
    return "" if because else "a write-down needs a reason: say why"


def _live(draft: Draft, number: int) -> DraftLine | None:
    return next((line for line in draft.live_lines if line.number == number), None)


def _several(draft: Draft, numbers: Sequence[int]) -> tuple[tuple[DraftLine, ...], tuple[str, ...]]:
    """Return the live lines of these numbers, or why there are none."""
    missing = tuple(_no_line(draft, each) for each in numbers if _live(draft, each) is None)
    if not numbers:
        return (), ("it names no lines",)
    wanted = set(numbers)
    return tuple(line for line in draft.live_lines if line.number in wanted), missing


def _no_line(draft: Draft, number: int) -> str:
    there = ", ".join(str(line.number) for line in draft.live_lines) or "none"
    return f"there is no line {number} to be invoiced; there are: {there}"


def _with_lines(draft: Draft, changed: Sequence[DraftLine]) -> Draft:
    by_number = {line.number: line for line in changed}
    lines = tuple(by_number.get(line.number, line) for line in draft.lines)
    return draft.model_copy(update={"lines": lines})


def _changed(draft: Draft, actor: Actor) -> Draft:
    """Count the version, and remember who changed it: that person never releases it."""
    return draft.model_copy(
        update={"version": draft.version + 1, "preparers": _with(draft.preparers, actor)}
    )


def _with(preparers: Sequence[str], actor: Actor) -> tuple[str, ...]:
    added = () if actor.is_among(preparers) else (actor.name,)
    return (*preparers, *added)


def _ended_if_empty(draft: Draft) -> Draft:
    if draft.live_lines:
        return draft
    return draft.model_copy(update={"state": DraftState.EMPTY, "review_until": None})


def with_number(judged: Judged, draft_id: str) -> Judged:
    """Return a split with the id that the store counted for the new draft."""
    if judged.made is None:
        return judged
    return replace(judged, made=judged.made.model_copy(update={"id": draft_id}))


_DECISIONS: Final[dict[type[DraftAct], Callable[[Draft, Any, Case], Judged]]] = {
    Review: _reviewed,
    Delegate: _delegated,
    EditNarrative: _edit,
    HoldLines: _take_off,
    DeferLines: _take_off,
    ProposeWriteDown: _propose,
    WriteDown: _write_down,
    Split: _split,
    Merge: _merge,
    Reject: _reject,
    Release: _release,
    Returned: _returned,
    Recheck: _rechecked,
}
