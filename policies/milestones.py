"""Whether a milestone may be invoiced: evidence, sequence, contract value, prior invoices (F3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.engagement import ContractLine, Engagement
from canonical.fees import ContractStanding, Fee, FeeSource, FeeStanding, FeeState
from canonical.invoicing import PsaMilestone
from canonical.money import Money
from policies.invoicing_schema import Invoicing, PriorUnpaid

TAKEN = frozenset(
    {
        FeeState.RESERVED,
        FeeState.HANDED_OVER,
        FeeState.DRAFTED,
        FeeState.RELEASED,
        FeeState.INVOICED,
        FeeState.CREDITED,
    }
)


@dataclass(frozen=True)
class Problem:
    """Why a milestone may not be invoiced now."""

    code: str
    """For the search attribute: `out_of_sequence`, `over_contract`, ..."""
    text: str


@dataclass(frozen=True)
class Judgement:
    """What keeps a milestone back, and what people should know of."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def line_of(milestone: PsaMilestone, engagement: Engagement) -> ContractLine | None:
    """Return the contract line that a milestone belongs to.

    By the reference that Dealthread wrote when it provisioned the milestone; one made by hand
    belongs to the only line that has no hours of its own, where there is exactly one.
    """
    named = milestone.external_ref.partition("/")[0]
    for line in engagement.lines:
        if line.ref == named:
            return line
    fixed = [line for line in engagement.lines if line.type in {"fixed_fee", "outcome_based"}]
    return fixed[0] if len(fixed) == 1 and not named else None


def fee_of(
    milestone: PsaMilestone,
    line: ContractLine,
    engagement: Engagement,
    siblings: Sequence[PsaMilestone],
    period: str,
    on: date,
) -> Fee:
    """Return the milestone as what is to be billed of its contract line."""
    of_line = [each for each in siblings if line_of(each, engagement) == line]
    places = {each.record.id: place for place, each in enumerate(of_line, start=1)}
    day = milestone.approved_at.date() if milestone.approved_at else on
    approvers = (milestone.approved_by,) if milestone.approved_by else ()
    return Fee(
        source=FeeSource.MILESTONE,
        item=f"{engagement.psa}/{milestone.record.id}",
        engagement=engagement.id,
        line=line.ref,
        psa=engagement.psa,
        project_id=engagement.project_id,
        client_id=engagement.client_id,
        amount=milestone.amount,
        period=period,
        sequence=places.get(milestone.record.id, 0),
        unit_price=milestone.amount.amount,
        narrative=milestone.title,
        start=day,
        end=day,
        on=on,
        approved_by=approvers,
        approved_at=milestone.approved_at,
        acceptance=milestone.acceptance,
        evidence=milestone.model_dump_json(),
    )


def judge_milestone(
    milestone: PsaMilestone,
    fee: Fee,
    line: ContractLine,
    siblings: Sequence[PsaMilestone],
    standing: ContractStanding,
    invoicing: Invoicing,
) -> Judgement:
    """Decide whether an approved milestone may be invoiced now.

    `siblings` are the PSA's milestones of the same contract line. The contract's value is compared
    again under lock when the amount is reserved.
    """
    problems = [
        *_approver(milestone),
        *_evidence(milestone, invoicing),
        *_duplicate(milestone, fee, standing),
        *_sequence(fee, siblings, standing, invoicing),
        *_currency(milestone, line),
    ]
    unpaid = _unpaid(fee, standing)
    terms = invoicing.entities[line.legal_entity].unpaid_prior
    if unpaid and terms is PriorUnpaid.BLOCK:
        problems.append(Problem("prior_unpaid", unpaid))
    warnings = (unpaid,) if unpaid and terms is PriorUnpaid.WARN else ()
    return Judgement(tuple(problems), warnings)


def over_contract(fee: Fee, taken: Money, limit: Money | None) -> Problem | None:
    """Return why an amount does not fit into the contract's value, if it does not."""
    if limit is None or fee.amount.amount <= 0:
        return None
    left = Money(amount=limit.amount - taken.amount, currency=limit.currency)
    if fee.amount.amount <= left.amount:
        return None
    return Problem(
        "over_contract",
        f"{fee.narrative} is {fee.amount}; of the contract line's {limit} {taken} is reserved, "
        f"drafted or invoiced, so {left} is left: amend the contract, or correct the milestone",
    )


def _approver(milestone: PsaMilestone) -> list[Problem]:
    if milestone.approved_by:
        return []
    text = (
        f"{milestone.title} is approved, and the PSA does not say by whom, so nobody can tell who "
        "may not release its invoice: have somebody approve it again there, by name"
    )
    return [Problem("no_approver", text)]


def _evidence(milestone: PsaMilestone, invoicing: Invoicing) -> list[Problem]:
    over = invoicing.milestones.acceptance_over.get(milestone.amount.currency)
    if over is None or milestone.amount.amount < over or milestone.acceptance:
        return []
    least = Money.rounded(over, milestone.amount.currency)
    text = (
        f"{milestone.title} is {milestone.amount}; from {least} on the client's acceptance is "
        "wanted: add the document in the PSA"
    )
    return [Problem("no_acceptance", text)]


def _duplicate(milestone: PsaMilestone, fee: Fee, standing: ContractStanding) -> list[Problem]:
    problems = []
    if milestone.invoiced_on:
        text = f"{milestone.title} is on PSA invoice {milestone.invoiced_on} already"
        problems.append(Problem("billed_outside", f"{text}: take it off there, or leave it billed"))
    for each in standing.fees:
        same = each.fee.item != fee.item and each.fee.sequence == fee.sequence != 0
        if same and each.state in TAKEN:
            text = f"place {fee.sequence} of the contract line was billed as {each.fee.narrative}"
            problems.append(Problem("duplicate", f"{text}: correct the order in the PSA"))
    return problems


def _sequence(
    fee: Fee,
    siblings: Sequence[PsaMilestone],
    standing: ContractStanding,
    invoicing: Invoicing,
) -> list[Problem]:
    if not invoicing.milestones.in_sequence or fee.sequence <= 1:
        return []
    taken = {each.fee.item for each in standing.fees if each.state in TAKEN}
    for place, each in enumerate(siblings, start=1):
        if place >= fee.sequence:
            break
        item = f"{fee.psa}/{each.record.id}"
        if item not in taken and not each.invoiced_on:
            state = "approved, and not invoiced" if each.approved else "not approved"
            text = f"{each.title} comes before {fee.narrative} and is {state} yet"
            return [Problem("out_of_sequence", f"{text}: approve it first, or re-order them")]
    return []


def _currency(milestone: PsaMilestone, line: ContractLine) -> list[Problem]:
    if milestone.amount.currency == line.currency:
        return []
    text = f"{milestone.title} is in {milestone.amount.currency}, the contract line in"
    return [Problem("wrong_currency", f"{text} {line.currency}: correct the milestone in the PSA")]


def _unpaid(fee: Fee, standing: ContractStanding) -> str:
    open_ = [
        each
        for each in standing.fees
        if each.state is FeeState.INVOICED and not each.paid and _before(each, fee)
    ]
    if not open_:
        return ""
    total = sum((each.fee.amount.amount for each in open_), Decimal(0))
    names = ", ".join(each.invoice or each.fee.narrative for each in open_)
    amount = Money(amount=total, currency=fee.amount.currency)
    return f"{amount} of earlier milestones is invoiced and not paid: {names}"


def _before(standing: FeeStanding, fee: Fee) -> bool:
    return not fee.sequence or standing.fee.sequence < fee.sequence
