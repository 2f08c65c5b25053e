"""What a draft takes of the lines of its client PO, and which of them it is too much for.

The database counts the same way once a draft is released; here a person is told before.
"""

from collections.abc import Iterator
from decimal import Decimal

from canonical.client_pos import PoBasis, PoLineStanding, PoStanding
from canonical.drafts import Draft, DraftLine
from canonical.money import Money
from policies.arithmetic import quotient


def line_shortages(draft: Draft, standing: PoStanding) -> Iterator[str]:
    """Yield which lines of the PO are too small for a draft, and what no line of it covers.

    The draft is in the PO's currency.
    """
    for line, wanted, refs in _takings(draft, standing):
        if not line.numbers:
            yield (
                f"no line of client PO {draft.client_po} covers contract line {', '.join(refs)}: "
                "ask the client for one that does, and import it; or take lines off"
            )
        elif wanted.amount > line.left.amount:
            plural = "s" if len(line.numbers) > 1 else ""
            short = Money(amount=wanted.amount - line.left.amount, currency=draft.currency)
            yield (
                f"line{plural} {', '.join(line.numbers)} of client PO {draft.client_po} "
                f"{'have' if plural else 'has'} {line.left} left ({standing.po.basis}), this needs "
                f"{wanted}, {short} more: ask the client for a larger one, or take lines off"
            )


def _takings(
    draft: Draft, standing: PoStanding
) -> Iterator[tuple[PoLineStanding, Money, list[str]]]:
    """Yield each PO line that a draft takes of, how much, and for which contract lines.

    The draft is shared out by the net of its lines, so that the shares add up to it.
    """
    lines: list[list[DraftLine]] = [[] for _ in standing.lines]
    for line in draft.live_lines if lines else ():
        lines[_place(standing, line.line)].append(line)
    whole, so_far, shared = draft.net.amount, Decimal(0), Decimal(0)
    total = (draft.net if standing.po.basis is PoBasis.NET else draft.gross).amount
    for po_line, own in zip(standing.lines, lines, strict=True):
        if not own:
            continue
        share = sum((line.amount.amount for line in own), Decimal(0))
        if whole:
            so_far += share
            until = Money.rounded(quotient(whole, total, so_far), draft.currency).amount
            share, shared = until - shared, until
        if share > 0 or not po_line.numbers:
            refs = list(dict.fromkeys(line.line for line in own))
            yield po_line, Money(amount=share, currency=draft.currency), refs


def _place(standing: PoStanding, ref: str) -> int:
    """Return which PO line a contract line is counted on: the one that names it, or the last."""
    for place, line in enumerate(standing.lines):
        if ref in line.contract_lines:
            return place
    return len(standing.lines) - 1
