"""Record types that post to the ledger, and the lists that they name.

Item lines have one custom column, `custcol_dealthread_item`, as an administrator adds it. Invoices
have the e-document status of the Electronic Invoicing SuiteApp; its numbers are an account's own.

Source: vendor page, 5.7 and 5.9 to 5.11. `account`, `salesTaxItem`, `vendor`, `vendorBill`,
`expenseCategory` and the lines of `expenseReport` and `journalEntry` are from memory, unverified.
"""

from collections.abc import Mapping

from simulators.netsuite.fields import (
    COMMON,
    ENTITIES,
    MONEY_READ,
    SEGMENTS,
    choice,
    countries,
    day,
    flag,
    number,
    text,
    to,
)
from simulators.netsuite.schema import Field, RecordType, Space, Sublist

ITEM_COLUMN = "custcol_dealthread_item"
APPROVAL = {"1": "Pending Approval", "2": "Approved", "3": "Rejected"}
INVOICE_STATUS = {
    "A": "Open",
    "B": "Paid In Full",
    "D": "Pending Approval",
    "E": "Rejected",
    "V": "Voided",
}
E_DOCUMENT = {
    "1": "For Generation",
    "2": "Error in Generation",
    "3": "Ready for Sending",
    "4": "Sent",
    "8": "Sending Failed",
}
"""The names are those of the SuiteApp's screens (unverified), the numbers those of one account."""
_CREDIT_STATUS = {"A": "Open", "B": "Fully Applied", "V": "Voided"}
_PAYMENT_STATUS = {"A": "Not Deposited", "B": "Deposited", "C": "Undeposited", "V": "Voided"}

_HEAD: Mapping[str, Field] = {
    **COMMON,
    **SEGMENTS,
    "subsidiary": to("subsidiary", label="Subsidiary"),
    "currency": to("currency", label="Currency"),
    "exchangeRate": number("Exchange Rate"),
    "tranDate": day("Date"),
    "postingPeriod": to("accountingPeriod", label="Posting Period", read_only=True),
    "memo": text("Memo", 999),
    "tranId": text("Number", 45),
    "transactionNumber": text("Transaction Number", 45, read_only=True),
    "account": to("account", label="Account"),
}
_TOTALS: Mapping[str, Field] = {
    "subtotal": MONEY_READ,
    "discountTotal": MONEY_READ,
    "taxTotal": MONEY_READ,
    "total": MONEY_READ,
}
_ITEM_LINES = Sublist(
    "line",
    {
        **SEGMENTS,
        "item": to("serviceSaleItem", label="Item"),
        "quantity": number("Quantity"),
        "rate": number("Rate"),
        "amount": number("Amount"),
        "description": text("Description", 4000),
        "price": choice({"-1": "Custom", "1": "Base Price"}, "Price Level"),
        "job": to("job", label="Project"),
        "taxCode": to("salesTaxItem", label="Tax Code"),
        "taxRate1": number(read_only=True),
        "tax1Amt": MONEY_READ,
        "grossAmt": MONEY_READ,
        "isTaxable": flag(),
        "chargeType": to("chargeType", label="Charge Type"),
        "charges": text("Charges", 20_000),
        ITEM_COLUMN: text("Dealthread Item", 300),
        "revRecStartDate": day(),
        "revRecEndDate": day(),
    },
)
_APPLY_LINES = Sublist(
    "doc",
    {
        "doc": to("invoice", label="Document"),
        "apply": flag("Apply"),
        "amount": number("Payment"),
        "line": number(),
        "total": MONEY_READ,
        "due": MONEY_READ,
        "refNum": text("Ref No.", read_only=True),
        "type": text("Type", read_only=True),
        "applyDate": day(),
    },
)
_WHICH = {"ALL": "All", "TRANSACTION_DATE": "Up to Transaction Date", "AS_OF_DATE": "As of Date"}

