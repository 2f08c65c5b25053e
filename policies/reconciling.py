"""What a difference between systems is, in plain words; whether it waits, mends itself, is queued.

One table says it of every kind of difference. Nothing here reads or writes anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from canonical.money import Money
from canonical.reconciliation import Candidate, FindingClass, FindingCode, FoundRow, Healing
from policies.reconciling_schema import Reconciling

ORPHAN, MISMATCH = FindingClass.ORPHAN, FindingClass.MISMATCH
OURS: Final = "dealthread"


@dataclass(frozen=True)
class Difference:
    """One kind of difference."""

    class_: FindingClass
    says: str
    """What it means; fields: `id`, `system`, `amount`, `theirs`, `ours`, `other`, `project`."""
    remedy: str
    """What a person does about it."""
    healing: Healing = Healing.NONE


_TELL_REMEDY: Final = (
    "Tell it by hand with `starter.py approve-time {project} --week DAY`, and look why with "
    "`starter.py why {entry}`."
)
DIFFERENCES: Final[Mapping[FindingCode, Difference]] = {
    FindingCode.NEVER_TOLD: Difference(
        ORPHAN,
        "{id} is approved in {system}, and no message about it ever arrived: it is not billed.",
        _TELL_REMEDY,
        Healing.TELL,
    ),
    FindingCode.ENTRY_GONE: Difference(
        ORPHAN,
        "{id} counts as approved here ({ours}), and {system} has no such approved entry any more.",
        _TELL_REMEDY,
        Healing.TELL,
    ),
    FindingCode.ENTRY_CHANGED: Difference(
        MISMATCH,
        "{id} was changed in {system}, and no message about it arrived: there {theirs}, here "
        "{ours}.",
        _TELL_REMEDY,
        Healing.TELL,
    ),
    FindingCode.BILLED_OUTSIDE: Difference(
        MISMATCH,
        "Work of ours is billed in {system} on {type} {id} ({amount}), which Dealthread did not "
        "make: the client may pay for it twice.",
        "Void or delete it in {system}, and switch native billing off for project {project}; or "
        "write the work off here.",
    ),
    FindingCode.CHARGE_DELETED: Difference(
        ORPHAN,
        "A charge of {amount} was posted to {system} ({ours}), and is not there any more: "
        "somebody deleted it, and it will not be invoiced.",
        "Enter it again in {system} under its external id {id}, or write it off on its draft.",
    ),
    FindingCode.UNKNOWN_CHARGE: Difference(
        ORPHAN,
        "Charge {id} ({amount}) in {system} carries an id of Dealthread's, and no billing run "
        "stands for it.",
        "Delete it in {system} before it is invoiced.",
    ),
    FindingCode.CHARGE_UNBILLED: Difference(
        MISMATCH,
        "Charge {id} ({amount}) is billed by {other}, and {system} has it as not billed: {theirs}. "
        "It would be billed once more.",
        "Put it on that invoice again in {system}, or make it non-billable there.",
    ),
    FindingCode.CHARGES_FREED: Difference(
        MISMATCH,
        "{amount} of charges in {system} wait to be billed again: {other}, which bills them, is "
        "not there any more as {type} {id}.",
        "Make them non-billable in {system}; then say what became of the invoice with "
        "`starter.py invoice explain`.",
    ),
    FindingCode.COST_DELETED: Difference(
        ORPHAN,
        "Project cost of {amount} was posted to {system} ({ours}), and is not there any more.",
        "Enter it again in {system} under its external id {id}.",
    ),
    FindingCode.UNKNOWN_COST: Difference(
        ORPHAN,
        "Cost {id} ({amount}) in {system} carries an id of Dealthread's, and no billing run "
        "stands for it.",
        "Delete or reverse it in {system}.",
    ),
    FindingCode.AMOUNT_DIFFERS: Difference(
        MISMATCH,
        "The amount of {type} {id} differs: {theirs} in {system}, {ours} here.",
        "Correct it in {system}; if it is right there, credit or bill the difference.",
    ),
    FindingCode.INVOICE_GONE: Difference(
        ORPHAN,
        "Invoice {ours} ({amount}) is not in {system} any more, where it was issued.",
        "Find out who deleted it; a posted invoice is credited or voided, never deleted.",
        Healing.LOOK,
    ),
    FindingCode.UNKNOWN_INVOICE: Difference(
        ORPHAN,
        "Invoice {id} ({amount}) in {system} carries an id of Dealthread's, and no draft became "
        "it.",
        "See what became of its posting (`starter.py stuck`); void it if its draft was returned.",
    ),
    FindingCode.STATUS_DIFFERS: Difference(
        MISMATCH,
        "Invoice {id} stands otherwise: {theirs} in {system}, {ours} here.",
        "Look at it with `starter.py invoice show {system}/{id}`.",
        Healing.LOOK,
    ),
    FindingCode.BALANCE_DIFFERS: Difference(
        MISMATCH,
        "What is left of invoice {id} differs: {theirs} in {system}, {ours} here.",
        "Look at it with `starter.py invoice show {system}/{id}`.",
        Healing.LOOK,
    ),
    FindingCode.MIRROR_GONE: Difference(
        ORPHAN,
        "{system} has no invoice {id} any more, which mirrored {other} ({amount}).",
        "Confirm the invoice in {system} by hand, so that its entries count as billed there.",
    ),
    FindingCode.MIRROR_DIFFERS: Difference(
        MISMATCH,
        "The mirror {id} of {other} stands otherwise: {theirs} in {system}, {ours} here.",
        "Correct the mirror in {system}, or what was paid in the system that issued it.",
        Healing.LOOK,
    ),
    FindingCode.NATIVE_CREDIT: Difference(
        ORPHAN,
        "Credit {id} ({amount}) was made in {system}, and nobody said what it is for.",
        "Say so with `starter.py invoice explain`.",
    ),
    FindingCode.CREDIT_GONE: Difference(
        ORPHAN,
        "Credit note {id} ({amount}) is not in {system} any more, where it was issued.",
        "Find out who deleted it; the client was told of it.",
    ),
    FindingCode.UNAPPLIED_PAYMENT: Difference(
        MISMATCH,
        "Payment {id} in {system}: {amount} of it belongs to no invoice.",
        "Apply it to its invoices in {system}.",
    ),
    FindingCode.CLIENT_MISSING: Difference(
        ORPHAN,
        "Client {id} is not in {system} any more, or not open to this legal entity.",
        "Restore it in {system}, or import the contract anew with the client that took its place.",
    ),
    FindingCode.CLIENT_MERGED: Difference(
        MISMATCH,
        "Client {id} was merged into {other} in {system}: what is billed names a client that is "
        "no more.",
        "Import the contracts anew with the client that is left (`starter.py engagement import`).",
    ),
    FindingCode.CLIENT_INACTIVE: Difference(
        MISMATCH,
        "Client {id} is inactive in {system}, and contracts of ours bill it.",
        "Activate it in {system}, or end its contracts.",
    ),
    FindingCode.PROJECT_MISSING: Difference(
        ORPHAN,
        "Project {id} is not in {system} any more; project {project} needs it.",
        "Restore it in {system}, or import the contract anew.",
    ),
    FindingCode.DUPLICATE_PROJECT: Difference(
        FindingClass.DUPLICATE,
        "{system} has a second project for the same work: {id}, beside {other}.",
        "Close the one that Dealthread does not use, {id}, once nothing is booked on it.",
    ),
    FindingCode.LINK_MISSING: Difference(
        MISMATCH,
        "The {type} {id} in {system} does not name {other}, which was noted on it once.",
        "Note it there again: people and reports find the other side by it.",
    ),
    FindingCode.LINK_DIFFERS: Difference(
        MISMATCH,
        "The {type} {id} in {system} names {theirs}; what was made for it is {ours}.",
        "Correct it in {system}: people and reports find the other side by it.",
    ),
    FindingCode.DISPOSITIONS_DIFFER: Difference(
        MISMATCH,
        "What became of {id} does not sum to what it was rated: {theirs}.",
        "Nothing may change it: ask whoever has access to the database, and see the audit trail.",
    ),
    FindingCode.PART_ASTRAY: Difference(
        MISMATCH,
        "{id} does not stand where its draft stands: {theirs}.",
        "Nothing may change it: ask whoever has access to the database, and see the audit trail.",
    ),
    FindingCode.LINE_DIFFERS: Difference(
        MISMATCH,
        "Line {id} is not the sum of what it bills: {theirs}.",
        "Nothing may change it: ask whoever has access to the database, and see the audit trail.",
    ),
    FindingCode.CAP_MISCOUNTED: Difference(
        MISMATCH,
        "Cap {id} counts otherwise than what was taken of it: {theirs}.",
        "Nothing may change it: ask whoever has access to the database, and see the audit trail.",
    ),
    FindingCode.PO_MISCOUNTED: Difference(
        MISMATCH,
        "Client PO {id} counts otherwise than its drafts and invoices: {theirs}.",
        "Nothing may change it: ask whoever has access to the database, and see the audit trail.",
    ),
    FindingCode.WIP_DIFFERS: Difference(
        MISMATCH,
        "Unbilled work of {id} is not what its moves come to: {theirs}.",
        "Nothing may change it: ask whoever has access to the database, and see the audit trail.",
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What becomes of a difference."""

    class_: FindingClass
    explanation: str
    remedy: str
    healing: Healing
    queue: bool


