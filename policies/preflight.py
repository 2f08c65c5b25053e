"""What keeps a draft from being released: client PO, holds, a closed period, an unknown tax."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from canonical.client_pos import PoBasis, PoStanding
from canonical.drafts import BillableRef, Draft
from canonical.money import Money
from policies.arithmetic import product, share
from policies.invoicing_schema import Invoicing
from policies.po_lines import line_shortages


@dataclass(frozen=True)
class Standing:
    """What an act is judged by, beside the drafts: read under the same locks."""

    today: date
    now: datetime
    siblings: tuple[Draft, ...] = ()
    """The other drafts, live or invoiced, that bill what was once on one draft with this one's."""
    kin: tuple[Draft, ...] = ()
    """Other drafts that ever held such an amount, ended ones too."""
    vouchers: tuple[str, ...] = ()
    """Whose word its amounts rest on: a rate that differs, what a schedule bills by."""
    warnings: tuple[str, ...] = ()
    """What its fees were handed over with."""
    closed: tuple[str, ...] = ()
    """Names of the entity's posting periods of its date that are known to be closed."""
    po: PoStanding | None = None
    """Of the draft's client PO; None where there is none of that number."""
    client_holds: tuple[str, ...] = ()
    """Why the client is not billed for now."""
    held: Mapping[BillableRef, str] = field(default_factory=dict)
    """Billed amounts that are held since, with the reason."""
    lines_max: int | None = None
    """Most lines of an invoice of the draft's issuing system; None: as many as a draft has."""


def blocking(draft: Draft, standing: Standing, invoicing: Invoicing) -> tuple[str, ...]:
    """Return everything that keeps a draft from being released, each with who can mend it."""
    problems = [f"{draft.client_id} is not billed for now: {why}" for why in standing.client_holds]
    if too_many := too_many_lines(draft, len(draft.live_lines), standing):
        problems.append(f"{too_many}: split it")
    for line in draft.live_lines:
        problems += [
            f"line {line.number} is held: {standing.held[ref]}; release or hold the line"
            for ref in line.bills
            if ref in standing.held
        ]
    problems += [
        f"period {name} is closed in {draft.erp}, and the invoice is dated {draft.on}: reject the "
        "draft with its lines free, and assemble it anew; or have the period opened, and bill again"
        for name in standing.closed
    ]
    return (*problems, *_tax_problems(draft), *_po_problems(draft, standing, invoicing))


def _tax_problems(draft: Draft) -> tuple[str, ...]:
    """Return which categories have no expected rate: without one, no gross total is known.

    A line of an imported contract may have no category at all: limits then count it at the highest
    rate that its entity expects.
    """
    unknown = {line.tax_category for line in draft.live_lines if line.expected_tax is None}
    return tuple(
        f"no tax is expected for category {category}, so limits can't be compared with a gross "
        f"total: name its rate in invoicing.yaml, entities.{draft.legal_entity}.expected_tax, or "
        "correct the contract line's category; then draft it anew"
        for category in sorted(unknown - {""})
    )


def too_many_lines(draft: Draft, lines: int, standing: Standing) -> str:
    """Say that an invoice of the issuing system can't have so many lines; empty: it can."""
    most = standing.lines_max
    if most is None or lines <= most:
        return ""
    return f"an invoice of {draft.connection} takes at most {most} lines, and this has {lines}"


def most_gross(draft: Draft, invoicing: Invoicing) -> Decimal:
    """Return what a draft comes to at most, unknown tax at the entity's highest expected rate."""
    highest = max(invoicing.entities[draft.legal_entity].expected_tax.values(), default=Decimal(0))
    total = draft.gross.amount
    for line in draft.live_lines:
        if line.expected_tax is None and line.amount.amount > 0:
            total += Money.rounded(
                product(line.amount.amount, share(highest)), draft.currency
            ).amount
    return total


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
    return (*problems, *line_shortages(draft, standing.po))
