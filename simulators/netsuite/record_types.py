"""The record types of the account: who and what there is (vendor page, section 5).

Time, charges and rates are in `billing_types`, what posts to the ledger in `transaction_types`.

Lengths are from memory (unverified) and stand for "there is a limit".
"""

from collections.abc import Mapping

from simulators.netsuite.billing_types import BILLING_TYPES
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
from simulators.netsuite.schema import Field, Kind, RecordType, Space, Sublist
from simulators.netsuite.transaction_types import TRANSACTION_TYPES

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

_ADDRESS = {
    "addressee": text("Addressee", 83),
    "attention": text("Attention", 83),
    "addr1": text("Address 1", 150),
    "addr2": text("Address 2", 150),
    "addr3": text("Address 3", 150),
    "addrPhone": text("Phone", 32),
    "city": text("City", 50),
    "state": text("State/Province", 50),
    "zip": text("Zip", 36),
    "country": choice(countries(), "Country"),
}
_ADDRESS_BOOK = Sublist(
    "id",
    {
        "label": text("Label", 150),
        "defaultBilling": flag(),
        "defaultShipping": flag(),
        "isResidential": flag(),
        "addressBookAddress": Field(Kind.SUBRECORD, fields=_ADDRESS),
    },
)

_CUSTOMER = RecordType(
    "customer",
    {
        **COMMON,
        "entityId": text("Customer ID", 80),
        "isPerson": flag(),
        "firstName": text("First Name", 32),
        "lastName": text("Last Name", 32),
        "companyName": text("Company Name", 83),
        "email": text("Email", 254),
        "phone": text("Phone", 32),
        "url": text("Web Address", 100),
        "comments": text("Comments", 4000),
        "vatRegNumber": text("Tax Reg. Number", 20),
        "accountNumber": text("Account", 60),
        "subsidiary": to("subsidiary", label="Primary Subsidiary"),
        "currency": to("currency", label="Primary Currency"),
        "terms": to("term", label="Terms"),
        "entityStatus": to("customerStatus", label="Status"),
        "parent": to("customer", label="Child Of"),
        "salesRep": to("employee", label="Sales Rep"),
        "creditLimit": number("Credit Limit"),
        "creditHoldOverride": choice({"AUTO": "Auto", "ON": "On", "OFF": "Off"}, "Hold"),
        "isInactive": flag("Inactive"),
        "balance": MONEY_READ,
        "overdueBalance": MONEY_READ,
        "defaultAddress": text("Default Address", read_only=True),
    },
    {
        "addressBook": _ADDRESS_BOOK,
        "currencyList": Sublist(
            "currency",
            {
                "currency": to("currency", label="Currency"),
                "balance": MONEY_READ,
                "depositBalance": MONEY_READ,
                "overdueBalance": MONEY_READ,
                "unbilledOrders": MONEY_READ,
            },
        ),
    },
    Space.ENTITY,
)
_JOB = RecordType(
    "job",
    {
        **COMMON,
        **SEGMENTS,
        "entityId": text("Project ID", 80),
        "autoName": flag(),
        "companyName": text("Project Name", 83),
        "comments": text("Comments", 4000),
        "parent": to(*ENTITIES, label="Customer"),
        "subsidiary": to("subsidiary", label="Subsidiary"),
        "currency": to("currency", label="Currency"),
        "fxRate": number("Exchange Rate"),
        "startDate": day("Start Date"),
        "projectedEndDate": day("Estimated End Date"),
        "endDate": day("Actual End Date"),
        "jobBillingType": choice(BILLING_TYPE, "Billing Type"),
        "entityStatus": choice(JOB_STATUS, "Status"),
        "jobPrice": number("Project Price"),
        "estimatedRevenue": number("Estimated Revenue"),
        "estimatedCost": number("Estimated Cost"),
        "estimatedTime": text("Initial Time Budget", 40),
        "projectManager": to("employee", label="Project Manager"),
        "timeApproval": choice({"1": "1", "2": "2", "3": "3", "4": "4"}),
        "schedulingMethod": choice({"FORWARD": "Forward", "BACKWARD": "Backward"}),
        "allowTime": flag(),
        "allowExpenses": flag(),
        "allowAllResourcesForTasks": flag(),
        "limitTimeToAssignees": flag(),
        "materializeTime": flag(),
        "isUtilizedTime": flag(),
        "projectCompletelyBilled": flag(),
        "forecastChargeRunOnDemand": flag(),
        "isInactive": flag("Inactive"),
        "custentity_dealthread_psa_project": text("PSA Project", 300),
    },
    {"addressBook": _ADDRESS_BOOK},
    Space.ENTITY,
)
_RELATIONSHIP = RecordType(
    "customerSubsidiaryRelationship",
    {
        "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
        "entity": to("customer", label="Customer"),
        "subsidiary": to("subsidiary", label="Subsidiary"),
        "isPrimarySub": Field(Kind.FLAG, read_only=True),
        "primaryCurrency": to("currency", read_only=True),
        "name": text("Name", read_only=True),
        "balance": MONEY_READ,
    },
)
_TASK = RecordType(
    "projectTask",
    {
        **COMMON,
        "title": text("Name", 256),
        "project": to("job", label="Project"),
        "parent": to("projectTask", label="Parent Task"),
        "status": choice(
            {"NOTSTART": "Not Started", "PROGRESS": "In Progress", "COMPLETE": "Completed"}
        ),
        "constraintType": choice({"ASAP": "As Soon As Possible", "FIXEDSTART": "Fixed Start"}),
        "priority": choice({"LOW": "Low", "MEDIUM": "Medium", "HIGH": "High"}),
        "startDate": day(),
        "endDate": day(),
        "finishByDate": day(),
        "estimatedWork": number(),
        "plannedWork": text("Planned Work", 40),
        "nonBillableTask": flag(),
        "isMilestone": flag(),
        "isInactive": flag("Inactive"),
    },
    {
        "assignee": Sublist(
            "line",
            {
                "resource": to("employee", label="Resource"),
                "units": number(),
                "unitCost": number(),
                "unitPrice": number(),
                "estimatedWork": number(),
                "plannedWork": text("Planned Work", 40),
                "serviceItem": to("serviceSaleItem", label="Service Item"),
            },
        )
    },
)