def judge(
    candidate: Candidate,
    rules: Reconciling,
    now: datetime,
    *,
    tolerance_seconds: float | None = None,
    heal: bool = False,
) -> Verdict:
    """Return what a difference is and what becomes of it.

    Args:
        candidate: as the comparison came to it.
        rules: of the policy bundle.
        now: when the run began.
        tolerance_seconds: in place of every tolerance of the rules.
        heal: whether this run mends; what it mends is queued only if it is found again.
    """
    kind = DIFFERENCES[candidate.code]
    words = _words(candidate)
    healing = _healing(candidate, kind)
    gap = _gap(candidate, rules, now, tolerance_seconds)
    says = kind.says.format_map(words)
    mended = heal and healing is not Healing.NONE and candidate.code in rules.heal
    return Verdict(
        class_=FindingClass.TIMING_GAP if gap else kind.class_,
        explanation=f"{says} {gap}".strip(),
        remedy=kind.remedy.format_map(words),
        healing=healing,
        queue=not gap and not mended and not candidate.waits,
    )


def period_days(period: str) -> tuple[date, date]:
    """Return the first and the last day of a billing period `YYYY-MM`.

    Raises:
        ValueError: it is no month.
    """
    year, _, month = period.partition("-")
    first = date(int(year), int(month), 1)
    after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return first, after - timedelta(days=1)


