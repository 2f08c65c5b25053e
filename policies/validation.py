"""Is a deal ready to be provisioned? Every problem, each naming its field as a person knows it."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from stdnum import get_cc_module

from canonical.deal import ContractLineType, Deal, DealKind, DealLine
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import VENDOR_ID_PATTERN
from canonical.money import AMOUNT_MAX, minor_digits
from policies.bundle import Bundle
from policies.schema_types import is_country

TEXT_LENGTH_MAX = 255
"""The longest text that CRM, PSA and ERP all keep whole (Salesforce text fields, the shortest)."""
MESSAGE_PROBLEMS_MAX = 12
BUNDLE_OWNER = "policy bundle"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a deal."""

    reason: str
    field: str
    text: str
    owner: str = ""


def check_ready(deal: Deal, bundle: Bundle, today: date) -> None:
    """Refuse a deal that is not ready, with all that is wrong with it.

    Raises:
        StepFailed: rejected; the field is that of the first problem.
    """
    problems = [*_state(deal)] or [
        *_ids(deal),
        *_signature(deal, today),
        *_terms(deal, bundle, today),
        *_client(deal),
        *_lines(deal, bundle),
    ]
    if problems:
        raise refusal(problems, deal.crm)


def refusal(problems: list[Problem], crm: str) -> StepFailed:
    """Return problems as one failure that names the first one's field and owner."""
    first = problems[0]
    texts = [problem.text for problem in problems[:MESSAGE_PROBLEMS_MAX]]
    if len(problems) > MESSAGE_PROBLEMS_MAX:
        texts.append(f"and {len(problems) - MESSAGE_PROBLEMS_MAX} more")
    return StepFailed(
        FailureDetail(
            kind=FailureKind.REJECTED,
            reason=first.reason,
            message="; ".join(texts)[:2000] + ".",
            system=crm,
            field=first.field,
            owner=first.owner or crm,
        )
    )


def _state(deal: Deal) -> Iterator[Problem]:
    """What makes looking at the rest pointless."""
    if not deal.won:
        yield Problem("not_won", "stage", f"the opportunity is not won (stage {deal.stage[:40]!r})")
    elif deal.kind in {DealKind.CHANGE_ORDER, DealKind.RENEWAL}:
        words = deal.kind.replace("_", " ")
        yield Problem(
            "amendment", "kind", f"it is a {words}: it amends its engagement, no second project"
        )
    elif deal.kind != DealKind.NEW:
        yield Problem(
            "incomplete",
            "kind",
            f"the kind {deal.kind[:40]!r} is none of new, change order, renewal",
        )


def _ids(deal: Deal) -> Iterator[Problem]:
    if not VENDOR_ID_PATTERN.fullmatch(deal.id):
        yield Problem("invalid", "id", "the opportunity has no usable id")
    ids = [line.id for line in deal.lines]
    ids += [milestone.id for line in deal.lines for milestone in line.milestones]
    for id_ in sorted({each for each in ids if ids.count(each) > 1}):
        yield Problem("invalid", "line id", f"the id {id_[:40]!r} stands for several lines")


def _signature(deal: Deal, today: date) -> Iterator[Problem]:
    waiver = deal.signature_waiver_until
    if deal.signed_on is not None:
        return
    if waiver is None:
        yield Problem("not_signed", "signed_on", "the contract is not signed and not waived")
    elif waiver < today:
        text = f"the signature waiver ran out on {waiver}"
        yield Problem("not_signed", "signature_waiver_until", text)


def _terms(deal: Deal, bundle: Bundle, today: date) -> Iterator[Problem]:
    yield from _name(deal.name, "name", "the opportunity")
    if today < bundle.effective:
        text = f"the policies decide from {bundle.effective} on"
        yield Problem("missing_mapping", "effective", text, BUNDLE_OWNER)
    if minor_digits(deal.currency) is None:
        yield Problem(
            "unknown_currency", "currency", f"there is no currency {deal.currency[:10]!r}"
        )
    if deal.start is None:
        yield Problem("incomplete", "start", "the contract's start is missing")
    elif deal.end is not None and deal.end < deal.start:
        yield Problem(
            "invalid", "end", f"the contract ends {deal.end} before it starts {deal.start}"
        )
    if not deal.payment_terms.strip():
        yield Problem("incomplete", "payment_terms", "the payment terms are missing")
    yield from _text(deal.payment_terms, "payment_terms")
    yield from _text(deal.project_manager_email, "project_manager_email")
    yield from _template(deal, bundle)


