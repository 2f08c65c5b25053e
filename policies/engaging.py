"""The engagement of a deal that OpportunityToProject provisioned: what billing begins with."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from canonical.deal import ContractLineType
from canonical.engagement import (
    BillRate,
    Cap,
    CapScope,
    ContractLine,
    Engagement,
    ExpenseRule,
    Multipliers,
    Retainer,
)
from canonical.opportunity import OpportunityToProjectPlan
from canonical.provisioning import PlannedTask, ProvisionErpProject
from canonical.records import Receipt
from policies.billing_schema import Billing, LineTerms
from policies.schema import Policies

_VALUED = frozenset({ContractLineType.FIXED_FEE, ContractLineType.OUTCOME_BASED})
"""Types of contract lines whose amount is the most that they bill."""


def engagement_of(
    plan: OpportunityToProjectPlan,
    policies: Policies,
    *,
    psa_project: Receipt,
    tasks: Receipt,
    erp_projects: Mapping[str, Receipt],
    clients: Mapping[str, Receipt],
) -> Engagement:
    """Return the engagement of a provisioned deal, in force from the contract's start.

    Args:
        plan: what was provisioned.
        policies: the bundle's: rates, billing method and increments that lines begin with.
        psa_project: receipt of the PSA project.
        tasks: receipt of the tasks; its parts are in the order of the plan's, the tasks of
            milestones after those of the lines.
        erp_projects: receipts by legal entity.
        clients: receipts of the customers, by ERP connection.

    Raises:
        ValueError: the receipts are not those of the plan.
    """
    planned, milestones = plan.tasks.tasks, plan.tasks.milestones
    count = len(planned) + len(milestones)
    if len(tasks.parts) != count:
        text = f"{count} tasks were planned, and the PSA confirmed {len(tasks.parts)}"
        raise ValueError(f"{text}: the project's tasks have to be assigned by hand")
    of_milestones = list(zip(milestones, tasks.parts[len(planned) :], strict=True))
    start = plan.psa_project.start
    in_erp = {project.item: project for project in plan.erp_projects}
    lines = []
    for task, record in zip(planned, tasks.parts, strict=False):
        entity = _entity(plan, task)
        line = _line(task, entity, in_erp[entity], policies.billing, start)
        project = in_erp[entity]
        own = (part.id for milestone, part in of_milestones if milestone.line == task.ref)
        lines.append(
            line.model_copy(
                update={
                    "task_ids": (record.id, *own),
                    "erp_project_id": erp_projects[entity].record.id,
                    "erp_client_id": clients[project.connection].record.id,
                }
            )
        )
    billed = [line.ref for line in lines if line.type is ContractLineType.TIME_AND_MATERIALS]
    return Engagement(
        id=f"{plan.write_back.connection}/{plan.deal_id}",
        client_id=plan.client_id,
        title=plan.title,
        psa=plan.psa_project.connection,
        project_id=psa_project.record.id,
        effective_from=start,
        lines=tuple(lines),
        default_line=billed[0] if len(billed) == 1 else "",
    )


def _entity(plan: OpportunityToProjectPlan, task: PlannedTask) -> str:
    """Return who delivers a line; a plan made before lines said so tells only of a single one."""
    if task.legal_entity:
        return task.legal_entity
    if len(plan.legal_entities) == 1:
        return plan.legal_entities[0]
    raise ValueError(f"the plan does not say which legal entity delivers line {task.ref}")


def _line(
    task: PlannedTask, entity: str, project: ProvisionErpProject, billing: Billing, start: date
) -> ContractLine:
    terms = billing.lines.terms(task.type, entity)
    currency = task.budget.currency
    return ContractLine(
        ref=task.ref,
        title=task.title,
        type=task.type,
        currency=currency,
        legal_entity=entity,
        value=task.budget if task.type in _VALUED else None,
        rates=_rates(billing.standard_rates.get(currency, {}), start),
        caps=_caps(task, terms),
        retainer=_retainer(task, terms),
        client_po=task.client_po,
        tax_category=task.tax_category,
        dimensions=project.dimensions,
        erp=project.connection,
        **_given(terms),
    )


def _given(terms: LineTerms) -> dict[str, Any]:
    """Return what the terms say; what they leave out is as `ContractLine` has it."""
    given: dict[str, Any] = {
        "billing_method": terms.billing_method,
        "rating": terms.rating,
        "increment_minutes": terms.increment_minutes,
        "minimum_minutes": terms.minimum_minutes,
        "tolerance": terms.tolerance,
        "multipliers": terms.multipliers and Multipliers(**terms.multipliers.model_dump()),
        "expense_rules": terms.expense_rules
        and tuple(ExpenseRule(**rule.model_dump()) for rule in terms.expense_rules),
    }
    return {name: value for name, value in given.items() if value is not None}


def _rates(by_role: Mapping[str, Decimal], start: date) -> tuple[BillRate, ...]:
    return tuple(BillRate(role=role, rate=rate, valid_from=start) for role, rate in by_role.items())


def _caps(task: PlannedTask, terms: LineTerms) -> tuple[Cap, ...]:
    if task.cap is None:
        return ()
    given: dict[str, Any] = {"base": terms.cap_base, "warn_at_percent": terms.warn_at_percent}
    chosen = {name: value for name, value in given.items() if value is not None}
    return (Cap(id=f"cap-{task.ref}", scope=CapScope.LINE, amount=task.cap, **chosen),)


def _retainer(task: PlannedTask, terms: LineTerms) -> Retainer | None:
    if task.type is not ContractLineType.RETAINER:
        return None
    if terms.retainer_overage is None:
        return Retainer(balance=task.budget)
    return Retainer(balance=task.budget, overage=terms.retainer_overage)