def _segment(name: str) -> RecordType:
    return RecordType(
        name,
        {
            "name": text("Name", 60),
            "parent": to(name, label="Subitem Of"),
            "includeChildren": flag(),
            "subsidiary": Field(Kind.MULTISELECT, "Subsidiary", targets=("subsidiary",)),
            "isInactive": flag("Inactive"),
            "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
        },
    )


_SUBSIDIARY = RecordType(
    "subsidiary",
    {
        "name": text("Name", 83),
        "legalName": text("Legal Name", 83),
        "parent": to("subsidiary", label="Subsidiary Of"),
        "currency": to("currency", label="Currency"),
        "country": choice(countries(), "Country"),
        "isElimination": flag(),
        "isInactive": flag("Inactive"),
        "lastModifiedDate": Field(Kind.MOMENT, read_only=True),
    },
)
_CURRENCY = RecordType(
    "currency",
    {
        "name": text("Name", 30),
        "symbol": text("ISO Code", 3),
        "exchangeRate": number("Default Exchange Rate"),
        "currencyPrecision": number(),
        "isBaseCurrency": flag(),
        "isInactive": flag("Inactive"),
    },
)
_TERM = RecordType(
    "term",
    {
        "name": text("Terms", 30),
        "daysUntilNetDue": number("Days Till Net Due"),
        "isInactive": flag("Inactive"),
    },
)
_STATUS = RecordType("customerStatus", {"name": text("Name", 60), "isInactive": flag("Inactive")})
RECORD_TYPES: Mapping[str, RecordType] = {
    kind.name: kind
    for kind in (
        _CUSTOMER,
        _JOB,
        _RELATIONSHIP,
        _TASK,
        _segment("department"),
        _segment("classification"),
        _segment("location"),
        _SUBSIDIARY,
        _CURRENCY,
        _TERM,
        _STATUS,
        *BILLING_TYPES,
        *TRANSACTION_TYPES,
    )
}
"""By name; case matters, as at NetSuite (vendor page, section 2)."""