def _template(deal: Deal, bundle: Bundle) -> Iterator[Problem]:
    if not deal.template:
        yield Problem("incomplete", "template", "the delivery template is missing")
    elif deal.template not in bundle.policies.templates:
        known = ", ".join(sorted(bundle.policies.templates))
        yield Problem(
            "missing_mapping",
            "template",
            f"the delivery template {deal.template[:40]!r} has no mapping; known: {known}",
            BUNDLE_OWNER,
        )


def _name(name: str, field: str, what: str) -> Iterator[Problem]:
    if not name.strip():
        yield Problem("incomplete", field, f"{what} has no name")
    yield from _text(name, field, f"the name of {what}")


def _text(value: str, field: str, what: str = "") -> Iterator[Problem]:
    """Emoji and right-to-left text go through; what no system keeps as it is does not."""
    what = what or field
    if len(value) > TEXT_LENGTH_MAX:
        text = f"{what} has {len(value)} characters, at most {TEXT_LENGTH_MAX} go through"
        yield Problem("invalid", field, text)
    elif has_control_characters(value):
        yield Problem("invalid", field, f"{what} has control characters")


def has_control_characters(text: str) -> bool:
    """Return whether a text has line breaks, NUL or other characters of category Cc."""
    return any(unicodedata.category(char) == "Cc" for char in text)


def _client(deal: Deal) -> Iterator[Problem]:
    client = deal.client
    if client is None:
        yield Problem("incomplete", "client", "there is no account")
        return
    yield from _name(client.name, "client name", "the account")
    if not VENDOR_ID_PATTERN.fullmatch(client.id):
        yield Problem("invalid", "client id", "the account has no usable id")
    address = client.address
    yield from _text(client.tax_id, "tax_id", "the client's tax id")
    yield from _text(client.billing_email, "billing_email")
    # A street may have several lines, so only its length counts.
    yield from _text(" ".join(address.street.split()), "billing street")
    for value, field in (
        (address.city, "billing city"),
        (address.postal_code, "billing postal code"),
        (address.region, "billing region"),
    ):
        yield from _text(value, field)
    if address.country and not is_country(address.country):
        text = f"{address.country[:40]!r} is no ISO 3166-1 alpha-2 country"
        yield Problem("invalid", "billing country", text)


def _lines(deal: Deal, bundle: Bundle) -> Iterator[Problem]:
    if not deal.lines:
        yield Problem("incomplete", "lines", "there are no contract lines")
    for number, line in enumerate(deal.lines, 1):
        yield from _line(deal, line, f"line {number}", bundle)
    yield from _totals(deal)


def _line(deal: Deal, line: DealLine, which: str, bundle: Bundle) -> Iterator[Problem]:
    policies = bundle.policies
    if not VENDOR_ID_PATTERN.fullmatch(line.id):
        yield Problem("invalid", f"{which} id", f"{which} has no usable id")
    yield from _amount(line.amount, f"{which} amount", deal.currency)
    if line.cap is not None:
        yield from _amount(line.cap, f"{which} cap", deal.currency)
    types = {type_.value for type_ in ContractLineType}
    if line.type not in types:
        known = ", ".join(sorted(types))
        text = f"{which}: {line.type[:40]!r} is no contract line type; known: {known}"
        yield Problem("missing_mapping" if line.type else "incomplete", f"{which} type", text)
    else:
        rules = policies.contract_types.types[ContractLineType(line.type)]
        if rules.end_required and deal.end is None:
            yield Problem(
                "incomplete", "end", f"{which} is {line.type}: it needs the contract's end"
            )
        yield from _milestones(line, which, deal.currency, allowed=rules.milestones_allowed)
    yield from _entity(deal, line, which, bundle)


