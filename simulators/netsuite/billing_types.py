"""Record types of what is billed and what it costs: time, charges, people, items, rates, periods.

Source: vendor page, 5.5, 5.6 and 5.12. `cost` and `costCurrency` of time, `taxCategory` of an item
and the fields of the two rate records are simulator choices; the page names none.
"""

from simulators.netsuite.fields import (
    COMMON,
    ENTITIES,
    SEGMENTS,
    choice,
    day,
    flag,
    number,
    text,
    to,
)
from simulators.netsuite.schema import Field, Kind, RecordType, Space

TIME_APPROVAL = {"1": "Open", "2": "Pending Approval", "3": "Approved", "4": "Rejected"}
STAGES = {
    "READY_FOR_BILLING": "Ready For Billing",
    "HOLD_FOR_BILLING": "Hold For Billing",
    "NON_BILLABLE": "Non-Billable",
}
_BILLING_MODES = {"IN_ARREARS": "In Arrears", "IN_ADVANCE": "In Advance", "IMMEDIATE": "Immediate"}

_TIME = RecordType(
    "timeBill",
    {
        **COMMON,
        **SEGMENTS,
        "employee": to("employee", label="Employee"),
        "customer": to(*ENTITIES, label="Customer"),
        "caseTaskEvent": to("projectTask", label="Case/Task/Event"),
        "item": to("serviceSaleItem", label="Service Item"),
        "subsidiary": to("subsidiary", label="Subsidiary"),
        "billingSubsidiary": to("subsidiary", label="Billing Subsidiary"),
        "tranDate": day("Date"),
        "hours": Field(Kind.DURATION, "Duration"),
        "timeType": choice({"A": "Actual Time", "P": "Planned Time", "B": "Both"}),
        "isBillable": flag("Billable"),
        "price": choice({"-1": "Custom", "1": "Base Price"}, "Price Level"),
        "rate": number("Rate"),
        "overrideRate": flag("Override Rate"),
        "memo": text("Memo", 4000),
        "approvalStatus": choice(TIME_APPROVAL, "Approval Status"),
        "supervisorApproval": flag("Supervisor Approval"),
        "nextApprover": to("employee", label="Next Approver"),
        "rejectionNote": text("Rejection Note", 999),
        "posted": Field(Kind.FLAG, "Posted", read_only=True, by_hand=True),
        "cost": number("Cost", read_only=True),
        "costCurrency": to("currency", label="Cost Currency", read_only=True),
    },
)
_CHARGE = RecordType(
    "charge",
    {
        **COMMON,
        **SEGMENTS,
        "billTo": to(*ENTITIES, label="Bill To"),
        "billingAccount": to("billingAccount", label="Billing Account"),
        "billingItem": to("serviceSaleItem", label="Item"),
        "billingMode": choice(_BILLING_MODES, "Billing Mode"),
        "subsidiary": to("subsidiary", label="Subsidiary"),
        "currency": to("currency", label="Currency"),
        "quantity": number("Quantity"),
        "rate": number("Rate"),
        "amount": number("Amount"),
        "chargeDate": day("Date"),
        "billDate": day("Bill Date"),
        "serviceStartDate": day("Service Start Date"),
        "serviceEndDate": day("Service End Date"),
        "chargeType": to("chargeType", label="Charge Type"),
        "stage": choice(STAGES, "Stage"),
        "use": choice({"Actual": "Actual", "Forecast": "Forecast"}, "Use"),
        "projectTask": to("projectTask", label="Project Task"),
        "timeRecord": to("timeBill", label="Time Record"),
        "rule": to("chargeRule", label="Rule"),
        "runId": text("Run ID", 100),
        "salesOrder": to("salesOrder", label="Sales Order"),
        "salesOrderLine": number("Sales Order Line"),
        "memo": text("Memo", 4000),
        "description": text("Description", 4000),
        "invoice": to("invoice", label="Invoice", read_only=True),
        "invoiceLine": number("Invoice Line", read_only=True),
        "creditMemo": to("creditMemo", label="Credit Memo", read_only=True),
        "creditMemoLine": number("Credit Memo Line", read_only=True),
    },
)
_CHARGE_TYPE = RecordType("chargeType", {"name": text("Name", 60), "isInactive": flag("Inactive")})
_EMPLOYEE = RecordType(
    "employee",
    {
        **COMMON,
        "entityId": text("Employee ID", 80),
        "firstName": text("First Name", 32),
        "lastName": text("Last Name", 32),
        "email": text("Email", 254),
        "title": text("Job Title", 100),
        "subsidiary": to("subsidiary", label="Subsidiary"),
        "department": to("department", label="Department"),
        "supervisor": to("employee", label="Supervisor"),
        "laborCost": number("Labor Cost"),
        "isInactive": flag("Inactive"),
    },
    space=Space.ENTITY,
)
_ITEM = RecordType(
    "serviceSaleItem",
    {
        "itemId": text("Item Name", 60),
        "displayName": text("Display Name", 60),
        "taxCategory": choice(
            {"standard": "Standard", "reduced": "Reduced", "exempt": "Exempt"}, "Tax Category"
        ),
        "isInactive": flag("Inactive"),
    },
)
_PERIOD = RecordType(
    "accountingPeriod",
    {
        "periodName": text("Period Name", 60),
        "startDate": day("Start Date"),
        "endDate": day("End Date"),
        "closed": flag(),
        "arLocked": flag(),
        "apLocked": flag(),
        "allLocked": flag(),
        "isQuarter": flag(),
        "isYear": flag(),
        "isAdjust": flag(),
    },
)
_CURRENCY_RATE = RecordType(
    "currencyRate",
    {
        "baseCurrency": to("currency", label="Base Currency"),
        "transactionCurrency": to("currency", label="Source Currency"),
        "exchangeRate": number("Exchange Rate"),
        "effectiveDate": day("Effective Date"),
    },
)
_CONSOLIDATED_RATE = RecordType(
    "consolidatedExchangeRate",
    {
        "postingPeriod": to("accountingPeriod", label="Period"),
        "fromSubsidiary": to("subsidiary", label="From Subsidiary"),
        "toSubsidiary": to("subsidiary", label="To Subsidiary"),
        "fromCurrency": to("currency", label="From Currency"),
        "toCurrency": to("currency", label="To Currency"),
        "currentRate": number("Current Rate"),
        "averageRate": number("Average Rate"),
        "historicalRate": number("Historical Rate"),
    },
)

BILLING_TYPES = (
    _TIME,
    _CHARGE,
    _CHARGE_TYPE,
    _EMPLOYEE,
    _ITEM,
    _PERIOD,
    _CURRENCY_RATE,
    _CONSOLIDATED_RATE,
)
