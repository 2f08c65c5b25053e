"""The projects of the billing bench: their contracts, their adjustments, what is approved on them.

The simulators' scenario `time` makes the approved entries: project by project another contract
shape (of five) and currency (of four), 500 time entries and expenses, every tenth hour not
billable, every 33rd by somebody of another company. The bench adds the contracts and adjustments.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import httpx
from pydantic import JsonValue

from bench.servers import Servers
from canonical.deal import ContractLineType
from canonical.engagement import (
    BillRate,
    Cap,
    CapBase,
    CapScope,
    ContractLine,
    Engagement,
    ExpenseRule,
    Retainer,
)
from canonical.entries import EntryKind, EntryRef
from canonical.money import Money
from canonical.provisioning import Dimensions
from policies.schema import Policies
from simulators.kantata.seed_time import FIRST_STORY, FIRST_WORKSPACE
from simulators.kit.control import Control

Fields = dict[str, JsonValue]

PSA, ERP = "kantata", "netsuite"
VENDORS = (PSA, ERP, "workday")
FIRST_JOB, FIRST_CLIENT = 7001, 6001
BLOCK = 20
"""So many projects in a row have every shape in every currency once."""
ADJUSTMENTS = 10
"""Of each project: 2% of its 500 entries, each five minutes less."""
ADJUSTED_MINUTES = 5
LEAST_MINUTES = 15
"""Of the entries that are adjusted."""
BULK = 100
"""Adjustments in one request of Kantata's."""

_CURRENCIES = (("USD", "US"), ("EUR", "DE"), ("GBP", "DE"), ("JPY", "JP"))
"""Of every fourth project, with the company that bills; as the simulators have them."""
_HOUR = {"USD": 200, "EUR": 185, "GBP": 160, "JPY": 24_000}
_CAP_HOURS = 800
"""A project of time and materials bills some 1,000 hours: the cap ends it before."""
_RETAINER_HOURS = 700
_FROM = date(2026, 1, 1)


@dataclass(frozen=True)
class Project:
    """One project by its number, from 0."""

    number: int

    @property
    def id(self) -> str:
        """Its id in the PSA."""
        return str(FIRST_WORKSPACE + self.number)

    def story(self, task: int) -> str:
        """Return a task's id: 0 billable work, 1 fixed scope, 2 travel, 3 not billable."""
        return str(FIRST_STORY + 10 * self.number + task)


def engagement(project: Project, policies: Policies, cap: str, sharing: int) -> Engagement:
    """Return a project's contract by its shape, the number's rest by five.

    Projects of time and materials in one currency share an engagement's cap: its name is `cap`,
    and `sharing` projects bill under it at once.
    """
    currency, entity = _CURRENCIES[project.number % len(_CURRENCIES)]
    shape = _SHAPES[project.number % len(_SHAPES)]
    lines = tuple(_line(project, kind, tasks, policies) for kind, tasks in shape)
    capped = [kind for kind, _ in shape] == [ContractLineType.TIME_AND_MATERIALS]
    ceiling = Decimal(_CAP_HOURS * _HOUR[currency] * sharing)
    fees = Cap(
        id="fees",
        scope=CapScope.ENGAGEMENT,
        base=CapBase.FEES,
        amount=Money(amount=ceiling, currency=currency),
    )
    return Engagement(
        id=f"bench/{cap}-{currency}" if capped else f"bench/{project.id}",
        client_id=f"client-{entity}-{currency}",
        title=f"Time project {project.number + 1:04}",
        psa=PSA,
        project_id=project.id,
        effective_from=_FROM,
        lines=lines,
        caps=(fees,) if capped else (),
    )


_TM, _FIXED = ContractLineType.TIME_AND_MATERIALS, ContractLineType.FIXED_FEE
_SHAPES: Sequence[Sequence[tuple[ContractLineType, tuple[int, ...]]]] = (
    ((_TM, (0, 2, 3)),),
    ((_FIXED, (1, 2, 3)),),
    ((ContractLineType.RETAINER, (0, 2, 3)),),
    ((ContractLineType.MANAGED_SERVICES, (0, 2, 3)),),
    ((_TM, (0, 2, 3)), (_FIXED, (1,))),
)