def periods_back(period: str, months: int) -> tuple[str, ...]:
    """Return a billing period and so many before it, the latest first."""
    found = [period]
    for _ in range(months):
        before = period_days(found[-1])[0] - timedelta(days=1)
        found.append(f"{before.year:04d}-{before.month:02d}")
    return tuple(found)


def _gap(
    candidate: Candidate, rules: Reconciling, now: datetime, tolerance_seconds: float | None
) -> str:
    """Return why a difference is one of timing alone; empty: it is none."""
    if candidate.under_way:
        return f"It may settle by itself: {candidate.under_way}."
    allowed = tolerance_seconds
    if allowed is None:
        allowed = rules.tolerances.get(candidate.code, rules.tolerance_seconds)
    if candidate.changed_at is None or candidate.changed_at <= now - timedelta(seconds=allowed):
        return ""
    return "It changed just now, and may settle by itself."


def _healing(candidate: Candidate, kind: Difference) -> Healing:
    """Return how a difference mends; a look needs an invoice that is followed here."""
    if kind.healing is Healing.LOOK and not _followed(candidate):
        return Healing.NONE
    return kind.healing


def _followed(candidate: Candidate) -> bool:
    rows = [row for row in candidate.rows if row.system != candidate.connection]
    return any(row.type == "invoice" for row in rows)


def _words(candidate: Candidate) -> dict[str, str]:
    theirs = [row for row in candidate.rows if row.system == candidate.connection]
    ours = [row for row in candidate.rows if row.system != candidate.connection]
    other = ours[:1] or [row for row in theirs if row.id != candidate.record_id]
    if candidate.code in {FindingCode.CLIENT_MERGED, FindingCode.DUPLICATE_PROJECT}:
        other = [row for row in theirs if row.id != candidate.record_id]
    return {
        "id": candidate.record_id,
        "entry": candidate.record_id.replace("/", ":"),
        "type": candidate.record_type,
        "system": candidate.connection,
        "project": candidate.project_id or "?",
        "amount": _money(candidate.amount, candidate.currency),
        "theirs": _list(theirs),
        "ours": _list(ours),
        "other": " ".join(f"{row.type} {row.id}" for row in other[:1]) or "the other side",
    }


def _list(rows: list[FoundRow]) -> str:
    """Return what rows say of themselves, without their names."""
    said = [
        ", ".join(each for each in (row.state, _money(row.amount, row.currency), row.note) if each)
        for row in rows
    ]
    return "; ".join(each for each in said if each) or "nothing"


def _money(amount: Decimal | None, currency: str) -> str:
    if amount is None:
        return ""
    try:
        return str(Money(amount=amount, currency=currency))
    except ValueError:
        return f"{amount:f} {currency}".strip()
