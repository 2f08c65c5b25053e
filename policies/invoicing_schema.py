"""The shape of `invoicing.yaml`: how drafts are made, reviewed, released and posted, by company."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from policies.schema_types import Code, Currency, RecordId, Seconds, Strict

Amount = Annotated[Decimal, Field(ge=0, max_digits=18)]
TaxPercent = Annotated[Decimal, Field(ge=0, le=100)]
Limits = dict[Currency, Amount]


class GroupBy(StrEnum):
    """What one invoice holds, within one client, entity, currency and client PO."""

    PROJECT = "project"
    CLIENT = "client"
    CLIENT_PO = "client_po"
    CONTRACT_LINE = "contract_line"


class Timing(StrEnum):
    """When what was handed over is drafted."""

    AT_ONCE = "at_once"
    AT_CUTOFF = "at_cutoff"
    """When its billing period closes; what comes later at once."""


class PriorUnpaid(StrEnum):
    """What an unpaid earlier invoice of the same contract line does to the next milestone."""

    IGNORE = "ignore"
    WARN = "warn"
    BLOCK = "block"


class ReviewTerms(Strict):
    """The review by the project's manager."""

    required: bool = True
    within_seconds: Seconds = 259_200.0
    """After that it escalates to the delegate, or to finance where there is none."""
    reviewer: str = ""
    """Name, as in `[people]`, of who reviews where no lead of the project is among them."""
    delegate: str = ""
    """Name, as in `[people]`, of who reviews what is overdue."""
    skip_clients: tuple[RecordId, ...] = ()
    """Clients of the CRM whose drafts go to the billing queue at once."""


class EntityInvoicing(Strict):
    """How a legal entity invoices."""

    group_by: GroupBy = GroupBy.PROJECT
    clients: dict[RecordId, GroupBy] = {}
    """Grouping of single clients, by CRM id."""
    time: Timing = Timing.AT_CUTOFF
    fees: Timing = Timing.AT_ONCE
    payment_days: Annotated[int, Field(ge=0, le=365)] = 30
    review: ReviewTerms = ReviewTerms()
    unpaid_prior: PriorUnpaid = PriorUnpaid.WARN
    po_required: bool = False
    """A draft without a client PO is not released."""
    void_allowed: bool = False
    """An issued invoice may be voided while its period is open; otherwise it is credited."""
    expected_tax: dict[Code, TaxPercent] = {}
    """By tax category: what is estimated on drafts; the issuing system's tax is final."""
    tax_tolerance: Amount = Decimal("0.05")
    """How far estimated and final tax of an invoice may differ before somebody looks."""


class RoleLimits(Strict):
    """How much a role may decide on at once; a currency that is not named has limit zero."""

    release: Limits | Literal["unlimited"]
    """Gross total of a draft, its siblings of a split included."""
    write_off: Limits | Literal["unlimited"] = {}
    """Net total written down or off one draft."""


class MilestoneRules(Strict):
    """What has to hold before a milestone may be invoiced."""

    in_sequence: bool = True
    """Every earlier milestone of its contract line is handed over, drafted or invoiced."""
    acceptance_over: Limits = {}
    """From this amount on the client's acceptance is wanted as evidence; by currency."""


class Invoicing(Strict):
    """The file `invoicing.yaml`."""

    entities: dict[Code, EntityInvoicing] = Field(min_length=1)
    limits: dict[Literal["operator", "finance", "controller", "admin"], RoleLimits] = {}
    milestones: MilestoneRules = MilestoneRules()


def invoicing_disagreements(
    invoicing: Invoicing, categories: Mapping[str, tuple[str, ...] | None]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where `invoicing.yaml` contradicts the legal entities and their tax categories.

    None: what an entity sells under is not known; `tax.yaml` is told of that.
    """
    known = ", ".join(sorted(categories))
    for code in sorted(categories.keys() - invoicing.entities.keys()):
        yield ("invoicing", "entities"), f"{code} is missing; needed: {known}"
    for code, terms in invoicing.entities.items():
        if code not in categories:
            text = f"there is no legal entity {code}; allowed: {known}"
            yield ("invoicing", "entities", code), text
            continue
        sold = categories[code]
        for category in terms.expected_tax:
            if sold is not None and category not in sold:
                allowed = ", ".join(sold)
                where = ("invoicing", "entities", code, "expected_tax", category)
                yield where, f"{code} does not sell under it; allowed: {allowed}"