def _line(
    project: Project, kind: ContractLineType, tasks: Sequence[int], policies: Policies
) -> ContractLine:
    currency, code = _CURRENCIES[project.number % len(_CURRENCIES)]
    prepaid = Money(amount=Decimal(_RETAINER_HOURS * _HOUR[currency]), currency=currency)
    retained = kind is ContractLineType.RETAINER
    rates = policies.billing.standard_rates[currency]
    return ContractLine(
        ref=f"L-{kind}",
        title=str(kind).replace("_", " "),
        type=kind,
        currency=currency,
        legal_entity=code,
        rates=tuple(
            BillRate(rate=Decimal(rate), role=role, valid_from=_FROM)
            for role, rate in rates.items()
        ),
        expense_rules=(ExpenseRule(markup_percent=Decimal(5)),),
        retainer=Retainer(balance=prepaid) if retained else None,
        task_ids=tuple(project.story(task) for task in tasks),
        dimensions=Dimensions(
            department="10",
            business_class="20",
            location=policies.legal_entities[code].location,
        ),
        erp=ERP,
        erp_project_id=str(FIRST_JOB + project.number),
        erp_client_id=str(FIRST_CLIENT + project.number),
    )


async def seeded(servers: Servers, account: str, count: int) -> dict[str, list[EntryRef]]:
    """Fill an account with so many projects; return what is approved, by project id."""
    control = servers.control
    for vendor in (PSA, ERP):
        await control.seed("time", count=count, account=account, vendor=vendor)
    await control.seed("standard", account=account, vendor="workday")
    found: dict[str, list[EntryRef]] = {}
    long: dict[str, list[Fields]] = {}
    for type_, kind in (("time_entries", EntryKind.TIME), ("expenses", EntryKind.EXPENSE)):
        for record in await control.records(PSA, account, type=type_):
            fields = record["fields"]
            project = str(fields["workspace_id"])
            found.setdefault(project, []).append(EntryRef(kind=kind, id=record["id"]))
            minutes = fields.get("time_in_minutes")
            if fields.get("billable") and isinstance(minutes, int) and minutes >= LEAST_MINUTES:
                long.setdefault(project, []).append(fields)
    wanted = [
        _adjustment(entry)
        for entries in long.values()
        for entry in entries[:: len(entries) // ADJUSTMENTS][:ADJUSTMENTS]
    ]
    for project, ref in await _adjusted(servers, account, wanted):
        found[project].append(ref)
    return found


def _adjustment(entry: Fields) -> Fields:
    """Return what takes five minutes off a time entry."""
    return {
        "workspace_id": entry["workspace_id"],
        "user_id": entry["user_id"],
        "story_id": entry["story_id"],
        "role_id": entry["role_id"],
        "original_date": entry["date_performed"],
        "time": -ADJUSTED_MINUTES,
        "billable": True,
    }


async def _adjusted(
    servers: Servers, account: str, wanted: Sequence[Fields]
) -> list[tuple[str, EntryRef]]:
    """Create time adjustments in bulk, by the vendor's own API: with projects, in their order."""
    token = (await servers.control.credentials(PSA, account))["token"]
    made: list[tuple[str, EntryRef]] = []
    async with httpx.AsyncClient(
        base_url=servers.urls[PSA],
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=60,
    ) as http:
        for first in range(0, len(wanted), BULK):
            body = {"time_adjustments": wanted[first : first + BULK]}
            answer = await http.post("/api/v1/time_adjustments", json=body)
            answer.raise_for_status()
            rows = answer.json()["time_adjustments"]
            made += [
                (row["workspace_id"], EntryRef(kind=EntryKind.ADJUSTMENT, id=id_))
                for id_, row in rows.items()
            ]
    return made


async def calls_of(control: Control, account: str) -> Counter[tuple[str, str]]:
    """Count an account's vendor calls by vendor and method; signing in does not count."""
    found: Counter[tuple[str, str]] = Counter()
    for vendor in VENDORS:
        calls = await control.calls(vendor, account)
        found.update((vendor, call["method"]) for call in calls if "oauth2" not in call["path"])
    return found
