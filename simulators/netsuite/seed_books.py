"""The firm's books: periods, rates, items, accounts, tax codes."""

from calendar import month_abbr, monthrange
from collections.abc import Mapping

from simulators.kit import Account
from simulators.netsuite.state import Fields, next_id

FIRST_PERIOD = 200
"""Id of January 2026; the months after it follow."""
_YEARS = (2026, 2027)
_FIRST_OPEN = (2026, 11)
_ITEMS = {
    "301": "Consulting time",
    "302": "Rebillable expense",
    "303": "Retainer overage",
    "304": "Intercompany services",
    "410": "Milestone",
}
_CHARGE_TYPES = {"1": "Time-Based", "2": "Fixed", "3": "Expense"}
_EXPENSES = {"1": "Travel", "2": "Lodging", "3": "Meals", "4": "Mileage", "5": "Software"}
_ACCOUNTS: Mapping[str, tuple[str, str, str]] = {
    "119": ("1200", "Accounts Receivable", "AcctRec"),
    "120": ("1010", "Bank", "Bank"),
    "121": ("1250", "Due From Subsidiaries", "OthCurrAsset"),
    "122": ("2050", "Due To Subsidiaries", "OthCurrLiab"),
    "123": ("4010", "Consulting Revenue", "Income"),
    "124": ("4900", "Intercompany Revenue", "Income"),
    "125": ("5010", "Project Labor Cost", "COGS"),
    "126": ("5900", "Intercompany Cost", "COGS"),
}
_TAXES: Mapping[str, tuple[str, str, float, str]] = {
    "11": ("US Services", "US", 0, "standard"),
    "12": ("US Services Reduced", "US", 0, "reduced"),
    "13": ("US Exempt", "US", 0, "exempt"),
    "21": ("DE 19", "DE", 19, "standard"),
    "22": ("DE 7", "DE", 7, "reduced"),
    "23": ("DE 0", "DE", 0, "exempt"),
    "31": ("JP 10", "JP", 10, "standard"),
    "32": ("JP 8", "JP", 8, "reduced"),
    "33": ("JP 0", "JP", 0, "exempt"),
}
_RATES: Mapping[tuple[str, str], float] = {
    ("2", "1"): 1.085,
    ("3", "1"): 1.27,
    ("4", "1"): 0.00665,
    ("5", "1"): 3.25,
    ("1", "2"): 0.921659,
    ("3", "2"): 1.170507,
    ("4", "2"): 0.006129,
    ("1", "4"): 150.37594,
    ("2", "4"): 163.157895,
}
"""By the ids of the transaction's and the base currency; the same from the 1st of each month."""
_CONSOLIDATED = (("2", "1", 1.0), ("3", "2", 1.085), ("4", "4", 0.00665))
"""Subsidiary, its currency, its rate to the parent, subsidiary 1."""


def set_up_books(account: Account) -> None:
    """Add what the books need; all months before November 2026 are closed."""
    insert = account.store.insert
    for number, name in _ITEMS.items():
        fields: Fields = {"itemId": name, "displayName": name, "isInactive": False}
        insert("serviceSaleItem", {**fields, "taxCategory": {"id": "standard"}}, id=number)
    for number, name in _CHARGE_TYPES.items():
        insert("chargeType", {"name": name, "isInactive": False}, id=number)
    for number, name in _EXPENSES.items():
        insert("expenseCategory", {"name": name, "isInactive": False}, id=number)
    for number, (code, name, kind) in _ACCOUNTS.items():
        fields = {"acctNumber": code, "acctName": name, "acctType": kind, "isInactive": False}
        insert("account", fields, id=number)
    for number, (name, country, rate, category) in _TAXES.items():
        fields = {"itemId": name, "rate": rate, "taxCategory": category, "isInactive": False}
        insert("salesTaxItem", {**fields, "nexusCountry": {"id": country}}, id=number)
    _set_up_periods(account)
    _set_up_rates(account)


def _set_up_periods(account: Account) -> None:
    for year in _YEARS:
        _period(account, f"FY {year}", year, 1, 12, isYear=True)
        for quarter in range(4):
            first = quarter * 3 + 1
            _period(account, f"Q{quarter + 1} {year}", year, first, first + 2, isQuarter=True)
            for month in range(first, first + 3):
                _period(account, f"{month_abbr[month]} {year}", year, month, month)


def _period(account: Account, name: str, year: int, first: int, last: int, **kind: bool) -> None:
    closed = (year, last) < _FIRST_OPEN
    fields: Fields = {
        "periodName": name,
        "startDate": f"{year}-{first:02}-01",
        "endDate": f"{year}-{last:02}-{monthrange(year, last)[1]}",
    }
    for lock in ("closed", "arLocked", "apLocked", "allLocked"):
        fields[lock] = closed
    for flag in ("isYear", "isQuarter", "isAdjust"):
        fields[flag] = kind.get(flag, False)
    number = str(_month_id(year, first)) if not kind else next_id(account, "accountingPeriod")
    account.store.insert("accountingPeriod", fields, id=number)


def _month_id(year: int, month: int) -> int:
    return FIRST_PERIOD + (year - _YEARS[0]) * 12 + month - 1


def _set_up_rates(account: Account) -> None:
    insert = account.store.insert
    for year in _YEARS:
        for month in range(1, 13):
            for (source, base), rate in _RATES.items():
                row: Fields = {"exchangeRate": rate, "effectiveDate": f"{year}-{month:02}-01"}
                row |= {"transactionCurrency": {"id": source}, "baseCurrency": {"id": base}}
                insert("currencyRate", row)
            for subsidiary, currency, rate in _CONSOLIDATED:
                row = {"currentRate": rate, "averageRate": rate, "historicalRate": rate}
                row |= {"fromSubsidiary": {"id": subsidiary}, "toSubsidiary": {"id": "1"}}
                row |= {"fromCurrency": {"id": currency}, "toCurrency": {"id": "1"}}
                row["postingPeriod"] = {"id": str(_month_id(year, month))}
                insert("consolidatedExchangeRate", row)
