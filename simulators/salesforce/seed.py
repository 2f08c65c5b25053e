"""Scenarios: the organisation itself, its master data, and deals which were entered before.

Rows are put in directly, so that data may stand there which the API would refuse today.
"""

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from simulators.kit import Account
from simulators.salesforce.context import wire_datetime
from simulators.salesforce.ids import numbered_id, organization_id
from simulators.salesforce.objects import COUNTRIES, CURRENCIES
from simulators.salesforce.seed_deals import (
    STANDARD_DEALS,
    SeedClient,
    SeedDeal,
    SeedLine,
    bulk_deals,
    milestone_rows,
)

SCENARIOS = ("standard", "bulk", "empty")

Body = dict[str, JsonValue]
_ID_SERIES = {"standard": "DT", "bulk": "DB"}
_STAGES: tuple[tuple[str, int, str], ...] = (
    ("Prospecting", 10, "Pipeline"),
    ("Qualification", 10, "Pipeline"),
    ("Needs Analysis", 20, "Pipeline"),
    ("Value Proposition", 50, "Pipeline"),
    ("Id. Decision Makers", 60, "Pipeline"),
    ("Perception Analysis", 70, "Pipeline"),
    ("Proposal/Price Quote", 75, "Pipeline"),
    ("Negotiation/Review", 90, "Pipeline"),
    ("Closed Won", 100, "Closed"),
    ("Closed Lost", 0, "Omitted"),
)
_PRODUCTS: tuple[tuple[str, str, str, bool], ...] = (
    ("CONS-TM", "Consulting, time and materials", "Consulting", False),
    ("IMPL-FF", "Implementation, fixed fee", "Implementation", True),
    ("ADV-RET", "Advisory retainer", "Advisory", False),
    ("MSP-MON", "Managed service, monthly", "Managed Services", False),
    ("OUT-FEE", "Outcome fee", "Implementation", True),
)
_PRODUCT_NUMBERS = {code: n for n, (code, *_) in enumerate(_PRODUCTS, start=1)}
_PRICE_BOOK = numbered_id("Pricebook2", 1, "DT")
_PEOPLE = (("Maya", "Chen"), ("Luca", "Rossi"))
_LIST_PRICE = 1.0
_CLOSE_DATE = "2026-10-20"


def set_up(account: Account, username: str) -> None:
    """Make what every organisation has: itself, its integration user, its stages."""
    _put(
        account,
        "Organization",
        organization_id(account.name),
        {
            "Name": "Dealthread Demo Inc.",
            "OrganizationType": "Enterprise Edition",
            "InstanceName": "DT1",
            "IsSandbox": False,
            "DefaultCurrencyIsoCode": "USD",
            "LanguageLocaleKey": "en_US",
            "TimeZoneSidKey": "America/New_York",
        },
    )
    _put_user(account, 1, "Integration", "User", username, "integration@dealthread.example")
    for number, (name, probability, forecast) in enumerate(_STAGES, start=1):
        fields: Body = {
            "MasterLabel": name,
            "ApiName": name,
            "IsActive": True,
            "IsClosed": name.startswith("Closed"),
            "IsWon": name == "Closed Won",
            "DefaultProbability": probability,
            "ForecastCategoryName": forecast,
            "SortOrder": number,
        }
        _put(account, "OpportunityStage", numbered_id("OpportunityStage", number, "DT"), fields)


