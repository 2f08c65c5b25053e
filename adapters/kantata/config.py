"""What an administrator says about a Kantata account: token, custom fields, milestone evidence."""

from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator

from adapters.settings import Strict, VendorSettings

ID = r"^[0-9]{1,18}$"
OPTIONAL_ID = r"^[0-9]{0,18}$"
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


class ApprovedWhen(StrEnum):
    """What approves a billing milestone; Kantata has no such state (vendor page section 10.1)."""

    STORY_COMPLETED = "story_completed"
    """The task that it is tied to is completed."""
    DATE_REACHED = "date_reached"
    """Its invoice date has come, in UTC."""
    CUSTOM_FIELD = "custom_field"
    """A custom field of its task says so."""


class AcceptanceFrom(StrEnum):
    """Where the client's acceptance of a milestone is kept."""

    NONE = "none"
    CUSTOM_FIELD = "custom_field"
    """A custom field of its task."""
    ATTACHMENT = "attachment"
    """The newest file posted on its task."""


class MilestoneEvidence(Strict):
    """The evidence rule of the connection: when a milestone is approved, and what shows it."""

    approved_when: ApprovedWhen = ApprovedWhen.STORY_COMPLETED
    approved_field: str = Field("", pattern=OPTIONAL_ID)
    """Custom field of tasks; `custom_field` only."""
    approved_value: str = ""
    """What it shows once approved, in any case; empty: anything."""
    acceptance: AcceptanceFrom = AcceptanceFrom.NONE
    acceptance_field: str = Field("", pattern=OPTIONAL_ID)
    """Custom field of tasks; `custom_field` only."""

    @model_validator(mode="after")
    def _names_its_fields(self) -> Self:
        if self.approved_when is ApprovedWhen.CUSTOM_FIELD and not self.approved_field:
            raise ValueError("approved_when = custom_field needs approved_field")
        if self.acceptance is AcceptanceFrom.CUSTOM_FIELD and not self.acceptance_field:
            raise ValueError("acceptance = custom_field needs acceptance_field")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The custom fields of tasks that the rule reads."""
        return tuple(filter(None, (self.approved_field, self.acceptance_field)))


class KantataConfig(VendorSettings):
    """One Kantata account."""

    auth: AccessToken
    integration_key_fields: IntegrationKeyFields = IntegrationKeyFields()
    key_service: str = Field("dealthread-saga", pattern=SERVICE)
    """Service name of the external references that carry our keys."""
    erp_service: str = Field("dealthread-erp", pattern=SERVICE)
    """Service name of those that carry the ERP's project ids."""
    billing_service: str = Field("dealthread-billing", pattern=SERVICE)
    """Service name of those on draft invoices that reserve entries, on the invoices that mirror
    issued ones, and on billing milestones that are being billed."""
    payment_schedule_days: int = Field(30, ge=0, le=365)
    """Of drafts, since Kantata wants it; the real terms are the ERP's."""
    finance_field: str = Field("", pattern=OPTIONAL_ID)
    """Custom text field of projects that shows what was invoiced, is open and unbilled, and the
    margin; empty: Kantata shows none of it."""
    milestones: MilestoneEvidence = MilestoneEvidence()

    @model_validator(mode="after")
    def _services_differ(self) -> Self:
        # A subject has one reference per service (section 5): the note would replace our key.
        if len({self.key_service, self.erp_service, self.billing_service}) < 3:
            raise ValueError("key_service, erp_service and billing_service must differ")
        return self
