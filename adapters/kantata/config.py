"""What an administrator says about a Kantata account: token, and the ids of its custom fields."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from adapters.settings import Strict, VendorSettings

ID = r"^[0-9]{1,18}$"
SERVICE = r"^[A-Za-z0-9_.-]{1,60}$"


class AccessToken(Strict):
    """The token of a dedicated administrator; it does not expire (vendor page section 2)."""

    token: SecretStr


class IntegrationKeyFields(Strict):
    """Ids of the custom text fields with the unique constraint (vendor page section 13).

    They make the server refuse a second record with the same key: the only real guard.
    """

    workspace: str = Field("31", pattern=ID)
    workspace_group: str = Field("32", pattern=ID)
    story: str = Field("33", pattern=ID)


class KantataConfig(VendorSettings):
    """One Kantata account."""

    auth: AccessToken
    integration_key_fields: IntegrationKeyFields = IntegrationKeyFields()
    key_service: str = Field("dealthread-saga", pattern=SERVICE)
    """Service name of the external references that carry our keys."""
    erp_service: str = Field("dealthread-erp", pattern=SERVICE)
    """Service name of those that carry the ERP's project ids."""
    billing_service: str = Field("dealthread-billing", pattern=SERVICE)
    """Service name of those on the draft invoices that reserve entries."""
    payment_schedule_days: int = Field(30, ge=0, le=365)
    """Of those drafts, since Kantata wants it; the real terms are the ERP's."""

    @model_validator(mode="after")
    def _services_differ(self) -> Self:
        # A subject has one reference per service (section 5): the note would replace our key.
        if len({self.key_service, self.erp_service, self.billing_service}) < 3:
            raise ValueError("key_service, erp_service and billing_service must differ")
        return self
