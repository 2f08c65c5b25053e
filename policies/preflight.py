"""What keeps a draft from being released: client PO, holds of the client and of what it bills."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from canonical.client_pos import PoBasis, PoStanding
from canonical.drafts import BillableRef, Draft
from policies.invoicing_schema import Invoicing


@dataclass(frozen=True)
class Standing:
    """What an act is judged by, beside the drafts: read under the same locks."""

    today: date
    now: datetime
    siblings: tuple[Draft, ...] = ()
    """Of a split: the other drafts of the family that are live or invoiced."""
    po: PoStanding | None = None
    """Of the draft's client PO; None where there is none of that number."""
    client_holds: tuple[str, ...] = ()
    """Why the client is not billed for now."""
    held: Mapping[BillableRef, str] = field(default_factory=dict)
    """Billed amounts that are held since, with the reason."""


def blocking(draft: Draft, standing: Standing, invoicing: Invoicing) -> tuple[str, ...]:
    """Return everything that keeps a draft from being released, each with who can mend it."""
    problems = [f"{draft.client_id} is not billed for now: {why}" for why in standing.client_holds]
    for line in draft.live_lines:
        problems += [
            f"line {line.number} is held: {standing.held[ref]}; release or hold the line"
            for ref in line.bills
            if ref in standing.held
        ]
    return (*problems, *_po_problems(draft, standing, invoicing))


def _po_problems(draft: Draft, standing: Standing, invoicing: Invoicing) -> tuple[str, ...]:
    if not draft.client_po:
        if invoicing.entities[draft.legal_entity].po_required:
            return ("it has no client PO: the project's manager asks the client for one",)
        return ()
    if standing.po is None:
        return (f"client PO {draft.client_po} is not known: `starter.py po import` it",)
    po = standing.po.po
    problems = []
    if po.amount.currency != draft.currency:
        problems.append(f"client PO {po.number} is in {po.amount.currency}, not {draft.currency}")
        return tuple(problems)
    if draft.on < po.valid_from or (po.valid_to is not None and draft.on > po.valid_to):
        until = f" to {po.valid_to}" if po.valid_to else ""
        problems.append(
            f"client PO {po.number} is valid from {po.valid_from}{until}, the invoice is dated "
            f"{draft.on}: ask the client for a new one, and import it"
        )
    projects = {line.project_id for line in draft.live_lines}
    if po.projects and not projects <= set(po.projects):
        wrong = ", ".join(sorted(projects - set(po.projects)))
        problems.append(f"client PO {po.number} is not for project {wrong}")
    wanted = draft.net if po.basis is PoBasis.NET else draft.gross
    if wanted.amount > standing.po.left.amount:
        problems.append(
            f"client PO {po.number} has {standing.po.left} left ({po.basis}), this needs {wanted}: "
            "ask the client for a larger one, or take lines off"
        )
    return tuple(problems)
