"""The record types of the account (vendor page, section 5).

Lengths are from memory (unverified) and stand for "there is a limit".
"""

from collections.abc import Mapping
from functools import cache

from babel import Locale

from simulators.netsuite.schema import Field, Kind, RecordType, Space, Sublist


def _text(label: str, length_max: int = 999, read_only: bool = False) -> Field:
    return Field(Kind.TEXT, label, length_max=length_max, read_only=read_only)


def _flag(label: str = "") -> Field:
    return Field(Kind.FLAG, label)


def _number(label: str = "", read_only: bool = False) -> Field:
    return Field(Kind.NUMBER, label, read_only=read_only)


def _date(label: str = "") -> Field:
    return Field(Kind.DATE, label)


def _to(*targets: str, label: str = "", read_only: bool = False) -> Field:
    return Field(Kind.REFERENCE, label, targets=targets, read_only=read_only)


def _choice(options: Mapping[str, str], label: str = "") -> Field:
    return Field(Kind.CHOICE, label, options=options)


@cache
def _countries() -> Mapping[str, str]:
    return {code: name for code, name in Locale("en").territories.items() if len(code) == 2}


JOB_STATUS = {
    "1": "Closed",
    "2": "In Progress",
    "3": "Not Awarded",
    "4": "Pending",
    "5": "Awarded",
}
BILLING_TYPE = {
    "1": "Charge-Based",
    "2": "Fixed Bid, Interval",
    "3": "Fixed Bid, Milestone",
    "4": "Time and Materials",
    "5": "Cost Plus",
}
APPROVAL = {"1": "Pending Approval", "2": "Approved", "3": "Rejected"}
TIME_APPROVAL = {"1": "Open", "2": "Pending Approval", "3": "Approved", "4": "Rejected"}
INVOICE_STATUS = {
    "A": "Open",
    "B": "Paid In Full",
    "D": "Pending Approval",
    "E": "Rejected",
    "V": "Voided",
}
ENTITIES = ("customer", "job")

_COMMON = {
    "dateCreated": Field(Kind.MOMENT, read_only=True),
    "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
}
_SEGMENTS = {
    "department": _to("department", label="Department"),
    "class": _to("classification", label="Class"),
    "location": _to("location", label="Location"),
}
_ADDRESS = {
    "addressee": _text("Addressee", 83),
    "attention": _text("Attention", 83),
    "addr1": _text("Address 1", 150),
    "addr2": _text("Address 2", 150),
    "addr3": _text("Address 3", 150),
    "addrPhone": _text("Phone", 32),
    "city": _text("City", 50),
    "state": _text("State/Province", 50),
    "zip": _text("Zip", 36),
    "country": _choice(_countries(), "Country"),
}
_ADDRESS_BOOK = Sublist(
    "id",
    {
        "label": _text("Label", 150),
        "defaultBilling": _flag(),
        "defaultShipping": _flag(),
        "isResidential": _flag(),
        "addressBookAddress": Field(Kind.SUBRECORD, fields=_ADDRESS),
    },
)
_MONEY_READ = _number(read_only=True)

