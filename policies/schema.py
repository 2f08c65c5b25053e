"""The shape of the policy bundle: one strict model per YAML file (DESIGN 10)."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from babel import Locale
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from canonical.deal import ContractLineType
from canonical.ids import Role
from canonical.money import minor_digits
from canonical.provisioning import BillingType, Dimensions

_TERRITORIES = Locale("en").territories


def _known_currency(code: str) -> str:
    if minor_digits(code) is None:
        raise ValueError(f"{code!r} is no ISO 4217 currency")
    return code


def _known_country(code: str) -> str:
    if len(code) != 2 or code not in _TERRITORIES:
        raise ValueError(f"{code!r} is no ISO 3166-1 alpha-2 country")
    return code


Currency = Annotated[str, AfterValidator(_known_currency)]
Country = Annotated[str, AfterValidator(_known_country)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
Seconds = Annotated[float, Field(ge=0, le=31 * 86_400)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LegalEntity(_Strict):
    """A company of the firm that sells and delivers."""

    name: str
    country: Country
    currency: Currency
    erp: str
    """Name of the ERP connection that keeps its books."""
    subsidiary: str
    """Its id there."""
    location: str = ""
    """ERP id of the location dimension that its projects post to."""
    payment_terms: str = "NET30"
    """The entity's standard; other terms go to the finance gate."""
    sells_in: tuple[Currency, ...]


class TaxJurisdiction(_Strict):
    """What a legal entity may sell under which tax category."""

    categories: tuple[str, ...] = Field(min_length=1)
    tax_id_required: bool = True
    """Whether a client without a tax id goes to the finance gate."""


class Template(_Strict):
    """How a delivery template of the CRM looks in PSA and ERP."""

    psa: str
    """Id of the project template in the PSA."""
    department: str = ""
    business_class: str = ""


class ContractType(_Strict):
    """The rules of one type of contract line."""

    billing: BillingType
    """How an ERP project bills that has lines of this type alone."""
    billable: bool = True
    end_required: bool = False
    milestones_allowed: bool = False


class ContractTypes(_Strict):
    """All types, and how a project bills that mixes them."""

    types: dict[ContractLineType, ContractType]
    mixed: BillingType


class Approvals(_Strict):
    """When finance has to approve before delivery starts."""

    new_client: bool = False
    value_over: dict[Currency, Decimal] = {}
    respond_seconds: Seconds = 86_400.0


class Budget(_Strict):
    """Time limits of the calls to one role; see `canonical.saga.Route`."""

    budget_seconds: Seconds = 300.0
    attempt_seconds: Annotated[float, Field(ge=5, le=3600)] = 90.0
    retry_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    settle_seconds: Seconds = 10.0
    slow_retry_seconds: Annotated[float, Field(ge=1)] = 900.0
    respond_seconds: Annotated[float, Field(ge=60)] = 86_400.0
    roll_back_when_overdue: bool = False


class Routing(_Strict):
    """Which PSA delivers the deals of a CRM."""

    psa: str


class Policies(_Strict):
    """All files of a bundle."""

    effective: date
    legal_entities: dict[Code, LegalEntity] = Field(min_length=1)
    tax: dict[Code, TaxJurisdiction]
    templates: dict[Code, Template] = Field(min_length=1)
    contract_types: ContractTypes
    rate_cards: dict[Currency, str]
    approvals: Approvals = Approvals()
    budgets: dict[Role, Budget]
    routing: Routing

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        problems = [
            f"tax.{code}: there is no legal entity {code}"
            for code in self.tax
            if code not in self.legal_entities
        ]
        for code, entity in self.legal_entities.items():
            if code not in self.tax:
                problems.append(f"legal_entities.{code}: tax has no entry for it")
            problems += [
                f"legal_entities.{code}.sells_in: rate_cards has none for {currency}"
                for currency in entity.sells_in
                if currency not in self.rate_cards
            ]
        problems += [f"budgets: {role} is missing" for role in Role if role not in self.budgets]
        problems += [
            f"contract_types.types: {type_} is missing"
            for type_ in ContractLineType
            if type_ not in self.contract_types.types
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def dimensions(self, entity: str, template: str) -> Dimensions:
        """Return what an entity's project of this template posts to."""
        chosen = self.templates[template]
        return Dimensions(
            department=chosen.department,
            business_class=chosen.business_class,
            location=self.legal_entities[entity].location,
        )