_INVOICE = RecordType(
    "invoice",
    {
        **_HEAD,
        **_TOTALS,
        "entity": to(*ENTITIES, label="Customer"),
        "job": to("job", label="Project"),
        "dueDate": day("Due Date"),
        "terms": to("term", label="Terms"),
        "approvalStatus": choice(APPROVAL, "Approval Status"),
        "otherRefNum": text("PO #", 45),
        "asOfDate": day("As of Date"),
        "whichChargesToAdd": choice(_WHICH, "Which Charges to Add"),
        "deletionReason": text("Deletion Reason", 99),
        "deletionReasonMemo": text("Deletion Memo", 999),
        "custbody_psg_ei_status": choice(E_DOCUMENT, "E-Document Status"),
        "status": choice(INVOICE_STATUS, read_only=True),
        "amountPaid": MONEY_READ,
        "amountRemaining": MONEY_READ,
    },
    {"item": _ITEM_LINES},
    Space.TRANSACTION,
)
_CREDIT_MEMO = RecordType(
    "creditMemo",
    {
        **_HEAD,
        **_TOTALS,
        "entity": to(*ENTITIES, label="Customer"),
        "job": to("job", label="Project"),
        "otherRefNum": text("PO #", 45),
        "createdFrom": to("invoice", label="Created From", read_only=True),
        "status": choice(_CREDIT_STATUS, read_only=True),
        "applied": MONEY_READ,
        "unapplied": MONEY_READ,
    },
    {"item": _ITEM_LINES, "apply": _APPLY_LINES},
    Space.TRANSACTION,
)
_PAYMENT = RecordType(
    "customerPayment",
    {
        **_HEAD,
        "customer": to(*ENTITIES, label="Customer"),
        "payment": number("Payment Amount"),
        "undepFunds": flag("Undeposited Funds"),
        "arAcct": to("account", label="A/R Account"),
        "status": choice(_PAYMENT_STATUS, read_only=True),
        "applied": MONEY_READ,
        "unapplied": MONEY_READ,
        "total": MONEY_READ,
    },
    {"apply": _APPLY_LINES},
    Space.TRANSACTION,
)
_JOURNAL = RecordType(
    "journalEntry",
    {
        **_HEAD,
        "toSubsidiary": to("subsidiary", label="To Subsidiary"),
        "approved": flag("Approved"),
        "reversalDate": day("Reversal Date"),
        "createdFrom": to("invoice", label="Created From", read_only=True),
    },
    {
        "line": Sublist(
            "line",
            {
                **SEGMENTS,
                "account": to("account", label="Account"),
                "debit": number("Debit"),
                "credit": number("Credit"),
                "entity": to(*ENTITIES, "employee", label="Name"),
                "lineSubsidiary": to("subsidiary", label="Subsidiary"),
                "memo": text("Memo", 999),
            },
        )
    },
    Space.TRANSACTION,
)
_VENDOR_BILL = RecordType(
    "vendorBill",
    {
        **_HEAD,
        **_TOTALS,
        "entity": to("vendor", label="Vendor"),
        "dueDate": day("Due Date"),
        "approvalStatus": choice(APPROVAL, "Approval Status"),
    },
    {"item": _ITEM_LINES},
    Space.TRANSACTION,
)
_EXPENSE_REPORT = RecordType(
    "expenseReport",
    {
        **_HEAD,
        "entity": to("employee", label="Employee"),
        "dueDate": day("Due Date"),
        "supervisorApproval": flag("Supervisor Approval"),
        "accountingApproval": flag("Accounting Approval"),
        "total": MONEY_READ,
        "amount": MONEY_READ,
    },
    {
        "expense": Sublist(
            "line",
            {
                **SEGMENTS,
                "category": to("expenseCategory", label="Category"),
                "expenseDate": day("Date"),
                "amount": number("Amount"),
                "currency": to("currency", label="Currency"),
                "foreignAmount": number("Foreign Amount"),
                "exchangeRate": number("Exchange Rate"),
                "customer": to(*ENTITIES, label="Customer"),
                "isBillable": flag("Billable"),
                "memo": text("Memo", 4000),
                "refNumber": number("Ref. Number"),
            },
        )
    },
    Space.TRANSACTION,
)
_ACCOUNT = RecordType(
    "account",
    {
        "acctNumber": text("Number", 60),
        "acctName": text("Name", 60),
        "acctType": text("Type", 30),
        "isInactive": flag("Inactive"),
    },
)
_TAX_CODE = RecordType(
    "salesTaxItem",
    {
        "itemId": text("Tax Name", 60),
        "rate": number("Rate"),
        "nexusCountry": choice(countries(), "Nexus"),
        "taxCategory": text("Tax Category", 30),
        "isInactive": flag("Inactive"),
    },
)
_VENDOR = RecordType(
    "vendor",
    {
        **COMMON,
        "entityId": text("Vendor ID", 80),
        "companyName": text("Company Name", 83),
        "subsidiary": to("subsidiary", label="Subsidiary"),
        "currency": to("currency", label="Currency"),
        "isInactive": flag("Inactive"),
    },
    space=Space.ENTITY,
)
_EXPENSE_CATEGORY = RecordType(
    "expenseCategory", {"name": text("Name", 60), "isInactive": flag("Inactive")}
)

TRANSACTION_TYPES = (
    _INVOICE,
    _CREDIT_MEMO,
    _PAYMENT,
    _JOURNAL,
    _VENDOR_BILL,
    _EXPENSE_REPORT,
    _ACCOUNT,
    _TAX_CODE,
    _VENDOR,
    _EXPENSE_CATEGORY,
)
