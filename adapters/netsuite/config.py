"""What an administrator says about a NetSuite account: host, sign-in, and its own record ids."""

from collections.abc import Mapping
from typing import Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from adapters.settings import Strict, VendorSettings
from canonical.provisioning import BillingType

ID = r"^[0-9]{1,18}$"
SCRIPT = r"^[A-Za-z0-9_]{1,100}$"
DateFormat = Literal[
    "M/D/YYYY", "D/M/YYYY", "D-M-YYYY", "D.M.YYYY", "D-Mon-YYYY", "YYYY/M/D", "YYYY-MM-DD"
]
DATE_FORMATS: Final[Mapping[DateFormat, str]] = {
    "M/D/YYYY": "%m/%d/%Y",
    "D/M/YYYY": "%d/%m/%Y",
    "D-M-YYYY": "%d-%m-%Y",
    "D.M.YYYY": "%d.%m.%Y",
    "D-Mon-YYYY": "%d-%b-%Y",
    "YYYY/M/D": "%Y/%m/%d",
    "YYYY-MM-DD": "%Y-%m-%d",
}
"""Date formats of Setup > Company > General Preferences."""


class TokenBased(Strict):
    """Token-based authentication: OAuth 1.0a, HMAC-SHA256 (vendor page 3.1)."""

    kind: Literal["token_based"] = "token_based"
    account: str
    """The realm: the account id, upper case, `_` before the suffix: `123456_SB1`."""
    consumer_key: SecretStr
    consumer_secret: SecretStr
    token_id: SecretStr
    token_secret: SecretStr


class ClientCredentials(Strict):
    """OAuth 2.0 client credentials with a certificate (vendor page 3.2)."""

    kind: Literal["client_credentials"] = "client_credentials"
    client_id: str
    certificate_id: str
    """`kid`: the Certificate ID of the M2M mapping page."""
    private_key: SecretStr
    algorithm: Literal["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"] = "PS256"


class Statuses(Strict):
    """Internal ids of the entity statuses that Dealthread sets."""

    client: str = Field("13", pattern=ID)
    project_open: str = Field("2", pattern=ID)
    project_closed: str = Field("1", pattern=ID)


class VoidScript(Strict):
    """The RESTlet that voids invoices; the customer's own script (vendor page 7)."""

    base_url: str
    """The account's RESTlet host: another one than that of the record service (section 2)."""
    script: str = Field(pattern=SCRIPT)
    deploy: str = Field(pattern=SCRIPT)


class DeliveryField(Strict):
    """The body field of invoices that says whether they reached the client.

    With the SuiteApp Electronic Invoicing that is the e-document status, or the network's, in
    `custbody_ei_network_status` (Oracle's help, E-Document Network Status). The values are lists of
    the account; those named neither here nor there say nothing.
    """

    field: str = Field("custbody_psg_ei_status", pattern=r"^custbody[a-z0-9_]{1,60}$")
    transmitted: frozenset[str] = frozenset({"Sent"})
    """Names or internal ids of the values of an invoice that reached the client's side."""
    rejected: frozenset[str] = frozenset({"Sending Failed"})

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if both := self.transmitted & self.rejected:
            raise ValueError(f"{sorted(both)[0]!r} is both transmitted and rejected")
        return self


class NetSuiteConfig(VendorSettings):
    """One NetSuite account. Ids are internal ids: account data, read them off the lists."""

    auth: TokenBased | ClientCredentials = Field(discriminator="kind")
    currencies: dict[str, str] = {"USD": "1", "EUR": "2", "GBP": "3", "JPY": "4", "KWD": "5"}
    """By ISO code."""
    terms: dict[str, str] = {"NET15": "1", "NET30": "2", "NET45": "3", "NET60": "4"}
    """By the name that deals use."""
    billing_types: dict[BillingType, str] = {
        BillingType.CHARGE_BASED: "1",
        BillingType.FIXED_BID_INTERVAL: "2",
        BillingType.FIXED_BID_MILESTONE: "3",
        BillingType.TIME_AND_MATERIALS: "4",
    }
    statuses: Statuses = Statuses()
    psa_project_field: str = Field(
        "custentity_dealthread_psa_project", pattern=r"^custentity[a-z0-9_]{1,60}$"
    )
    date_format: DateFormat = "M/D/YYYY"
    """In which SuiteQL shows dates (vendor page 4.3)."""
    charge_items: dict[str, str] = {"time": "301", "expense": "302"}
    """Service items that charges are billed with, by kind of charge."""
    charge_types: dict[str, str] = {"time": "1", "expense": "3"}
    """By kind of charge."""
    cost_item: str = Field("301", pattern=ID)
    """Service item of the time that is posted as cost."""
    expense_categories: dict[str, str] = {
        "Travel": "1",
        "Lodging": "2",
        "Meals": "3",
        "Mileage": "4",
        "Software": "5",
    }
    """By the PSA's category."""
    approval_routing: bool = False
    """Whether invoices wait for approval before they post: the account's own preference."""
    invoice_items: dict[str, str] = {"time": "301", "expense": "302", "fee": "410"}
    """Items of invoice lines by kind of line, or by `kind/tax category` where an item's own tax
    treatment is to decide."""
    invoice_item_field: str = Field("custcol_dealthread_item", pattern=r"^custcol[a-z0-9_]{1,60}$")
    """Custom column of item lines which holds our name of the line."""
    write_off_items: frozenset[str] = frozenset()
    """Items with which people write off by credit memo; likewise for tax withheld."""
    withholding_items: frozenset[str] = frozenset()
    void_script: VoidScript | None = None
    """Without it nothing is voided: REST has no such act (vendor page, 1)."""
    delivery: DeliveryField | None = None
    """None: the account does not say; a person does."""
    time_zone: str = "UTC"
    """In which SuiteQL shows times: that of the integration's user (unverified)."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is no time zone, such as America/New_York") from error
        return value
