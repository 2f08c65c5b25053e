"""The month end of the invoicing bench: projects with milestones, and what is wrong with some.

The simulators' scenario `time-small` makes the projects, currencies in turn by four. The bench
adds contracts, client POs, and milestones that are approved as their managers do it: each on a
task of its own, which is completed. Every second project's last milestone is bad, kinds in turn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from pydantic import JsonValue

from bench.billing_projects import ERP, FIRST_CLIENT, FIRST_JOB, PSA, Project
from bench.servers import Servers
from bench.sides import in_flight
from canonical.client_pos import ClientPo
from canonical.deal import ContractLineType
from canonical.engagement import BillingMethod, ContractLine, Engagement
from canonical.money import Money
from canonical.provisioning import Dimensions
from policies.schema import Policies
from store import Store

Fields = dict[str, JsonValue]

EACH = 10
"""Milestones of a project."""
BAD_EVERY = 2
"""Of so many projects one has a bad milestone: 5% of all milestones."""
SEEDERS = 8
CRM = "imported"
"""Not a CRM: no CRM hears of what was imported."""

_CURRENCIES = (("USD", "US"), ("EUR", "DE"), ("GBP", "DE"), ("JPY", "JP"))
"""Of every fourth project, with the company that bills; as the simulators have them."""
_TENS_OF_THOUSANDS = {"JPY": 100}
"""Yen come in larger numbers."""
_FROM = date(2026, 1, 1)
_DUE = "2027-05-31"
_FIXED, _ORDERED = "L-FIX", "L-PO"


class Flaw(StrEnum):
    """What is wrong with a project's last milestone."""

    SEQUENCE = "out_of_sequence"
    """The one before it is not approved. Likewise named by the reason with which it parks."""
    VALUE = "over_contract"
    """It is more than what is left of the contract's value."""
    ORDER = "short_po"
    """It has a client PO of its own, which is one unit short: its draft is not released."""

    @property
    def drafted(self) -> bool:
        """Whether it comes as far as a draft."""
        return self is Flaw.ORDER


@dataclass(frozen=True)
class Job:
    """One project of the month end."""

    project: Project
    count: int = EACH
    """Approved milestones."""
    flaw: Flaw | None = None

    @property
    def currency(self) -> str:
        """Currency of contract and milestones."""
        return _CURRENCIES[self.project.number % len(_CURRENCIES)][0]

    @property
    def good(self) -> int:
        """How many of its milestones become lines of an invoice."""
        return self.count - (self.flaw is not None)

    @property
    def net(self) -> Decimal:
        """What its invoice comes to."""
        return sum((self.amount(place) for place in range(self.good)), Decimal(0))

    def amount(self, place: int) -> Decimal:
        """Return what a milestone is worth; each differs from its neighbours."""
        worth = Decimal(1_000 + 10 * (self.project.number % 97) + place)
        return worth * _TENS_OF_THOUSANDS.get(self.currency, 1)

    def money(self, amount: Decimal) -> Money:
        """Return an amount in the project's currency."""
        return Money(amount=amount, currency=self.currency)

    @property
    def client_id(self) -> str:
        """Who buys."""
        return f"client-{self.project.number}"

    @property
    def orders(self) -> tuple[ClientPo, ...]:
        """Its client POs; what is invoiced spends the first one."""
        wanted = {_FIXED: self.net, _ORDERED: Decimal(0)}
        if self.flaw is Flaw.ORDER:
            wanted[_ORDERED] = self.amount(self.count - 1) - 1
        return tuple(
            ClientPo(
                client_id=self.client_id,
                number=self._order(line),
                amount=self.money(amount),
                valid_from=_FROM,
                projects=(self.project.id,),
            )
            for line, amount in wanted.items()
            if amount
        )

    def engagement(self, policies: Policies) -> Engagement:
        """Return its contract: milestones of one line, and a line with a client PO of its own."""
        last = self.amount(self.count - 1)
        value = self.net + (last + 1 if self.flaw is Flaw.SEQUENCE else 0)
        return Engagement(
            id=f"{CRM}/{self.project.id}",
            client_id=self.client_id,
            title=f"Time project {self.project.number + 1:04}",
            psa=PSA,
            project_id=self.project.id,
            effective_from=_FROM,
            lines=(self._line(_FIXED, value, policies), self._line(_ORDERED, last, policies)),
        )

    def milestones(self) -> Iterator[tuple[str, Decimal, bool]]:
        """Yield contract line, amount, and whether it is approved, of each in its order."""
        for place in range(self.count):
            last = place == self.count - 1
            if last and self.flaw is Flaw.SEQUENCE:
                yield _FIXED, Decimal(1), False
            line = _ORDERED if last and self.flaw is Flaw.ORDER else _FIXED
            yield line, self.amount(place), True

    def _order(self, line: str) -> str:
        return f"PO-{self.project.number}-{line}"

    def _line(self, ref: str, value: Decimal, policies: Policies) -> ContractLine:
        currency, code = _CURRENCIES[self.project.number % len(_CURRENCIES)]
        return ContractLine(
            ref=ref,
            title="Fixed scope",
            type=ContractLineType.FIXED_FEE,
            currency=currency,
            legal_entity=code,
            value=self.money(value) if value else None,
            billing_method=BillingMethod.ERP_LINES,
            tax_category="services-standard",
            client_po=self._order(ref),
            dimensions=Dimensions(
                department="10",
                business_class="20",
                location=policies.legal_entities[code].location,
            ),
            erp=ERP,
            erp_project_id=str(FIRST_JOB + self.project.number),
            erp_client_id=str(FIRST_CLIENT + self.project.number),
        )