def fill(account: Account, scenario: str, count: int, seed: int) -> Mapping[str, JsonValue]:
    """Seed a scenario and return ids of deals and clients by slug.

    Raises:
        ValueError: no such scenario, or it is there already.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario {scenario!r}: there are {', '.join(SCENARIOS)}")
    deals: Iterable[SeedDeal] = ()
    if scenario == "standard":
        deals = STANDARD_DEALS
    elif scenario == "bulk":
        deals = bulk_deals(count, seed)
    _put_master_data(account)
    series = _ID_SERIES.get(scenario, "DT")
    if account.store.get("Opportunity", numbered_id("Opportunity", 1, series), dead=True):
        raise ValueError(f"scenario {scenario} is seeded already: reset the account first")
    opportunities: Body = {}
    clients: Body = {}
    for deal in deals:
        client_number = 1 if deal.client is None else deal.number
        account_id = numbered_id("Account", client_number, series)
        if deal.client is not None:
            _put_client(account, account_id, deal.client, deal.currency)
        opportunities[deal.slug] = _put_deal(account, series, deal, account_id)
        clients[deal.slug] = account_id
    if scenario == "standard":
        _put_case(account, clients["tm-us"])
    return {"deals": opportunities, "clients": clients}


def _put_master_data(account: Account) -> None:
    for number, (first, last) in enumerate(_PEOPLE, start=2):
        email = f"{first}.{last}@example.com".lower()
        _put_user(account, number, first, last, email, email)
    book: Body = {"Name": "Standard Price Book", "IsActive": True, "IsStandard": True}
    _put(account, "Pricebook2", _PRICE_BOOK, book)
    for code, name, family, has_schedule in _PRODUCTS:
        number = _PRODUCT_NUMBERS[code]
        product_id = numbered_id("Product2", number, "DT")
        product: Body = {
            "Name": name,
            "ProductCode": code,
            "Family": family,
            "IsActive": True,
            "CanUseRevenueSchedule": has_schedule,
            "CurrencyIsoCode": "USD",
        }
        _put(account, "Product2", product_id, product)
        for currency in CURRENCIES:
            entry: Body = {
                "Name": name,
                "ProductCode": code,
                "Pricebook2Id": _PRICE_BOOK,
                "Product2Id": product_id,
                "UnitPrice": _LIST_PRICE,
                "IsActive": True,
                "CurrencyIsoCode": currency,
            }
            _put(account, "PricebookEntry", _entry_id(code, currency), entry)


def _entry_id(code: str, currency: str) -> str:
    place = CURRENCIES.index(currency) if currency in CURRENCIES else 0
    return numbered_id("PricebookEntry", _PRODUCT_NUMBERS[code] * 10 + place, "DT")


def _put_user(
    account: Account, number: int, first: str, last: str, username: str, email: str
) -> None:
    fields: Body = {
        "Username": username,
        "FirstName": first,
        "LastName": last,
        "Name": f"{first} {last}",
        "Email": email,
        "Alias": last[:8].lower(),
        "IsActive": True,
    }
    _put(account, "User", numbered_id("User", number, "DT"), fields)


def _put_client(account: Account, record_id: str, client: SeedClient, currency: str) -> None:
    fields: Body = {
        "Name": client.name,
        "CurrencyIsoCode": currency,
        "BillingStreet": client.street,
        "BillingCity": client.city,
        "BillingPostalCode": client.postal_code,
        "BillingState": client.state or None,
        "BillingCountryCode": client.country,
        "BillingCountry": COUNTRIES[client.country],
        "Tax_Id__c": client.tax_id or None,
        "Billing_Email__c": f"billing-{record_id[10:15].lower()}@example.com",
    }
    _put(account, "Account", record_id, fields)


def _put_case(account: Account, account_id: JsonValue) -> None:
    """Put in a case that has nothing to do with billing."""
    fields: Body = {
        "CaseNumber": "00001000",
        "AccountId": account_id,
        "OwnerId": numbered_id("User", 2, "DT"),
        "Subject": "How do I add a colleague to the portal?",
        "Status": "Working",
        "IsClosed": False,
        "Type": "Question",
        "Reason": "User did not attend training",
        "Origin": "Web",
        "Priority": "Low",
        "CurrencyIsoCode": "USD",
    }
    _put(account, "Case", numbered_id("Case", 1, "DT"), fields)


def _put_deal(account: Account, series: str, deal: SeedDeal, account_id: str) -> str:
    record_id = numbered_id("Opportunity", deal.number, series)
    stage, probability = next((s, p) for s, p, _ in _STAGES if s == deal.stage)
    is_won = stage == "Closed Won"
    amount = float(deal.amount)
    agreed = deal.contract_amount
    fields: Body = {
        "Name": deal.name,
        "AccountId": account_id,
        "OwnerId": numbered_id("User", 2, "DT"),
        "StageName": stage,
        "IsWon": is_won,
        "IsClosed": is_won,
        "Probability": probability,
        "ForecastCategoryName": "Closed" if is_won else "Pipeline",
        "LastStageChangeDate": wire_datetime(account.clock.now()),
        "CloseDate": _CLOSE_DATE,
        "FiscalYear": int(_CLOSE_DATE[:4]),
        "CurrencyIsoCode": deal.currency,
        "Pricebook2Id": _PRICE_BOOK,
        "Amount": amount,
        "ExpectedRevenue": amount * probability / 100,
        "HasOpportunityLineItem": True,
        "TotalOpportunityQuantity": float(sum(line.quantity for line in deal.lines)),
        "Deal_Kind__c": deal.kind,
        "Contract_Signed_Date__c": deal.signed or None,
        "Signature_Waiver_Until__c": deal.waiver or None,
        "Contract_Amount__c": amount if agreed is None else float(agreed),
        "Contract_Start__c": deal.start or None,
        "Contract_End__c": deal.end or None,
        "Payment_Terms__c": deal.terms,
        "Client_PO__c": f"PO-2026-{deal.number:04d}",
        "Legal_Entity__c": deal.entity or None,
        "Delivery_Template__c": deal.template,
        "Project_Manager_Email__c": deal.manager,
        "Seed_Slug__c": deal.slug,
    }
    _put(account, "Opportunity", record_id, fields)
    for place, line in enumerate(deal.lines, start=1):
        _put_line(account, series, deal, record_id, line, place)
    return record_id


def _put_line(
    account: Account, series: str, deal: SeedDeal, opportunity_id: str, line: SeedLine, place: int
) -> None:
    number = deal.number * 10 + place
    record_id = numbered_id("OpportunityLineItem", number, series)
    product_number = _PRODUCT_NUMBERS[line.product]
    title = _PRODUCTS[product_number - 1][1]
    fields: Body = {
        "OpportunityId": opportunity_id,
        "Product2Id": numbered_id("Product2", product_number, "DT"),
        "PricebookEntryId": _entry_id(line.product, deal.currency),
        "ProductCode": line.product,
        "Name": f"{deal.name} {title}"[:376],
        "Description": title,
        "SortOrder": place,
        "Quantity": float(line.quantity),
        "ListPrice": _LIST_PRICE,
        "UnitPrice": line.amount / line.quantity,
        "Subtotal": float(line.amount),
        "TotalPrice": float(line.amount),
        "ServiceDate": deal.start or None,
        "CurrencyIsoCode": deal.currency,
        "HasSchedule": bool(line.milestones),
        "HasRevenueSchedule": bool(line.milestones),
        "Contract_Line_Type__c": line.type,
        "Legal_Entity__c": line.entity or deal.entity or None,
        "Tax_Category__c": line.tax,
        "Cap_Amount__c": None if line.cap is None else float(line.cap),
    }
    _put(account, "OpportunityLineItem", record_id, fields)
    for index, (title, due, revenue) in enumerate(milestone_rows(line.milestones), start=1):
        schedule: Body = {
            "OpportunityLineItemId": record_id,
            "Type": "Revenue",
            "ScheduleDate": due,
            "Revenue": float(revenue),
            "Description": title,
            "CurrencyIsoCode": deal.currency,
        }
        kind = "OpportunityLineItemSchedule"
        _put(account, kind, numbered_id(kind, number * 10 + index, series), schedule)


def _put(account: Account, kind: str, record_id: str, fields: Body) -> None:
    if account.store.get(kind, record_id, dead=True) is None:
        account.store.insert(kind, fields, None, record_id)
