"""Salesforce JSON to canonical deals and back; pure, judging nothing.

Sources: vendor page section 9 (objects of the deal) and 5 (types on the wire). The names of custom
fields are configuration.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, TypeAlias

from adapters.errors import ContractBroken
from adapters.salesforce.config import BillingHolds, SalesforceConfig
from canonical.deal import Address, Deal, DealClient, DealLine, DealLinks, DealMilestone

Row: TypeAlias = Mapping[str, object]

ID_PATTERN: Final = r"^[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?$"
"""15 case-sensitive characters, or 18 with their checksum (section 5)."""
CHECK_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
TEXT_MAX: Final = 255
"""Length of the text fields that the integration owns (docs/connect/salesforce.md)."""

_ACCOUNT_STANDARD: Final = (
    "Id",
    "Name",
    "ParentId",
    "BillingStreet",
    "BillingCity",
    "BillingPostalCode",
    "BillingState",
    "BillingStateCode",
    "BillingCountryCode",
)


def full_id(id_: str) -> str:
    """Return the 18-character form of an id; 15 and 18 characters name the same record.

    Each five of the 15 become a character that says which of them are upper case (section 5).
    Anything else is returned as it is.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{15}", id_):
        return id_
    checks = (
        sum(1 << place for place, char in enumerate(id_[start : start + 5]) if char.isupper())
        for start in (0, 5, 10)
    )
    return id_ + "".join(CHECK_CHARACTERS[check] for check in checks)


def deal_query(deal_id: str, config: SalesforceConfig) -> str:
    """Return the SOQL that reads an opportunity with its account and lines in one call."""
    opportunity = ["Id", "Name", "StageName", "IsWon", "Amount", "CurrencyIsoCode"]
    opportunity += ["SystemModstamp", *config.opportunity.model_dump().values()]
    account = [*_ACCOUNT_STANDARD, *config.account.model_dump().values()]
    line = ["Id", "Name", "Description", "ProductCode", "Quantity", "UnitPrice", "TotalPrice"]
    line += ["HasRevenueSchedule", *config.line.model_dump().values()]
    columns = [*opportunity, *(f"Account.{name}" for name in account)]
    # The id was checked against ID_PATTERN, the names against the configuration's pattern.
    return (
        f"SELECT {', '.join(columns)}, (SELECT {', '.join(line)} FROM OpportunityLineItems "
        f"ORDER BY SortOrder, Id) FROM Opportunity WHERE Id = '{deal_id}'"
    )


def milestones_query(deal_id: str) -> str:
    """Return the SOQL that reads the revenue schedule: the milestones of the deal's lines."""
    return (
        "SELECT Id, OpportunityLineItemId, ScheduleDate, Revenue, Description "
        "FROM OpportunityLineItemSchedule "
        f"WHERE OpportunityLineItem.OpportunityId = '{deal_id}' AND Type = 'Revenue' "
        "ORDER BY ScheduleDate, Id"
    )


def cases_query(client_id: str, holds: BillingHolds) -> str:
    """Return the SOQL for an account's open cases that hold billing; empty where none can."""
    wanted = [
        f"{column} IN ({', '.join(map(_quoted, values))})"
        for column, values in (("Type", holds.case_types), ("Reason", holds.case_reasons))
        if values
    ]
    if not wanted:
        return ""
    # The id was checked against ID_PATTERN.
    return (
        "SELECT Id, CaseNumber, Subject, Type, Reason, CreatedDate FROM Case "
        f"WHERE AccountId = '{client_id}' AND IsClosed = false AND ({' OR '.join(wanted)}) "
        "ORDER BY CreatedDate, Id"
    )


def account_query(client_id: str, holds: BillingHolds) -> str:
    """Return the SOQL for the account's checkbox; empty where there is none."""
    if not holds.account_field:
        return ""
    return f"SELECT Id, {holds.account_field} FROM Account WHERE Id = '{client_id}'"


def has_milestones(lines: Sequence[Row]) -> bool:
    """Return whether any line has a revenue schedule, so that it is worth asking for."""
    return any(line.get("HasRevenueSchedule") is True for line in lines)


