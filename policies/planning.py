"""Every request of OpportunityToProject, computed up front from one deal and one bundle."""

from datetime import date
from decimal import Decimal
from typing import Final

from canonical.deal import ContractLineType, Deal, DealClient, DealLine, DealLinks
from canonical.ids import Role, client_key
from canonical.money import Money
from canonical.opportunity import OpportunityToProjectPlan
from canonical.provisioning import (
    AddClientCurrency,
    AddClientEntity,
    BillingType,
    Dimensions,
    LinkErpProject,
    LinkPsaProject,
    MatchClient,
    MilestoneTask,
    OpenForTime,
    PlannedMilestone,
    PlannedTask,
    ProvisionClient,
    ProvisionErpProject,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
    WriteBack,
)
from canonical.saga import Route
from policies.bundle import Bundle
from policies.corrections import apply_corrections, check_corrections
from policies.fingerprint import with_hashes
from policies.validation import check_ready, has_control_characters, plausible_tax_id

STATUS_PROVISIONED: Final = "Provisioned"
TITLE_LENGTH_MAX: Final = 200


def plan_opportunity(
    deal: Deal, bundle: Bundle, *, corrections: dict[str, str], today: date
) -> OpportunityToProjectPlan:
    """Return the plan of a deal that is ready.

    Raises:
        StepFailed: what is wrong with the deal or with the corrections, naming the field.
    """
    check_corrections(corrections)
    deal = apply_corrections(deal, corrections)
    check_ready(deal, bundle, today)
    return with_hashes(_Planner(deal, bundle, corrections).plan())


