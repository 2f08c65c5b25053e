"""What a person may correct here, and what has to be corrected where it is owned (G1)."""

import unicodedata
from typing import Final

from canonical.deal import Deal
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import VENDOR_ID_PATTERN
from canonical.saga import Verb

DEAL_FIELDS: Final = {
    "template": "template",
    "project_manager_email": "project_manager_email",
    "legal_entity": "legal_entity",
    "project_name": "name",
}
"""What is laid over a field of the deal; the deal's own name stays as it is in the CRM."""
LINE_FIELDS: Final = ("legal_entity", "tax_category")
PLAN_FIELDS: Final = ("department", "business_class", "location", "rate_card")
"""Ids in PSA and ERP that stand in for those of the bundle."""
CORRECTABLE: Final = frozenset((*DEAL_FIELDS, *LINE_FIELDS, *PLAN_FIELDS))
"""What Dealthread may decide by itself: how a deal maps to PSA and ERP."""

SENSITIVE_FIELDS: Final = frozenset({"legal_entity", "tax_category", "rate_card"})
"""Entity, tax and money (rates): finance and a second person (DESIGN 3.6)."""

OWNERS: Final = dict.fromkeys(
    (
        "name",
        "kind",
        "stage",
        "won",
        "signed_on",
        "signature_waiver_until",
        "currency",
        "amount",
        "contract_amount",
        "start",
        "end",
        "payment_terms",
        "client_po",
        "client",
        "tax_id",
        "billing_email",
        "lines",
        "milestones",
    ),
    "the CRM",
)
SECOND_PERSON_VERBS: Final = {
    Verb.ADOPT,
    Verb.SKIP,
    Verb.FINISH_FORWARD,
    Verb.ACCEPT_RESIDUE,
}
"""On financial records these need the finance role and a second person."""
VALUE_LENGTH_MAX: Final = 255


def check_corrections(corrections: dict[str, str]) -> None:
    """Refuse corrections of what is owned elsewhere or does not exist.

    Raises:
        StepFailed: naming the field and where to correct it.
    """
    for field, value in corrections.items():
        if field in OWNERS:
            raise _refused(
                field,
                f"{field} is owned by {OWNERS[field]}: correct it there, then retry",
                OWNERS[field],
            )
        if field not in CORRECTABLE:
            known = ", ".join(sorted(CORRECTABLE))
            raise _refused(field, f"{field[:60]!r} cannot be corrected; what can: {known}", "")
        if not value.strip() or len(value) > VALUE_LENGTH_MAX:
            raise _refused(
                field, f"{field} needs a value of 1 to {VALUE_LENGTH_MAX} characters", ""
            )
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise _refused(field, f"{field} cannot have control characters", "")
        if field in PLAN_FIELDS and not VENDOR_ID_PATTERN.fullmatch(value):
            raise _refused(field, f"{field} is an id: letters, digits, `_`, `.`, `-`", "")


def apply_corrections(deal: Deal, corrections: dict[str, str]) -> Deal:
    """Return the deal with the corrections laid over what the CRM said.

    Raises:
        StepFailed: one value was given for lines that differ on purpose.
    """
    changes: dict[str, object] = {
        DEAL_FIELDS[name]: value for name, value in corrections.items() if name in DEAL_FIELDS
    }
    lines = {name: value for name, value in corrections.items() if name in LINE_FIELDS}
    _refuse_levelling(deal, corrections)
    if lines:
        changes["lines"] = tuple(line.model_copy(update=lines) for line in deal.lines)
    return deal.model_copy(update=changes)


def _refuse_levelling(deal: Deal, corrections: dict[str, str]) -> None:
    """A correction replaces what is missing or unknown, never what tells lines apart."""
    entities = {line.legal_entity or deal.legal_entity for line in deal.lines} - {""}
    categories = {line.tax_category for line in deal.lines} - {""}
    for field, values in (
        ("legal_entity", entities),
        ("location", entities),
        ("tax_category", categories),
    ):
        if field in corrections and len(values) > 1:
            kind = "tax categories" if values is categories else "legal entities"
            text = f"{field} differs by line, which name {len(values)} {kind}"
            raise _refused(field, f"{text}: correct it in the CRM, then retry", deal.crm)


def needs_second_person(verb: Verb, corrections: dict[str, str], step_financial: bool) -> bool:
    """Return whether a decision waits for a second person (DESIGN 3.6)."""
    if SENSITIVE_FIELDS & corrections.keys():
        return True
    return step_financial and verb in SECOND_PERSON_VERBS


def _refused(field: str, message: str, owner: str) -> StepFailed:
    return StepFailed(
        FailureDetail(
            kind=FailureKind.REJECTED,
            reason="correction_refused",
            message=message + ".",
            field=field[:60],
            owner=owner,
        )
    )