def deal_from(
    row: Row,
    lines: Sequence[Row],
    milestones: Sequence[Row],
    config: SalesforceConfig,
    connection: str,
) -> Deal:
    """Return the opportunity as a deal, exactly as read.

    Raises:
        ContractBroken: a date or number is not what the field's type promises.
    """
    own = config.opportunity
    account = row.get("Account")
    return Deal(
        crm=connection,
        id=_text(row, "Id"),
        version=_text(row, "SystemModstamp"),
        name=_text(row, "Name"),
        kind=_snake(_text(row, own.kind)),
        stage=_text(row, "StageName"),
        won=row.get("IsWon") is True,
        signed_on=_date(row, own.signed_on),
        signature_waiver_until=_date(row, own.signature_waiver_until),
        currency=_text(row, "CurrencyIsoCode"),
        amount=amount_in(row, "Amount"),
        contract_amount=amount_in(row, own.contract_amount),
        start=_date(row, own.start),
        end=_date(row, own.end),
        payment_terms=_text(row, own.payment_terms),
        client_po=_text(row, own.client_po),
        legal_entity=_text(row, own.legal_entity),
        template=_text(row, own.template),
        project_manager_email=_text(row, own.project_manager_email),
        client=_client(account, config) if isinstance(account, Mapping) else None,
        lines=tuple(_line(line, milestones, config) for line in lines),
    )


def links_from(row: Row, config: SalesforceConfig) -> DealLinks:
    """Return the fields that Dealthread owns; an empty one is an empty string."""
    own = config.opportunity
    return DealLinks(**{name: _text(row, getattr(own, name)) for name in DealLinks.model_fields})


def links_to(links: DealLinks, config: SalesforceConfig) -> dict[str, str | None]:
    """Return the PATCH body for the fields that are not None; an empty string clears (null)."""
    own = config.opportunity
    given = links.model_dump(exclude_none=True)
    return {getattr(own, name): value or None for name, value in given.items()}


def _client(row: Row, config: SalesforceConfig) -> DealClient:
    return DealClient(
        id=_text(row, "Id"),
        name=_text(row, "Name"),
        tax_id=_text(row, config.account.tax_id),
        billing_email=_text(row, config.account.billing_email),
        parent_id=_text(row, "ParentId"),
        address=Address(
            street=_text(row, "BillingStreet"),
            city=_text(row, "BillingCity"),
            postal_code=_text(row, "BillingPostalCode"),
            region=_text(row, "BillingStateCode") or _text(row, "BillingState"),
            country=_text(row, "BillingCountryCode"),
        ),
    )


def _line(row: Row, milestones: Sequence[Row], config: SalesforceConfig) -> DealLine:
    id_ = _text(row, "Id")
    return DealLine(
        id=id_,
        title=_text(row, "Description") or _text(row, "Name"),
        offering=_text(row, "ProductCode"),
        type=_snake(_text(row, config.line.type)),
        legal_entity=_text(row, config.line.legal_entity),
        tax_category=_text(row, config.line.tax_category),
        quantity=amount_in(row, "Quantity"),
        unit_price=amount_in(row, "UnitPrice"),
        amount=amount_in(row, "TotalPrice"),
        cap=amount_in(row, config.line.cap),
        milestones=tuple(
            _milestone(each) for each in milestones if each.get("OpportunityLineItemId") == id_
        ),
    )


def _milestone(row: Row) -> DealMilestone:
    return DealMilestone(
        id=_text(row, "Id"),
        title=_text(row, "Description"),
        due=_date(row, "ScheduleDate"),
        amount=amount_in(row, "Revenue"),
    )


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _snake(label: str) -> str:
    return "_".join(label.lower().split())


def _date(row: Row, name: str) -> date | None:
    value = _text(row, name)
    try:
        return date.fromisoformat(value) if value else None
    except ValueError as error:
        raise ContractBroken(f"{name} is no date: {value[:40]!r}.") from error


def amount_in(row: Row, name: str) -> Decimal | None:
    """Return a number exactly, None where there is none; answers are parsed with Decimal.

    Raises:
        ContractBroken: it is none.
    """
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ContractBroken(f"{name} is no number: {str(value)[:40]!r}.")
    return Decimal(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
