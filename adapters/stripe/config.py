"""What an administrator says about a Stripe account: its key, and its own record ids."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, field_validator

from adapters.settings import Strict, VendorSettings

ID = r"^[A-Za-z0-9_]{1,255}$"


class ApiKey(Strict):
    """A secret (`sk_`) or restricted (`rk_`) key (vendor page 1)."""

    api_key: SecretStr


class StripeConfig(VendorSettings):
    """One Stripe account, in live or in test mode: the key decides."""

    auth: ApiKey
    api_version: str = Field("2026-10-28.endive", pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[a-z.]*$")
    """Sent with every call: what an invoice looks like depends on it (vendor page 1)."""
    time_zone: str = "UTC"
    """The account's time zone: Stripe keeps seconds where we mean days."""
    product: str = Field("", pattern=r"^$|" + ID)
    """Product of lines with a price per unit; without one they show their amount alone."""
    tax_rates: Mapping[str, tuple[str, ...]] = {}
    """Tax category of a contract line -> ids of Stripe's tax rates; none for an empty tuple."""
    automatic_tax: bool = False
    """Stripe Tax decides; a category without rates is then no mistake."""
    voids: bool = True
    """False where issued invoices are not to be voided but credited alone."""
    search: bool = True
    """False where the account has no search (India): then all customers are listed."""

    @field_validator("time_zone")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is no time zone, such as Europe/Zurich")
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The account's time zone."""
        return ZoneInfo(self.time_zone)
