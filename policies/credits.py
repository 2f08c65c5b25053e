"""What people may credit on an issued invoice, and how it falls on what the invoice bills; pure.

A credit is asked for by one person and approved by another, whose role may decide on as much as it
may write off: counted with every other credit of the invoice, so that nothing is cut into pieces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from canonical.credit_invoice import CreditedAmount
from canonical.invoicing import (
    Application,
    ApplicationKind,
    CreditNote,
    CreditReason,
    Invoice,
    InvoiceStatus,
)
from canonical.lifecycle import (
    LOST,
    UNDONE,
    CreditPart,
    DraftedCreditLine,
    LeftToCredit,
    TrackedInvoice,
)
from canonical.money import Money
from canonical.records import RecordRef
from policies.arithmetic import product
from policies.invoicing_schema import EntityInvoicing, Invoicing
from policies.queue import FINANCE, REVIEWERS
from policies.queue_case import Actor

CREDITABLE: Final = frozenset({InvoiceStatus.OPEN, InvoiceStatus.SETTLED})
ROUNDED: Final = 1
"""Minor units by which the net of a credit that we did not make may be off, for each of them."""


@dataclass(frozen=True)
class Worked:
    """The lines of a credit, or every reason why it cannot be."""

    refused: tuple[str, ...] = ()
    lines: tuple[DraftedCreditLine, ...] = ()

    @property
    def net(self) -> Money:
        """Sum of the lines; there is at least one."""
        total = sum((line.amount.amount for line in self.lines), Decimal(0))
        return Money(amount=total, currency=self.lines[0].amount.currency)


# Who may.


def may_ask(actor: Actor | None, name: str, because: str) -> tuple[str, ...]:
    """Return why somebody may not ask for a credit or dispute an invoice."""
    if not because.strip():
        return ("it needs a reason: say why",)
    return _has_role(actor, name, REVIEWERS, "this")


def may_refuse(actor: Actor | None, name: str, because: str) -> tuple[str, ...]:
    """Return why somebody may not refuse a credit; who asked for it may take it back."""
    if not because.strip():
        return ("a refusal needs a reason: say why",)
    return _has_role(actor, name, REVIEWERS, "refusing a credit")


def may_explain(actor: Actor | None, name: str) -> tuple[str, ...]:
    """Return why somebody may not say what a credit of the issuing system is for."""
    return _has_role(actor, name, FINANCE, "explaining a credit")


def may_accept_tax(actor: Actor | None, name: str, because: str) -> tuple[str, ...]:
    """Return why somebody may not accept a tax that the issuing system made otherwise."""
    if not because.strip():
        return ("it needs a reason: say why the tax is right, or what is done about it",)
    return _has_role(actor, name, FINANCE, "accepting a tax")


def may_approve(
    actor: Actor | None,
    name: str,
    asked_by: str,
    net: Money,
    others: Sequence[Money],
    invoicing: Invoicing,
) -> tuple[str, ...]:
    """Return every reason why somebody may not approve a credit.

    Args:
        actor: as the configuration knows them; None: it does not.
        name: as they call themselves.
        asked_by: who asked for it, by name.
        net: of the credit.
        others: nets of the other credits of the invoice that are approved or issued.
        invoicing: the policy with the limits of roles.
    """
    problems = list(_has_role(actor, name, FINANCE, "approving a credit"))
    if actor is None or problems:
        return tuple(problems)
    if actor.is_among([asked_by]):
        problems.append(f"{actor.name} asked for it: somebody else of finance approves it")
    total = Money(amount=sum((each.amount for each in others), net.amount), currency=net.currency)
    problems += _over_limit(actor, total, len(others), invoicing)
    return tuple(problems)


def _has_role(actor: Actor | None, name: str, roles: frozenset[str], what: str) -> tuple[str, ...]:
    if actor is None:
        return (f"{name[:80]!a} is not in dealthread.toml under [people]",)
    if not actor.roles & roles:
        return (f"{actor.name} has not the role for {what}: {' or '.join(sorted(roles))}",)
    return ()


def _over_limit(actor: Actor, total: Money, others: int, invoicing: Invoicing) -> tuple[str, ...]:
    """Refuse what exceeds the highest limit among somebody's roles: that of writing off."""
    highest = Decimal(0)
    for role, limits in invoicing.limits.items():
        if role in actor.roles:
            if isinstance(limits.write_off, str):
                return ()
            highest = max(highest, limits.write_off.get(total.currency, Decimal(0)))
    if total.amount <= highest:
        return ()
    most = Money.rounded(highest, total.currency)
    beside = f" with {others} earlier on the invoice" if others else ""
    return (f"{actor.name} may credit up to {most}, and this is {total}{beside}",)


