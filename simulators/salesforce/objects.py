"""The objects of this organisation, with its own custom fields (vendor page 9).

The organisation has several currencies and state and country picklists on. Whether a picklist
other than currency and country is restricted is the customer's setting; here the deal kind, line
type, legal entity and tax category are not, so that careless data can be entered as in real life.
"""

from dataclasses import replace

from simulators.salesforce.schema import Child, Field, FieldType, OnDelete, SObject

_F = FieldType
CURRENCIES = ("USD", "EUR", "GBP", "JPY")
COUNTRIES = {
    "AT": "Austria",
    "AU": "Australia",
    "CA": "Canada",
    "CH": "Switzerland",
    "DE": "Germany",
    "DK": "Denmark",
    "EE": "Estonia",
    "FR": "France",
    "GB": "United Kingdom",
    "IL": "Israel",
    "IT": "Italy",
    "JP": "Japan",
    "NL": "Netherlands",
    "NO": "Norway",
    "SE": "Sweden",
    "US": "United States",
}
"""The country picklist of this organisation, code to label."""
SHOWN_AMOUNTS = ("Invoiced", "Outstanding", "Overdue", "Unbilled")
"""What the integration shows of a deal's money."""
CASE_STATUSES = ("New", "Working", "Escalated", "Closed")
"""As in a new organisation; the last one closes (unverified)."""


def _ro(column: Field) -> Field:
    return replace(column, createable=False, updateable=False)


def _create_only(column: Field) -> Field:
    return replace(column, updateable=False)


def _lookup(name: str, to: str, children: str = "", nillable: bool = True) -> Field:
    relationship = name.removesuffix("Id")
    return Field(
        name,
        _F.REFERENCE,
        length=18,
        nillable=nillable,
        refers_to=to,
        relationship=relationship,
        children=children,
    )


def _part_of(name: str, to: str, children: str) -> Field:
    column = _lookup(name, to, children, nillable=False)
    return replace(_create_only(column), on_delete=OnDelete.CASCADE)


def _external(name: str, unique: bool = True) -> Field:
    return Field(name, external_id=True, unique=unique)


def _money(name: str) -> Field:
    return Field(name, _F.CURRENCY)


def _date(name: str) -> Field:
    return Field(name, _F.DATE)


def _flag(name: str, default: bool = False) -> Field:
    return Field(name, _F.BOOLEAN, nillable=False, default=default)


_CURRENCY = Field("CurrencyIsoCode", _F.PICKLIST, values=CURRENCIES, default="USD")
_OWNER = replace(_lookup("OwnerId", "User"), nillable=False, default="")
_SYSTEM = tuple(
    _ro(column)
    for column in (
        Field("Id", _F.ID, length=18, nillable=False),
        _flag("IsDeleted"),
        Field("CreatedDate", _F.DATETIME, nillable=False),
        _lookup("CreatedById", "User"),
        Field("LastModifiedDate", _F.DATETIME, nillable=False),
        _lookup("LastModifiedById", "User"),
        Field("SystemModstamp", _F.DATETIME, nillable=False),
    )
)


def _address(prefix: str) -> tuple[Field, ...]:
    return (
        Field(f"{prefix}Street", _F.TEXTAREA),
        Field(f"{prefix}City", length=40),
        Field(f"{prefix}PostalCode", length=20),
        Field(f"{prefix}State", length=80),
        Field(f"{prefix}StateCode", length=10),
        Field(f"{prefix}Country", length=80),
        Field(f"{prefix}CountryCode", _F.PICKLIST, values=tuple(COUNTRIES)),
        _ro(Field(f"{prefix}Address", _F.ADDRESS)),
    )


def _object(name: str, *fields: Field, plural: str = "", key_field: str = "") -> SObject:
    return SObject(name, plural or f"{name}s", _SYSTEM + fields, key_field=key_field)


def _read_only(name: str, *fields: Field, updateable: bool = False) -> SObject:
    made = _object(name, *fields)
    return replace(made, createable=False, updateable=updateable, deletable=False)