def _entity(deal: Deal, line: DealLine, which: str, bundle: Bundle) -> Iterator[Problem]:
    policies, code = bundle.policies, line.legal_entity or deal.legal_entity
    if not code:
        yield Problem("incomplete", "legal_entity", f"{which} names no legal entity")
        return
    if code not in policies.legal_entities:
        known = ", ".join(sorted(policies.legal_entities))
        text = f"{which}: the legal entity {code[:40]!r} has no mapping; known: {known}"
        yield Problem("missing_mapping", "legal_entity", text, BUNDLE_OWNER)
        return
    entity = policies.legal_entities[code]
    if minor_digits(deal.currency) is not None and deal.currency not in entity.sells_in:
        text = f"{which}: {code} does not sell in {deal.currency}"
        yield Problem("missing_mapping", "currency", text, BUNDLE_OWNER)
    categories = policies.tax[code].categories
    if line.tax_category not in categories:
        text = (
            f"{which}: the tax category {line.tax_category[:40]!r} is none of {code}'s: "
            f"{', '.join(categories)}"
        )
        if line.tax_category:
            yield Problem("missing_mapping", "tax_category", text, BUNDLE_OWNER)
        else:
            yield Problem("incomplete", "tax_category", text)


def _milestones(line: DealLine, which: str, currency: str, *, allowed: bool) -> Iterator[Problem]:
    if not line.milestones:
        return
    if not allowed:
        yield Problem("invalid", f"{which} milestones", f"{which}: {line.type} takes no milestones")
    total = Decimal(0)
    for number, milestone in enumerate(line.milestones, 1):
        field = f"{which} milestone {number}"
        if not VENDOR_ID_PATTERN.fullmatch(milestone.id):
            yield Problem("invalid", field, f"{field} has no usable id")
        yield from _amount(milestone.amount, field, currency)
        total += _number(milestone.amount)
    if _is_number(line.amount) and total != line.amount:
        text = f"{which}: its milestones add up to {total}, the line is {line.amount}"
        yield Problem("amount_mismatch", f"{which} milestones", text)


def _amount(amount: Decimal | None, field: str, currency: str) -> Iterator[Problem]:
    if amount is None:
        yield Problem("incomplete", field, f"{field} is missing")
    elif not _is_number(amount):
        yield Problem("invalid", field, f"{field} is out of range")
    elif amount <= 0:
        yield Problem("invalid", field, f"{field} is {amount}, it must be more than zero")
    else:
        digits = minor_digits(currency)
        if digits is not None and amount != amount.quantize(Decimal(1).scaleb(-digits)):
            text = f"{field} is {amount}: {currency} has {digits} decimals"
            yield Problem("invalid", field, text)


def _is_number(amount: Decimal | None) -> bool:
    return amount is not None and amount.is_finite() and abs(amount) <= AMOUNT_MAX


def _number(amount: Decimal | None) -> Decimal:
    return amount if amount is not None and _is_number(amount) else Decimal(0)


def _totals(deal: Deal) -> Iterator[Problem]:
    """The quote (the lines), the opportunity and the contract say the same amount."""
    amounts = [line.amount for line in deal.lines]
    if not all(_is_number(amount) for amount in amounts):
        return
    total = sum((amount for amount in amounts if amount is not None), Decimal(0))
    if total > AMOUNT_MAX:
        yield Problem("invalid", "amount", f"the lines add up to {total}: out of range")
    for value, field, what in (
        (deal.amount, "amount", "the opportunity's amount"),
        (deal.contract_amount, "contract_amount", "the contract's amount"),
    ):
        if value is None:
            yield Problem("incomplete", field, f"{what} is missing")
        elif value != total:
            yield Problem(
                "amount_mismatch", field, f"{what} is {value}, the lines add up to {total}"
            )


def plausible_tax_id(tax_id: str, country: str) -> bool:
    """Return whether a tax id can be one of its country; countries without a rule pass.

    The checks are python-stdnum's: VAT number, else the US EIN or a Swiss UID. A Japanese invoice
    registration number is a corporate number after a `T`.
    """
    compact = re.sub(r"[^A-Za-z0-9]", "", tax_id)
    if country == "JP":
        compact = compact.removeprefix("T")
    for scheme in ("vat", "ein" if country == "US" else "uid"):
        module = get_cc_module(country.lower(), scheme) if country else None
        if module is not None:
            return bool(module.is_valid(compact) or module.is_valid(tax_id))
    return bool(compact)