# What is credited.


def work_out(
    invoice: TrackedInvoice,
    left: Sequence[LeftToCredit],
    wanted: Sequence[CreditedAmount],
    reason: CreditReason,
) -> Worked:
    """Return the lines of a credit, each split over what the invoiced line bills.

    Nothing wanted means everything that is left, net of deductions (decision 0018). What a line
    bills is taken back in its order, each as far as it goes.
    """
    items = {line.number: line.item for line in reversed(invoice.lines) if line.number}
    by_line: dict[int, list[LeftToCredit]] = {}
    for each in left:
        by_line.setdefault(each.line, []).append(each)
    rest = {line: _rest(members) for line, members in by_line.items()}
    if not wanted:
        wanted = [
            CreditedAmount(line=line, amount=amount)
            for line, amount in sorted(_whole(left, rest, invoice.currency).items())
            if amount.amount > 0
        ]
        if not wanted:
            return Worked(refused=(f"nothing is left of invoice {invoice.number} to credit",))
    problems = _too_much(invoice, wanted, rest)
    if problems:
        return Worked(refused=problems)
    return Worked(
        lines=tuple(
            DraftedCreditLine(
                line=each.line,
                item=items[each.line],
                amount=each.amount,
                reason=reason,
                parts=_parts(each.amount, by_line[each.line]),
            )
            for each in wanted
        )
    )


def _rest(members: Sequence[LeftToCredit]) -> Decimal:
    """Return what is left of a line: never more than its net, whatever it is made of."""
    net = sum((each.billed.amount - each.taken.amount for each in members), Decimal(0))
    return min(net, sum((each.open for each in members), Decimal(0)))


def _whole(
    left: Sequence[LeftToCredit], rest: Mapping[int, Decimal], currency: str
) -> dict[int, Money]:
    """Return all that is left, by line: what was deducted was never invoiced, so it is cut off.

    A deduction cuts the lines of its own project, in proportion; what they do not bear, all others.
    """
    open_ = {line: amount for line, amount in rest.items() if amount > 0}
    projects = {each.line: each.project_id for each in left}
    over = Decimal(0)
    for project in dict.fromkeys(projects.values()):
        of_project = [line for line in rest if projects[line] == project]
        deducted = -sum((min(rest[line], Decimal(0)) for line in of_project), Decimal(0))
        over += _cut(open_, [line for line in of_project if line in open_], deducted, currency)
    _cut(open_, list(open_), over, currency)
    return {line: Money(amount=amount, currency=currency) for line, amount in open_.items()}


def _cut(
    open_: dict[int, Decimal], lines: Sequence[int], deducted: Decimal, currency: str
) -> Decimal:
    """Cut lines in proportion, to the last minor unit; return what they do not bear."""
    whole = sum((open_[line] for line in lines), Decimal(0))
    cut = min(deducted, whole)
    seen, gone = Decimal(0), Decimal(0)
    for line in lines if cut else ():
        seen += open_[line]
        # Rounded as one running sum, so that the shares sum to the cut, and none exceeds its line.
        upto = Money.rounded(product(cut, seen) / whole, currency).amount
        open_[line] -= upto - gone
        gone = upto
    return deducted - cut


def _too_much(
    invoice: TrackedInvoice, wanted: Sequence[CreditedAmount], rest: Mapping[int, Decimal]
) -> tuple[str, ...]:
    """Return what exceeds a line, or all of the invoice, with the figures."""
    problems: list[str] = []
    numbers = [each.line for each in wanted]
    for each in wanted:
        if each.line not in rest:
            there = ", ".join(map(str, sorted(rest)))
            problems.append(f"invoice {invoice.number} has no line {each.line}; it has {there}")
        elif each.amount.currency != invoice.currency:
            problems.append(f"the invoice is in {invoice.currency}, not {each.amount.currency}")
        elif each.amount.amount <= 0:
            problems.append(f"line {each.line}: credit more than 0")
        elif each.amount.amount > rest[each.line]:
            most = Money.rounded(max(rest[each.line], Decimal(0)), invoice.currency)
            problems.append(f"line {each.line}: {most} of it is left to credit, not {each.amount}")
    if len(set(numbers)) < len(numbers):
        problems.append("it names a line twice: add the amounts up")
    total = sum((each.amount.amount for each in wanted), Decimal(0))
    whole = sum(rest.values(), Decimal(0))
    if not problems and total > whole:
        left, asked = (Money.rounded(each, invoice.currency) for each in (whole, total))
        deducting = ", ".join(str(line) for line, amount in sorted(rest.items()) if amount < 0)
        problems.append(
            f"invoice {invoice.number} has {left} left to credit, and this is {asked}: what line "
            f"{deducting} deducts was never invoiced, so no credit note takes it back; credit less "
            "of the other lines, or --whole"
        )
    return tuple(problems)