_CUSTOMER = RecordType(
    "customer",
    {
        **_COMMON,
        "entityId": _text("Customer ID", 80),
        "isPerson": _flag(),
        "firstName": _text("First Name", 32),
        "lastName": _text("Last Name", 32),
        "companyName": _text("Company Name", 83),
        "email": _text("Email", 254),
        "phone": _text("Phone", 32),
        "url": _text("Web Address", 100),
        "comments": _text("Comments", 4000),
        "vatRegNumber": _text("Tax Reg. Number", 20),
        "accountNumber": _text("Account", 60),
        "subsidiary": _to("subsidiary", label="Primary Subsidiary"),
        "currency": _to("currency", label="Primary Currency"),
        "terms": _to("term", label="Terms"),
        "entityStatus": _to("customerStatus", label="Status"),
        "parent": _to("customer", label="Child Of"),
        "salesRep": _to("employee", label="Sales Rep"),
        "creditLimit": _number("Credit Limit"),
        "isInactive": _flag("Inactive"),
        "balance": _MONEY_READ,
        "overdueBalance": _MONEY_READ,
        "defaultAddress": _text("Default Address", read_only=True),
    },
    {
        "addressBook": _ADDRESS_BOOK,
        "currencyList": Sublist(
            "currency",
            {
                "currency": _to("currency", label="Currency"),
                "balance": _MONEY_READ,
                "depositBalance": _MONEY_READ,
                "overdueBalance": _MONEY_READ,
                "unbilledOrders": _MONEY_READ,
            },
        ),
    },
    Space.ENTITY,
)
_JOB = RecordType(
    "job",
    {
        **_COMMON,
        **_SEGMENTS,
        "entityId": _text("Project ID", 80),
        "autoName": _flag(),
        "companyName": _text("Project Name", 83),
        "comments": _text("Comments", 4000),
        "parent": _to(*ENTITIES, label="Customer"),
        "subsidiary": _to("subsidiary", label="Subsidiary"),
        "currency": _to("currency", label="Currency"),
        "fxRate": _number("Exchange Rate"),
        "startDate": _date("Start Date"),
        "projectedEndDate": _date("Estimated End Date"),
        "endDate": _date("Actual End Date"),
        "jobBillingType": _choice(BILLING_TYPE, "Billing Type"),
        "entityStatus": _choice(JOB_STATUS, "Status"),
        "jobPrice": _number("Project Price"),
        "estimatedRevenue": _number("Estimated Revenue"),
        "estimatedCost": _number("Estimated Cost"),
        "estimatedTime": _text("Initial Time Budget", 40),
        "projectManager": _to("employee", label="Project Manager"),
        "timeApproval": _choice({"1": "1", "2": "2", "3": "3", "4": "4"}),
        "schedulingMethod": _choice({"FORWARD": "Forward", "BACKWARD": "Backward"}),
        "allowTime": _flag(),
        "allowExpenses": _flag(),
        "allowAllResourcesForTasks": _flag(),
        "limitTimeToAssignees": _flag(),
        "materializeTime": _flag(),
        "isUtilizedTime": _flag(),
        "projectCompletelyBilled": _flag(),
        "forecastChargeRunOnDemand": _flag(),
        "isInactive": _flag("Inactive"),
        "custentity_dealthread_psa_project": _text("PSA Project", 300),
    },
    {"addressBook": _ADDRESS_BOOK},
    Space.ENTITY,
)
_RELATIONSHIP = RecordType(
    "customerSubsidiaryRelationship",
    {
        "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
        "entity": _to("customer", label="Customer"),
        "subsidiary": _to("subsidiary", label="Subsidiary"),
        "isPrimarySub": Field(Kind.FLAG, read_only=True),
        "primaryCurrency": _to("currency", read_only=True),
        "name": _text("Name", read_only=True),
        "balance": _MONEY_READ,
    },
)
_TASK = RecordType(
    "projectTask",
    {
        **_COMMON,
        "title": _text("Name", 256),
        "project": _to("job", label="Project"),
        "parent": _to("projectTask", label="Parent Task"),
        "status": _choice(
            {"NOTSTART": "Not Started", "PROGRESS": "In Progress", "COMPLETE": "Completed"}
        ),
        "constraintType": _choice({"ASAP": "As Soon As Possible", "FIXEDSTART": "Fixed Start"}),
        "priority": _choice({"LOW": "Low", "MEDIUM": "Medium", "HIGH": "High"}),
        "startDate": _date(),
        "endDate": _date(),
        "finishByDate": _date(),
        "estimatedWork": _number(),
        "plannedWork": _text("Planned Work", 40),
        "nonBillableTask": _flag(),
        "isMilestone": _flag(),
        "isInactive": _flag("Inactive"),
    },
    {
        "assignee": Sublist(
            "line",
            {
                "resource": _to("employee", label="Resource"),
                "units": _number(),
                "unitCost": _number(),
                "unitPrice": _number(),
                "estimatedWork": _number(),
                "plannedWork": _text("Planned Work", 40),
                "serviceItem": _to("serviceSaleItem", label="Service Item"),
            },
        )
    },
)
_TIME = RecordType(
    "timeBill",
    {
        **_COMMON,
        **_SEGMENTS,
        "employee": _to("employee", label="Employee"),
        "customer": _to(*ENTITIES, label="Customer"),
        "caseTaskEvent": _to("projectTask", label="Case/Task/Event"),
        "item": _to("serviceSaleItem", label="Service Item"),
        "subsidiary": _to("subsidiary", label="Subsidiary"),
        "tranDate": _date("Date"),
        "hours": _text("Duration", 20),
        "timeType": _choice({"A": "Actual Time", "P": "Planned Time", "B": "Both"}),
        "isBillable": _flag(),
        "rate": _number("Rate"),
        "overrideRate": _flag(),
        "memo": _text("Memo", 4000),
        "approvalStatus": _choice(TIME_APPROVAL, "Approval Status"),
    },
)
_INVOICE = RecordType(
    "invoice",
    {
        **_COMMON,
        **_SEGMENTS,
        "entity": _to(*ENTITIES, label="Customer"),
        "subsidiary": _to("subsidiary", label="Subsidiary"),
        "currency": _to("currency", label="Currency"),
        "exchangeRate": _number("Exchange Rate"),
        "tranDate": _date("Date"),
        "dueDate": _date("Due Date"),
        "terms": _to("term", label="Terms"),
        "postingPeriod": _to("accountingPeriod", label="Posting Period"),
        "approvalStatus": _choice(APPROVAL, "Approval Status"),
        "memo": _text("Memo", 999),
        "otherRefNum": _text("PO #", 45),
        "tranId": _text("Invoice #", 45),
        "status": Field(Kind.CHOICE, options=INVOICE_STATUS, read_only=True),
        "subtotal": _MONEY_READ,
        "total": _MONEY_READ,
        "amountPaid": _MONEY_READ,
        "amountRemaining": _MONEY_READ,
    },
    {
        "item": Sublist(
            "line",
            {
                **_SEGMENTS,
                "item": _to("serviceSaleItem", label="Item"),
                "quantity": _number("Quantity"),
                "rate": _number("Rate"),
                "amount": _number("Amount"),
                "description": _text("Description", 4000),
            },
        )
    },
    Space.TRANSACTION,
)


