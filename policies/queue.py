"""What people may do to drafts, and what becomes of them: pure decisions, taken under lock.

An act is taken or refused with all its reasons. Who prepared a draft (approved its time, worded,
split, merged or wrote down, imported or vouched for its rates) never releases it; limits count
together what was ever on one draft; a release names the content hash of what it was given for.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from canonical.draft_acts import (
    AnyAct,
    DeferLines,
    Delegate,
    DraftAct,
    EditNarrative,
    HoldLines,
    Merge,
    ProposeWriteDown,
    Recheck,
    Reject,
    Release,
    Returned,
    Review,
    Split,
    Withdraw,
    WriteDown,
)
from canonical.drafts import Draft, DraftState, LineState
from canonical.money import Money
from policies.preflight import blocking, most_gross
from policies.queue_case import ENGINE, OPEN, Actor, Case, Judged
from policies.queue_lines import (
    changed,
    edit,
    ended_if_empty,
    merge,
    over_limit,
    propose,
    proposed,
    split,
    take_off,
    with_lines,
    write_down,
)

FINANCE: Final = frozenset({"finance", "controller", "admin"})
REVIEWERS: Final = frozenset({"operator", "finance", "controller", "admin"})


_TAKES: Final[dict[type[DraftAct], frozenset[DraftState]]] = {
    Review: frozenset({DraftState.IN_REVIEW}),
    Delegate: frozenset({DraftState.IN_REVIEW}),
    Release: frozenset({DraftState.QUEUED}),
    WriteDown: frozenset({DraftState.QUEUED}),
    Returned: frozenset({DraftState.RELEASED}),
}


def judge(draft: Draft, act: AnyAct, case: Case) -> Judged:
    """Decide on an act: what becomes of the draft, or every reason why it is refused."""
    problems = _not_now(draft, act, case.actor)
    if problems:
        return Judged(refused=problems)
    judged = _DECISIONS[type(act)](draft, act, case)
    new, made = judged.draft, judged.made
    return replace(
        judged,
        draft=looked_over(new, case) if new is not None else None,
        made=looked_over(made, case) if made is not None else None,
    )


def looked_over(draft: Draft, case: Case) -> Draft:
    """Return a draft with what blocks it now, if people go on with it."""
    if draft.state not in OPEN:
        return draft
    told: dict[str, object] = {
        "problems": blocking(draft, case.standing, case.invoicing),
        "warnings": tuple(dict.fromkeys((*draft.warnings, *case.standing.warnings))),
        "proposed_write_down": proposed(draft),
    }
    return draft.model_copy(update=told)


def _not_now(draft: Draft, act: AnyAct, actor: Actor) -> tuple[str, ...]:
    """Refuse who may not act so, and what makes no sense in the draft's state."""
    if isinstance(act, Withdraw) and actor.name != ENGINE:
        return ("only the milestone's own saga withdraws it: `starter.py milestone withdraw`",)
    if isinstance(act, Returned | Withdraw) != (actor.name == ENGINE):
        return ("the posting itself returns a draft, and does nothing else to it",)
    allowed = _TAKES.get(type(act), OPEN)
    if draft.state not in allowed:
        states = " or ".join(sorted(allowed))
        return (f"it is {draft.state}, and {act.act} takes a draft that is {states}",)
    roles = FINANCE if isinstance(act, Release | WriteDown | Reject) else REVIEWERS
    if actor.name != ENGINE and not actor.roles & roles:
        needed = " or ".join(sorted(roles))
        return (f"{actor.name} has not the role for {act.act}: {needed}",)
    return ()


def _reviewed(draft: Draft, _act: Review, case: Case) -> Judged:
    known = {draft.reviewer, draft.delegate} - {""}
    mine = not known or draft.escalated or case.actor.is_among(sorted(known))
    if not mine and not case.actor.roles & FINANCE:
        return Judged(refused=(f"{draft.reviewer or draft.delegate} reviews this draft",))
    reviewed = changed(draft, case.actor).model_copy(
        update={"state": DraftState.QUEUED, "review_until": None}
    )
    return Judged(draft=reviewed)


def _rechecked(draft: Draft, _act: Recheck, _case: Case) -> Judged:
    return Judged(draft=draft)


def _delegated(draft: Draft, act: Delegate, _case: Case) -> Judged:
    return Judged(draft=draft.model_copy(update={"delegate": act.to}))


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
    if not actor.email:
        problems.append(
            f"{actor.name} has no e-mail in dealthread.toml, [people]: nobody can tell whether "
            "they approved its time, which other systems say by e-mail"
        )
    if actor.is_among(standing.vouchers):
        problems.append(
            f"{actor.name} prepared it (let a differing rate pass, or recorded what its schedule "
            "bills by): somebody else of finance releases it"
        )
    elif actor.is_among(draft.preparers):
        problems.append(
            f"{actor.name} prepared it (approved its time or milestones, imported its rates, or "
            "changed it): somebody else of finance releases it"
        )
    if not draft.live_lines:
        problems.append("it has no lines")
    if draft.net.amount < 0:
        problems.append(f"its net is {draft.net}: an invoice is not negative; merge or hold lines")
    family = [draft, *(each for each in standing.siblings if each.id != draft.id)]
    most = sum((most_gross(each, case.invoicing) for each in family), Decimal(0))
    total = Money(amount=most, currency=draft.currency)
    what = "release" if len(family) == 1 else f"release (with its {len(family) - 1} siblings)"
    problems += over_limit(actor, case.invoicing, total, what, lambda limits: limits.release)
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
    new = with_lines(draft, off).model_copy(
        update={
            "state": DraftState.QUEUED,
            "version": draft.version + 1,
            "returned": act.because,
            "released_by": "",
            "released_at": None,
            "released_hash": "",
        }
    )
    return Judged(draft=ended_if_empty(new), held=off)


def _withdrawn(draft: Draft, act: Withdraw, _case: Case) -> Judged:
    """Take off what may not be billed any more; who looked at the draft looks again."""
    gone = set(act.bills)
    off = tuple(
        line.model_copy(update={"state": LineState.HELD, "because": act.because})
        for line in draft.live_lines
        if gone & set(line.bills)
    )
    if not off:
        return Judged(refused=("no line of it bills that",))
    new = with_lines(draft, off).model_copy(update={"version": draft.version + 1})
    return Judged(draft=ended_if_empty(new), held=off)


_DECISIONS: Final[dict[type[DraftAct], Callable[[Draft, Any, Case], Judged]]] = {
    Review: _reviewed,
    Delegate: _delegated,
    EditNarrative: edit,
    HoldLines: take_off,
    DeferLines: take_off,
    ProposeWriteDown: propose,
    WriteDown: write_down,
    Split: split,
    Merge: merge,
    Reject: _reject,
    Release: _release,
    Returned: _returned,
    Withdraw: _withdrawn,
    Recheck: _rechecked,
}
