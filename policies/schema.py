"""The shape of the policy bundle: one strict model per YAML file, and how the files must agree.

Reading files and naming lines is the work of `policies.bundle` (DESIGN 10).
"""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from canonical.deal import ContractLineType
from canonical.ids import Role
from canonical.provisioning import BillingType, Dimensions
from policies.alerting import Alerting
from policies.billing_schema import Billing, billing_disagreements
from policies.invoicing_schema import Invoicing, invoicing_disagreements
from policies.reconciling_schema import Reconciling
from policies.schema_types import (
    Code,
    ConnectionName,
    Country,
    Currency,
    Name,
    OptionalRecordId,
    RecordId,
    Seconds,
    Strict,
)
from policies.stuck import StuckRules


class PostalAddress(Strict):
    """Where a legal entity receives post; its country is the entity's."""

    street: str = ""
    city: str = ""
    postal_code: str = ""
    region: str = ""


class LegalEntity(Strict):
    """A company of the firm that sells and delivers."""

    name: Name
    country: Country
    currency: Currency
    erp: ConnectionName
    """Name of the ERP connection that keeps its books."""
    subsidiary: RecordId
    """Its id there."""
    location: OptionalRecordId = ""
    """ERP id of the location dimension that its projects post to."""
    payment_terms: Code = "NET30"
    """The entity's standard; other terms go to the finance gate."""
    sells_in: tuple[Currency, ...] = Field(min_length=1)
    address: PostalAddress | None = None
    """As its invoices print it."""
    tax_id: Annotated[str, Field(max_length=64)] = ""
    """Its number for VAT or sales tax, printed on its invoices."""
    payment_instructions: Annotated[str, Field(max_length=1_000)] = ""
    """Bank and account, printed on its invoices; text, of several lines where wanted."""


class TaxJurisdiction(Strict):
    """What a legal entity may sell under which tax category."""

    categories: tuple[Code, ...] = Field(min_length=1)
    tax_id_required: bool = True
    """Whether a client without a tax id goes to the finance gate."""


class Template(Strict):
    """How a delivery template of the CRM looks in PSA and ERP."""

    psa: RecordId
    """Id of the project template in the PSA."""
    department: OptionalRecordId = ""
    business_class: OptionalRecordId = ""


class ContractType(Strict):
    """The rules of one type of contract line."""

    billing: BillingType
    """How an ERP project bills that has lines of this type alone."""
    billable: bool = True
    end_required: bool = False
    milestones_allowed: bool = False


class ContractTypes(Strict):
    """All types, and how a project bills that mixes them."""

    types: dict[ContractLineType, ContractType]
    mixed: BillingType


class Approvals(Strict):
    """When finance has to approve before delivery starts."""

    new_client: bool = False
    value_over: dict[Currency, Annotated[Decimal, Field(ge=0)]] = {}
    """By currency; empty means that no value needs approval."""
    respond_seconds: Seconds = 86_400.0


class Budget(Strict):
    """Time limits of the calls to one role; see `canonical.saga.Route`."""

    budget_seconds: Seconds = 300.0
    attempt_seconds: Annotated[float, Field(ge=5, le=3600)] = 90.0
    retry_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    settle_seconds: Seconds = 10.0
    slow_retry_seconds: Annotated[float, Field(ge=1)] = 900.0
    respond_seconds: Annotated[float, Field(ge=60)] = 86_400.0
    roll_back_when_overdue: bool = False


class Routing(Strict):
    """Which PSA delivers the deals of a CRM, who keeps the people, who bills beside the ERP."""

    psa: ConnectionName
    hcm: ConnectionName | Literal[""] = ""
    billing_engine: ConnectionName | Literal[""] = ""


class Head(Strict):
    """The file `bundle.yaml`."""

    effective: date
    """The first day on which this bundle decides."""


class Policies(Strict):
    """All files of a bundle: each field but `effective` is the file of its name."""

    effective: date
    legal_entities: dict[Code, LegalEntity] = Field(min_length=1)
    tax: dict[Code, TaxJurisdiction]
    templates: dict[Code, Template] = Field(min_length=1)
    contract_types: ContractTypes
    rate_cards: dict[Currency, RecordId]
    approvals: Approvals
    budgets: dict[Role, Budget]
    routing: Routing
    billing: Billing
    invoicing: Invoicing
    stuck: StuckRules
    reconciling: Reconciling
    alerts: Alerting

    def dimensions(self, entity: str, template: str) -> Dimensions:
        """Return what an entity's project of this template posts to."""
        chosen = self.templates[template]
        return Dimensions(
            department=chosen.department,
            business_class=chosen.business_class,
            location=self.legal_entities[entity].location,
        )


FieldPath: TypeAlias = tuple[str, ...]
"""Where something stands: the file first, then the keys down to it."""


def disagreements(
    entities: Mapping[str, LegalEntity] | None,
    tax: Mapping[str, TaxJurisdiction] | None,
    rate_cards: Mapping[str, str] | None,
    approvals: Approvals | None,
    billing: Billing | None,
    invoicing: Invoicing | None = None,
) -> Iterator[tuple[FieldPath, str]]:
    """Yield where files contradict each other; None is a file that could not be read."""
    if entities is None:
        return
    codes = ", ".join(sorted(entities))
    for code in tax or {}:
        if code not in entities:
            yield ("tax", code), f"there is no legal entity {code}; allowed: {codes}"
    for code in entities:
        if tax is not None and code not in tax:
            yield ("legal_entities", code), f"tax.yaml has no entry for {code}"
    yield from _unpriced(entities, rate_cards, approvals)
    sold = {currency for entity in entities.values() for currency in entity.sells_in}
    for currency in rate_cards or {}:
        if currency not in sold:
            allowed = ", ".join(sorted(sold))
            yield ("rate_cards", currency), f"no legal entity sells in it; allowed: {allowed}"
    if billing is not None:
        yield from billing_disagreements(billing, frozenset(entities), frozenset(sold))
    if invoicing is not None:
        sells = {code: tax[code].categories if tax and code in tax else None for code in entities}
        yield from invoicing_disagreements(invoicing, sells)


def _unpriced(
    entities: Mapping[str, LegalEntity],
    rate_cards: Mapping[str, str] | None,
    approvals: Approvals | None,
) -> Iterator[tuple[FieldPath, str]]:
    """Yield the currencies that an entity sells in, but for which there is no price or limit."""
    limits = approvals.value_over if approvals else {}
    sold = ((code, each) for code, entity in entities.items() for each in entity.sells_in)
    for code, currency in sold:
        field = ("legal_entities", code, "sells_in")
        if rate_cards is not None and currency not in rate_cards:
            cards = ", ".join(sorted(rate_cards)) or "none"
            yield field, f"rate_cards.yaml has no card for {currency}; allowed: {cards}"
        if limits and currency not in limits:
            # A limit forgotten for one currency would let any value through unseen.
            yield field, f"approvals.yaml has limits in value_over, but none for {currency}"