def _segment(name: str) -> RecordType:
    return RecordType(
        name,
        {
            "name": _text("Name", 60),
            "parent": _to(name, label="Subitem Of"),
            "includeChildren": _flag(),
            "subsidiary": Field(Kind.MULTISELECT, "Subsidiary", targets=("subsidiary",)),
            "isInactive": _flag("Inactive"),
            "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
        },
    )


_SUBSIDIARY = RecordType(
    "subsidiary",
    {
        "name": _text("Name", 83),
        "legalName": _text("Legal Name", 83),
        "parent": _to("subsidiary", label="Subsidiary Of"),
        "currency": _to("currency", label="Currency"),
        "country": _choice(_countries(), "Country"),
        "isElimination": _flag(),
        "isInactive": _flag("Inactive"),
        "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
    },
)
_CURRENCY = RecordType(
    "currency",
    {
        "name": _text("Name", 30),
        "symbol": _text("ISO Code", 3),
        "exchangeRate": _number("Default Exchange Rate"),
        "currencyPrecision": _number(),
        "isBaseCurrency": _flag(),
        "isInactive": _flag("Inactive"),
    },
)
_TERM = RecordType(
    "term",
    {
        "name": _text("Terms", 30),
        "daysUntilNetDue": _number("Days Till Net Due"),
        "isInactive": _flag("Inactive"),
    },
)
_EMPLOYEE = RecordType(
    "employee",
    {
        **_COMMON,
        "entityId": _text("Employee ID", 80),
        "firstName": _text("First Name", 32),
        "lastName": _text("Last Name", 32),
        "email": _text("Email", 254),
        "subsidiary": _to("subsidiary", label="Subsidiary"),
        "isInactive": _flag("Inactive"),
    },
    space=Space.ENTITY,
)
_ITEM = RecordType(
    "serviceSaleItem", {"itemId": _text("Item Name", 60), "isInactive": _flag("Inactive")}
)
_STATUS = RecordType("customerStatus", {"name": _text("Name", 60), "isInactive": _flag("Inactive")})
_PERIOD = RecordType(
    "accountingPeriod",
    {
        "periodName": _text("Period Name", 60),
        "startDate": _date("Start Date"),
        "endDate": _date("End Date"),
        "closed": _flag(),
        "arLocked": _flag(),
        "apLocked": _flag(),
        "allLocked": _flag(),
        "isQuarter": _flag(),
        "isYear": _flag(),
        "isAdjust": _flag(),
    },
)

RECORD_TYPES: Mapping[str, RecordType] = {
    kind.name: kind
    for kind in (
        _CUSTOMER,
        _JOB,
        _RELATIONSHIP,
        _TASK,
        _TIME,
        _INVOICE,
        _segment("department"),
        _segment("classification"),
        _segment("location"),
        _SUBSIDIARY,
        _CURRENCY,
        _TERM,
        _EMPLOYEE,
        _ITEM,
        _STATUS,
        _PERIOD,
    )
}
"""By name; case matters, as at NetSuite (vendor page, section 2)."""