def _parts(amount: Money, members: Sequence[LeftToCredit]) -> tuple[CreditPart, ...]:
    parts: list[CreditPart] = []
    open_ = amount.amount
    for each in members:
        taken = min(open_, each.open)
        if taken > 0:
            money = Money(amount=taken, currency=amount.currency)
            parts.append(CreditPart(bills=each.bills, amount=money))
            open_ -= taken
    return tuple(parts)


# What the issuing system says.


def not_creditable(invoice: Invoice, net: Money, external_id: str = "") -> tuple[str, ...]:
    """Return why an invoice, as its system has it now, cannot be credited by so much net.

    Credits made there count by the share of the gross amount that they take off. One under
    `external_id` is the credit itself, issued by an earlier attempt.
    """
    if invoice.status not in CREDITABLE:
        return (f"invoice {invoice.number} is {invoice.status} in {invoice.record.system}",)
    credits_ = [
        each
        for each in invoice.applications
        if each.kind is ApplicationKind.CREDIT
        and not (external_id and each.external_id == external_id)
    ]
    taken = sum(
        (net_of(each.amount, invoice.net, invoice.gross).amount for each in credits_), Decimal(0)
    )
    left = Money(amount=invoice.net.amount - taken, currency=invoice.currency)
    if net.minor_units <= left.minor_units + ROUNDED * len(credits_):
        return ()
    why = (
        f"{left} net of invoice {invoice.number} is left in {invoice.record.system}, where "
        f"credits of {invoice.net.amount - left.amount:,f} are applied, and this is {net}"
    )
    return (why,)


def net_of(gross: Money, invoice_net: Money, invoice_gross: Money) -> Money:
    """Return the net part of a gross amount, as the invoice's own net is of its gross."""
    if not invoice_gross.amount:
        return Money.rounded(Decimal(0), gross.currency)
    exact = product(gross.amount, invoice_net.amount) / invoice_gross.amount
    return Money.rounded(exact, gross.currency)


def native_credits(
    applications: Sequence[Application], our_notes: frozenset[str]
) -> tuple[Application, ...]:
    """Return the credits that stand on an invoice and that Dealthread did not make."""
    return tuple(
        each
        for each in applications
        if each.kind is ApplicationKind.CREDIT and not each.external_id and each.id not in our_notes
    )


def not_voidable(
    invoice: TrackedInvoice, net: Money, lines: Sequence[CreditedAmount], terms: EntityInvoicing
) -> tuple[str, ...]:
    """Return why an invoice may not be voided: what was paid or reported is credited instead.

    `net` is what is left of it; `terms` are those of its legal entity.
    """
    if not terms.void_allowed:
        return (
            f"the policy of {invoice.legal_entity} voids no invoices (void_allowed): credit it",
        )
    problems = []
    if lines:
        problems.append("an invoice is voided as a whole: credit single lines")
    if invoice.state in LOST:
        problems.append(f"invoice {invoice.number} is {invoice.state} already")
    elif invoice.remaining != invoice.gross or net != invoice.net:
        problems.append(f"invoice {invoice.number} is paid or credited in part: credit the rest")
    return tuple(problems)


def undone(invoice: TrackedInvoice, left: Sequence[LeftToCredit]) -> Money | None:
    """Return the net that a voided or deleted invoice took back by itself; None: nothing.

    It is all that no credit took before.
    """
    if invoice.state not in LOST:
        return None
    worked = work_out(invoice, left, (), CreditReason.CANCELLED)
    return None if worked.refused else worked.net


def undoing(invoice: TrackedInvoice, net: Money) -> Application:
    """Return the undoing of an invoice as one credit; its gross is as the invoice's to its net."""
    exact = product(net.amount, invoice.gross.amount) / (invoice.net.amount or Decimal(1))
    return Application(
        id=UNDONE,
        kind=ApplicationKind.CREDIT,
        amount=Money.rounded(exact, invoice.currency),
        on=invoice.seen_at.date(),
        reference=UNDONE,
    )


def undone_note(invoice: TrackedInvoice, net: Money, on: date) -> CreditNote:
    """Return what stands for the credit note of an invoice that was voided or deleted: none is."""
    gross = undoing(invoice, net).amount
    system, id_ = invoice.record.system, invoice.record.id
    return CreditNote(
        record=RecordRef(system=system, type="credit_note", id=f"{UNDONE}-{id_}"),
        invoice=invoice.record,
        number=UNDONE,
        net=net,
        tax=Money(amount=gross.amount - net.amount, currency=net.currency),
        gross=gross,
        on=on,
    )
