"""What people do to the lines of a draft: word, hold, defer, write down, split, merge."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from canonical.draft_acts import (
    DeferLines,
    EditNarrative,
    HoldLines,
    Merge,
    ProposeWriteDown,
    Split,
    WriteDown,
)
from canonical.drafts import Draft, DraftLine, DraftState, LineState, WriteDownProposal
from canonical.money import Money
from policies.drafting import expected_tax
from policies.invoicing_schema import Invoicing, RoleLimits
from policies.posting import quantity_and_rate
from policies.preflight import too_many_lines
from policies.queue_case import OPEN, Actor, Case, Judged


def edit(draft: Draft, act: EditNarrative, case: Case) -> Judged:
    """Word a line anew; the original wording is kept for good."""
    line = _live(draft, act.line)
    if line is None:
        return Judged(refused=(_no_line(draft, act.line),))
    new = line.model_copy(
        update={
            "narrative": " ".join(act.narrative.split()),
            "original_narrative": line.original_narrative or line.narrative,
        }
    )
    return Judged(draft=changed(with_lines(draft, [new]), case.actor))


def take_off(draft: Draft, act: HoldLines | DeferLines, case: Case) -> Judged:
    """Hold lines, or defer them: they give back what they bill."""
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
    new = ended_if_empty(changed(with_lines(draft, off), case.actor))
    return Judged(draft=new, freed=off if defers else (), held=() if defers else off)


def propose(draft: Draft, act: ProposeWriteDown, case: Case) -> Judged:
    """Note that a line should bill less, beside it, until finance decides; no amount changes."""
    line = _live(draft, act.line)
    problem = _amount_problem(draft, line, act.line, act.amount, act.because)
    if problem or line is None:
        return Judged(refused=(problem,))
    proposal = WriteDownProposal(by=case.actor.name, amount=act.amount, because=act.because)
    return Judged(draft=with_lines(draft, [line.model_copy(update={"proposed": proposal})]))


def write_down(draft: Draft, act: WriteDown, case: Case) -> Judged:
    """Bill a line at less than its parts, within the limit; all of it: write the line off."""
    line = _live(draft, act.line)
    problem = _amount_problem(draft, line, act.line, act.amount, act.because)
    if problem or line is None:
        return Judged(refused=(problem,))
    others = [each for each in case.standing.kin if each.id != draft.id]
    before = sum((_written_off(each) for each in (draft, *others)), Decimal(0))
    total = Money(amount=before + act.amount.amount, currency=draft.currency)
    what = "write off" if total == act.amount else "write off (with what was before)"
    refused = over_limit(case.actor, case.invoicing, total, what, lambda limits: limits.write_off)
    if refused:
        return Judged(refused=refused)
    down = act.amount.amount + (line.written_down.amount if line.written_down else Decimal(0))
    left = Money(amount=line.amount.amount - act.amount.amount, currency=draft.currency)
    line = line.model_copy(update={"proposed": None})
    if not left.amount:
        off = line.model_copy(update={"state": LineState.WRITTEN_OFF, "because": act.because})
        new = ended_if_empty(changed(with_lines(draft, [off]), case.actor))
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
    return Judged(draft=changed(with_lines(draft, [new_line]), case.actor))


def _written_off(draft: Draft) -> Decimal:
    """Return what is not billed of a draft's lines: of those that moved, their new draft tells."""
    off = Decimal(0)
    for line in draft.lines:
        if line.state is LineState.WRITTEN_OFF:
            off += line.amount.amount
        if line.state in {LineState.IN, LineState.WRITTEN_OFF} and line.written_down:
            off += line.written_down.amount
    return off


def split(draft: Draft, act: Split, case: Case) -> Judged:
    """Move lines to a draft of their own; one line at least stays."""
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
    return Judged(draft=changed(with_lines(draft, moved), case.actor), made=made)


def merge(draft: Draft, act: Merge, case: Case) -> Judged:
    """Take another draft's lines into this one, with its preparers."""
    other = case.other
    if other is None or other.id == draft.id:
        return Judged(refused=(f"there is no other draft {act.other}",))
    if other.state not in OPEN:
        return Judged(refused=(f"{other.id} is {other.state}",))
    same = ("legal_entity", "bill_to", "currency", "connection", "method", "client_po", "client_id")
    different = [name for name in same if getattr(draft, name) != getattr(other, name)]
    if different:
        return Judged(refused=(f"they differ in {', '.join(different)}: one invoice has one",))
    together = len(draft.live_lines) + len(other.live_lines)
    if too_many := too_many_lines(draft, together, case.standing):
        return Judged(refused=(f"{too_many} then: leave them two",))
    first = max((line.number for line in draft.lines), default=0) + 1
    added = tuple(
        line.model_copy(update={"number": number})
        for number, line in enumerate(other.live_lines, start=first)
    )
    reviewed = DraftState.IN_REVIEW not in {draft.state, other.state}
    until = draft.review_until or other.review_until
    whole = draft.model_copy(
        update={
            "lines": (*draft.lines, *added),
            "preparers": tuple(sorted({*draft.preparers, *other.preparers})),
            "warnings": tuple(dict.fromkeys((*draft.warnings, *other.warnings))),
            # Reviewed only if both were.
            "state": DraftState.QUEUED if reviewed else DraftState.IN_REVIEW,
            "review_until": until,
            # A deadline that is still to come has not been told of.
            "escalated": until is None and (draft.escalated or other.escalated),
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
    return Judged(draft=changed(whole, case.actor), other=ended)


def proposals(draft: Draft) -> tuple[str, ...]:
    """Say what is proposed to write down, line by line."""
    return tuple(
        f"{line.proposed.by} proposes to write down line {line.number} by {line.proposed.amount}: "
        f"{line.proposed.because}"
        for line in draft.live_lines
        if line.proposed
    )


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


def over_limit(
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


def with_lines(draft: Draft, changed: Sequence[DraftLine]) -> Draft:
    """Return a draft with these lines in the place of those of their numbers."""
    by_number = {line.number: line for line in changed}
    lines = tuple(by_number.get(line.number, line) for line in draft.lines)
    return draft.model_copy(update={"lines": lines})


def proposed(draft: Draft) -> Money | None:
    """Return what is proposed to write down a draft's lines by; None: nothing is."""
    amounts = [line.proposed.amount.amount for line in draft.live_lines if line.proposed]
    return Money(amount=sum(amounts, Decimal(0)), currency=draft.currency) if amounts else None


def changed(draft: Draft, actor: Actor) -> Draft:
    """Count the version, and remember who changed it: that person never releases it."""
    return draft.model_copy(
        update={"version": draft.version + 1, "preparers": _with(draft.preparers, actor)}
    )


def _with(preparers: Sequence[str], actor: Actor) -> tuple[str, ...]:
    added = () if actor.is_among(preparers) else (actor.name,)
    return (*preparers, *added)


def ended_if_empty(draft: Draft) -> Draft:
    """Return a draft, ended where no line of it will be invoiced any more."""
    if draft.live_lines:
        return draft
    return draft.model_copy(update={"state": DraftState.EMPTY, "review_until": None})