class _Planner:
    """Builds the requests of one deal; everything it reads has been checked."""

    def __init__(self, deal: Deal, bundle: Bundle, corrections: dict[str, str]) -> None:
        self._deal = deal
        self._bundle = bundle
        self._corrections = corrections
        self._policies = bundle.policies
        # The whole id: 15-character ids of Salesforce differ by case alone, other systems do not.
        self._code = f"P-{deal.id}"
        self._entities = tuple(dict.fromkeys(self._entity(line) for line in deal.lines))
        self._erps = tuple(dict.fromkeys(bundle.erp_connection(code) for code in self._entities))

    def plan(self) -> OpportunityToProjectPlan:
        """Return the whole plan, without its hashes."""
        deal, psa = self._deal, self._bundle.psa_connection
        client = self._client()
        value = self._money(deal.amount)
        return OpportunityToProjectPlan(
            bundle=self._bundle.hash,
            title=deal.name,
            client_id=client.id,
            project_code=self._code,
            legal_entities=self._entities,
            amount=str(value),
            routes=self._routes(psa),
            deal_id=deal.id,
            deal_version=deal.version,
            matches=tuple(self._match(erp, client) for erp in self._erps),
            clients=tuple(self._new_client(erp, client) for erp in self._erps),
            client_entities=tuple(self._client_entity(code, client) for code in self._entities),
            client_currencies=tuple(
                AddClientCurrency(
                    connection=erp,
                    item=erp,
                    client_key=self._client_key(client),
                    currency=deal.currency,
                )
                for erp in self._erps
            ),
            erp_projects=tuple(self._erp_project(code) for code in self._entities),
            psa_client=ProvisionPsaClient(
                connection=psa,
                client_key=self._client_key(client),
                name=client.name,
                billing_email=client.billing_email,
                address=client.address,
            ),
            psa_project=self._psa_project(psa, value),
            tasks=ProvisionTasks(
                connection=psa,
                title="Contract lines",
                tasks=tuple(self._task(line) for line in deal.lines),
                milestones=tuple(
                    MilestoneTask(line=line.id, title=planned.title, due=planned.due)
                    for line in deal.lines
                    for planned in self._instalments(line)
                ),
            ),
            milestones=self._milestones(psa),
            link_psa_project=LinkPsaProject(connection=psa),
            link_erp_projects=tuple(
                LinkErpProject(connection=self._bundle.erp_connection(code), item=code)
                for code in self._entities
            ),
            write_back=WriteBack(
                connection=deal.crm,
                deal_id=deal.id,
                links=DealLinks(integration_status=STATUS_PROVISIONED),
            ),
            open_for_time=OpenForTime(connection=psa),
            gate_reasons=tuple(self._gate_reasons(client, value)),
            gate_new_client=self._policies.approvals.new_client,
            gate_respond_seconds=self._policies.approvals.respond_seconds,
        )

    def _entity(self, line: DealLine) -> str:
        return line.legal_entity or self._deal.legal_entity

    def _client(self) -> DealClient:
        if self._deal.client is None:
            raise RuntimeError("a deal without a client passed validation")
        return self._deal.client

    def _client_key(self, client: DealClient) -> str:
        return client_key(self._deal.crm, client.id)

    def _money(self, amount: Decimal | None) -> Money:
        """Return an amount that was found exact; 75000.0 and 75000.00 give one hash."""
        return Money.rounded(amount or Decimal(0), self._deal.currency)

    def _routes(self, psa: str) -> dict[str, Route]:
        wanted = [(Role.CRM, self._deal.crm), (Role.PSA, psa)]
        wanted += [(Role.ERP, erp) for erp in self._erps]
        return {name: self._bundle.route(role, name) for role, name in wanted}

    def _first_entity(self, erp: str) -> str:
        return next(c for c in self._entities if self._bundle.erp_connection(c) == erp)

    def _match(self, erp: str, client: DealClient) -> MatchClient:
        entity = self._policies.legal_entities[self._first_entity(erp)]
        return MatchClient(
            connection=erp,
            item=erp,
            client_key=self._client_key(client),
            name=client.name,
            tax_id=client.tax_id,
            country=client.address.country,
            subsidiary=entity.subsidiary,
            currency=self._deal.currency,
            payment_terms=self._deal.payment_terms,
        )

    def _new_client(self, erp: str, client: DealClient) -> ProvisionClient:
        entity = self._policies.legal_entities[self._first_entity(erp)]
        return ProvisionClient(
            connection=erp,
            item=erp,
            client_key=self._client_key(client),
            name=client.name,
            tax_id=client.tax_id,
            billing_email=client.billing_email,
            address=client.address,
            subsidiary=entity.subsidiary,
            currency=self._deal.currency,
            payment_terms=self._deal.payment_terms,
        )

    def _client_entity(self, code: str, client: DealClient) -> AddClientEntity:
        return AddClientEntity(
            connection=self._bundle.erp_connection(code),
            item=code,
            client_key=self._client_key(client),
            subsidiary=self._policies.legal_entities[code].subsidiary,
        )

    def _erp_project(self, code: str) -> ProvisionErpProject:
        deal, entity = self._deal, self._policies.legal_entities[code]
        lines = [line for line in deal.lines if self._entity(line) == code]
        total = sum((line.amount for line in lines if line.amount is not None), Decimal(0))
        return ProvisionErpProject(
            connection=self._bundle.erp_connection(code),
            item=code,
            name=deal.name,
            code=f"{self._code}-{code}",
            subsidiary=entity.subsidiary,
            price=self._money(total),
            billing_type=self._billing(lines),
            dimensions=self._dimensions(code),
            start=deal.start or date.min,
            end=deal.end,
        )

    def _billing(self, lines: list[DealLine]) -> BillingType:
        rules = self._policies.contract_types
        types = {ContractLineType(line.type) for line in lines}
        return rules.types[types.pop()].billing if len(types) == 1 else rules.mixed

    def _dimensions(self, code: str) -> Dimensions:
        planned = self._policies.dimensions(code, self._deal.template)
        given: dict[str, str] = {
            name: self._corrections[name]
            for name in ("department", "business_class", "location")
            if name in self._corrections
        }
        return planned.model_copy(update=given)

    def _psa_project(self, psa: str, value: Money) -> ProvisionPsaProject:
        deal = self._deal
        return ProvisionPsaProject(
            connection=psa,
            name=deal.name,
            code=self._code,
            price=value,
            start=deal.start or date.min,
            end=deal.end,
            template=self._policies.templates[deal.template].psa,
            rate_card=self._corrections.get("rate_card", self._policies.rate_cards[deal.currency]),
            manager_email=deal.project_manager_email,
        )

    def _task(self, line: DealLine) -> PlannedTask:
        type_ = ContractLineType(line.type)
        return PlannedTask(
            ref=line.id,
            title=_one_line(line.title) or _one_line(line.offering) or line.id,
            type=type_,
            billable=self._policies.contract_types.types[type_].billable,
            budget=self._money(line.amount),
            start=self._deal.start,
            due=self._deal.end,
            cap=None if line.cap is None else self._money(line.cap),
            legal_entity=self._entity(line),
            tax_category=line.tax_category,
            client_po=self._deal.client_po,
        )

    def _milestones(self, psa: str) -> ProvisionMilestones | None:
        planned = tuple(each for line in self._deal.lines for each in self._instalments(line))
        return ProvisionMilestones(connection=psa, milestones=planned) if planned else None

    def _instalments(self, line: DealLine) -> list[PlannedMilestone]:
        return [
            PlannedMilestone(
                ref=f"{line.id}/{milestone.id}",
                title=_one_line(milestone.title) or f"Milestone {number}",
                amount=self._money(milestone.amount),
                due=milestone.due,
            )
            for number, milestone in enumerate(line.milestones, 1)
        ]

    def _gate_reasons(self, client: DealClient, value: Money) -> list[str]:
        reasons = []
        limit = self._policies.approvals.value_over.get(value.currency)
        if limit is not None and value.amount > limit:
            reasons.append(f"value {value} is over {limit:,} {value.currency}")
        for code in self._entities:
            standard = self._policies.legal_entities[code].payment_terms
            if self._deal.payment_terms != standard:
                reasons.append(f"terms {self._deal.payment_terms} are not {code}'s {standard}")
        required = any(self._policies.tax[code].tax_id_required for code in self._entities)
        if required and not client.tax_id:
            reasons.append("the client has no tax id")
        elif client.tax_id and not plausible_tax_id(client.tax_id, client.address.country):
            reasons.append("the client's tax id cannot be one of its country")
        return reasons


def _one_line(text: str) -> str:
    """Return a description as a title: one line, without control characters, bounded."""
    visible = "".join(" " if has_control_characters(character) else character for character in text)
    return " ".join(visible.split())[:TITLE_LENGTH_MAX].strip()