_OBJECTS = (
    _read_only(
        "Organization",
        Field("Name", length=80),
        Field("OrganizationType", length=40),
        Field("InstanceName", length=5),
        _flag("IsSandbox"),
        Field("DefaultCurrencyIsoCode", length=3),
        Field("LanguageLocaleKey", length=40),
        Field("TimeZoneSidKey", length=40),
    ),
    replace(
        _object(
            "User",
            Field("Username", length=80, nillable=False, unique=True),
            Field("LastName", length=80, nillable=False),
            Field("FirstName", length=40),
            _ro(Field("Name", length=121)),
            Field("Email", _F.EMAIL, length=128, nillable=False),
            Field("Alias", length=8),
            _flag("IsActive", default=True),
            _CURRENCY,
        ),
        deletable=False,
    ),
    _read_only(
        "OpportunityStage",
        Field("MasterLabel"),
        Field("ApiName"),
        _flag("IsActive", default=True),
        _flag("IsClosed"),
        _flag("IsWon"),
        Field("DefaultProbability", _F.PERCENT, precision=3, scale=0),
        Field("ForecastCategoryName", length=40),
        Field("SortOrder", _F.INT),
    ),
    _object(
        "Account",
        Field("Name", length=255, nillable=False),
        replace(_lookup("ParentId", "Account", "ChildAccounts"), relationship="Parent"),
        _OWNER,
        _CURRENCY,
        Field("AccountNumber", length=40),
        Field("Type", _F.PICKLIST),
        Field("Industry", _F.PICKLIST),
        Field("Site", length=80),
        Field("Phone", _F.PHONE, length=40),
        Field("Website", _F.URL),
        Field("Description", _F.TEXTAREA, length=32000),
        *_address("Billing"),
        *_address("Shipping"),
        _ro(_lookup("MasterRecordId", "Account")),
        Field("Tax_Id__c", length=40),
        Field("Billing_Email__c", _F.EMAIL, length=80),
        _flag("Billing_Hold__c"),
        _external("ERP_Key__c"),
        _external("Legacy_Key__c", unique=False),
        key_field="ERP_Key__c",
    ),
    _object(
        "Contact",
        Field("LastName", length=80, nillable=False),
        Field("FirstName", length=40),
        _ro(Field("Name", length=121)),
        replace(_lookup("AccountId", "Account", "Contacts"), on_delete=OnDelete.CASCADE),
        _OWNER,
        _CURRENCY,
        Field("Email", _F.EMAIL, length=80),
        Field("Phone", _F.PHONE, length=40),
        Field("Title", length=128),
        *_address("Mailing"),
        _external("Ext__c"),
        key_field="Ext__c",
    ),
    _object(
        "Opportunity",
        Field("Name", length=120, nillable=False),
        Field("StageName", _F.PICKLIST, nillable=False),
        replace(_date("CloseDate"), nillable=False),
        replace(_lookup("AccountId", "Account", "Opportunities"), on_delete=OnDelete.CASCADE),
        _OWNER,
        _create_only(_lookup("ContactId", "Contact")),
        _CURRENCY,
        _money("Amount"),
        Field("Probability", _F.PERCENT, precision=3, scale=0),
        Field("ForecastCategoryName", _F.PICKLIST, length=40),
        replace(_lookup("Pricebook2Id", "Pricebook2"), on_delete=OnDelete.RESTRICT),
        Field("Type", _F.PICKLIST),
        Field("LeadSource", _F.PICKLIST),
        Field("NextStep"),
        Field("Description", _F.TEXTAREA, length=32000),
        _ro(_flag("IsClosed")),
        _ro(_flag("IsWon")),
        _ro(_flag("HasOpportunityLineItem")),
        _ro(Field("TotalOpportunityQuantity", _F.DOUBLE)),
        _ro(_money("ExpectedRevenue")),
        _ro(Field("LastStageChangeDate", _F.DATETIME)),
        _ro(Field("FiscalYear", _F.INT)),
        Field("Deal_Kind__c", _F.PICKLIST),
        _date("Contract_Signed_Date__c"),
        _date("Signature_Waiver_Until__c"),
        _money("Contract_Amount__c"),
        _date("Contract_Start__c"),
        _date("Contract_End__c"),
        Field("Payment_Terms__c"),
        Field("Client_PO__c"),
        Field("Legal_Entity__c", _F.PICKLIST),
        Field("Delivery_Template__c", _F.PICKLIST),
        Field("Project_Manager_Email__c", _F.EMAIL, length=80),
        Field("ERP_Customer_Id__c"),
        Field("ERP_Project_Id__c"),
        Field("PSA_Project_Id__c"),
        Field("Integration_Status__c"),
        *(_money(f"Dealthread_{name}__c") for name in SHOWN_AMOUNTS),
        Field("Dealthread_Margin__c", _F.PERCENT, precision=5),
        Field("Dealthread_Invoice_Status__c"),
        _date("Dealthread_As_Of__c"),
        Field("Seed_Slug__c"),
        _external("Ext__c"),
        plural="Opportunities",
        key_field="Ext__c",
    ),
    _object(
        "OpportunityLineItem",
        _part_of("OpportunityId", "Opportunity", "OpportunityLineItems"),
        _create_only(
            replace(
                _lookup("PricebookEntryId", "PricebookEntry", "OpportunityLineItems"),
                on_delete=OnDelete.RESTRICT,
            )
        ),
        _create_only(replace(_lookup("Product2Id", "Product2"), on_delete=OnDelete.RESTRICT)),
        Field("Quantity", _F.DOUBLE, nillable=False),
        _money("UnitPrice"),
        _money("TotalPrice"),
        Field("Discount", _F.PERCENT, precision=5),
        _date("ServiceDate"),
        Field("Description"),
        Field("SortOrder", _F.INT),
        _ro(Field("Name", length=376)),
        _ro(Field("ProductCode")),
        _ro(_money("ListPrice")),
        _ro(_money("Subtotal")),
        _ro(_CURRENCY),
        _ro(_flag("HasQuantitySchedule")),
        _ro(_flag("HasRevenueSchedule")),
        _ro(_flag("HasSchedule")),
        Field("Contract_Line_Type__c", _F.PICKLIST),
        Field("Legal_Entity__c", _F.PICKLIST),
        Field("Tax_Category__c", _F.PICKLIST),
        _money("Cap_Amount__c"),
        _external("Ext__c"),
        key_field="Ext__c",
    ),
    _object(
        "OpportunityLineItemSchedule",
        _part_of("OpportunityLineItemId", "OpportunityLineItem", "OpportunityLineItemSchedules"),
        Field("Type", _F.PICKLIST, nillable=False, values=("Quantity", "Revenue", "Both")),
        replace(_date("ScheduleDate"), nillable=False),
        _money("Revenue"),
        Field("Quantity", _F.DOUBLE),
        Field("Description", length=80),
        _ro(_CURRENCY),
        _external("Ext__c"),
        key_field="Ext__c",
    ),
    _object(
        "OpportunityContactRole",
        _part_of("OpportunityId", "Opportunity", "OpportunityContactRoles"),
        replace(
            _create_only(_lookup("ContactId", "Contact", "OpportunityContactRoles", False)),
            on_delete=OnDelete.CASCADE,
        ),
        Field("Role", _F.PICKLIST, length=40),
        _flag("IsPrimary"),
        _ro(_CURRENCY),
    ),
    _object(
        "Product2",
        Field("Name", nillable=False),
        Field("ProductCode"),
        Field("Description", _F.TEXTAREA, length=4000),
        Field("Family", _F.PICKLIST),
        _flag("IsActive"),
        _flag("CanUseRevenueSchedule"),
        _flag("CanUseQuantitySchedule"),
        _CURRENCY,
        _external("Ext__c"),
        key_field="Ext__c",
    ),
    _object(
        "Pricebook2",
        Field("Name", nillable=False),
        Field("Description"),
        _flag("IsActive"),
        _ro(_flag("IsStandard")),
    ),
    _object(
        "PricebookEntry",
        _part_of("Pricebook2Id", "Pricebook2", "PricebookEntries"),
        _part_of("Product2Id", "Product2", "PricebookEntries"),
        replace(_money("UnitPrice"), nillable=False),
        _flag("IsActive"),
        _create_only(_CURRENCY),
        _ro(Field("Name")),
        _ro(Field("ProductCode")),
        plural="PricebookEntries",
    ),
    _object(
        "Case",
        _ro(Field("CaseNumber", length=30)),
        replace(_lookup("AccountId", "Account", "Cases"), on_delete=OnDelete.RESTRICT),
        _lookup("ContactId", "Contact", "Cases"),
        _OWNER,
        Field("Subject"),
        Field("Description", _F.TEXTAREA, length=32000),
        Field("Status", _F.PICKLIST, values=CASE_STATUSES, nillable=False, default="New"),
        Field("Type", _F.PICKLIST),
        Field("Reason", _F.PICKLIST),
        Field("Origin", _F.PICKLIST),
        Field("Priority", _F.PICKLIST, default="Medium"),
        _ro(_flag("IsClosed")),
        _ro(Field("ClosedDate", _F.DATETIME)),
        _CURRENCY,
    ),
)

CATALOG = {kind.name: kind for kind in _OBJECTS}
"""Every object by its API name."""

_BY_LOWER_NAME = {name.lower(): kind for name, kind in CATALOG.items()}


def find_object(name: str) -> SObject | None:
    """Return an object type, its name in any case."""
    return _BY_LOWER_NAME.get(name.lower())


def _children() -> dict[str, tuple[Child, ...]]:
    found: dict[str, list[Child]] = {name: [] for name in CATALOG}
    for kind in _OBJECTS:
        for column in kind.fields:
            if column.refers_to:
                found[column.refers_to].append(Child(column.children, kind.name, column))
    return {name: tuple(children) for name, children in found.items()}


CHILDREN = _children()
"""The rows that look up to each object; those without a relationship name cannot be queried so."""