def month_end(milestones: int) -> tuple[Job, ...]:
    """Return the projects with so many approved milestones in all."""
    flaws = tuple(Flaw)
    return tuple(
        Job(Project(number), flaw=None if number % BAD_EVERY else flaws[number // BAD_EVERY % 3])
        for number in range(milestones // EACH)
    )


def bulk(first: int, count: int) -> tuple[Job, ...]:
    """Return projects of one milestone each, the middle one with a client PO that is short."""
    return tuple(
        Job(Project(first + place), 1, Flaw.ORDER if place == count // 2 else None)
        for place in range(count)
    )


async def seeded(
    servers: Servers, account: str, jobs: Sequence[Job], store: Store, policies: Policies
) -> dict[str, tuple[str, ...]]:
    """Make projects, contracts, POs and milestones; return the approved ones by project, in order.

    The simulators' ids grow, so a project's milestones are made one after another.
    """
    for vendor in (PSA, ERP):
        await servers.control.seed("time-small", count=len(jobs), account=account, vendor=vendor)
    found: dict[str, tuple[str, ...]] = {}
    by_id = {job.project.id: job for job in jobs}

    async def one(project_id: str) -> None:
        job = by_id[project_id]
        await store.engagements.put(job.engagement(policies))
        for order in job.orders:
            await store.client_pos.put(order)
        made = [
            (await _milestone(servers, account, job, place, line, amount, done=approved), approved)
            for place, (line, amount, approved) in enumerate(job.milestones(), start=1)
        ]
        found[project_id] = tuple(id_ for id_, approved in made if approved)

    await in_flight(one, list(by_id), SEEDERS)
    return found


async def _milestone(
    servers: Servers,
    account: str,
    job: Job,
    place: int,
    line: str,
    amount: Decimal,
    *,
    done: bool,
) -> str:
    """Plan a milestone upon completion of a task of its own, and complete that; return its id."""
    control, title = servers.control, f"Milestone {place}"
    task: Fields = {"workspace_id": job.project.id, "title": title, "story_type": "milestone"}
    story = (await control.put_record(PSA, account, "stories", task))["id"]
    reference: Fields = {
        "service_name": "dealthread-saga",
        "service_model": "billing_milestone",
        "service_model_ref": f"{job.project.id}{place:04}",
        "status": "successful",
        "external_message": f"{line}/{place}",
    }
    planned: Fields = {
        "workspace_id": job.project.id,
        "title": title,
        "amount_in_cents": job.money(amount).minor_units,
        "date_to_invoice": _DUE,
        "billing_type": "upon_completion",
        "story_id": story,
        "external_reference": reference,
    }
    milestone = (await control.put_record(PSA, account, "billing_milestones", planned))["id"]
    if done:
        state: Fields = {"state": "completed"}
        await control.patch_record(PSA, account, "stories", story, state)
    return milestone
