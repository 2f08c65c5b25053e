"""What happens in the demo: good deals, and each thing that goes wrong, met as people meet it.

Outcomes and records are read from sagas and simulators, never assumed.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, JsonValue
from temporalio.client import WorkflowHandle

from canonical.saga import SagaResult, Verb, WorkItem
from embedded.configuration import ACCOUNT
from embedded.options import StackInfo
from operations.cli.demo_invoice import Invoiced, invoice_week
from operations.cli.demo_reconcile import Gap, reconcile_gap
from operations.cli.demo_week import Week, bill_week
from operations.composition import Office, open_office
from simulators.kit.control import Control
from workflows.opportunity_to_project import OpportunityToProject

BILLED: Final = "mixed-jp"
"""The deal whose project is billed: time and materials, a fixed fee and managed services."""
WAIT_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
VENDORS: Final = ("salesforce", "netsuite", "kantata")
NAMES: Final = {
    ("netsuite", "customer"): "clients",
    ("netsuite", "job"): "projects",
    ("kantata", "workspace_groups"): "clients",
    ("kantata", "workspaces"): "projects",
    ("kantata", "stories"): "tasks and milestones",
}
"""The vendors' own record types, in words; others are parts of these, or no records of ours."""

Handle = WorkflowHandle[OpportunityToProject, SagaResult]


class Deal(BaseModel):
    """What became of one deal."""

    id: str
    name: str
    what: str
    outcome: str
    seconds: float


class Made(BaseModel):
    """Records of one type that are in a system since the demo began."""

    system: str
    type: str
    live: int
    removed: int
    twice: int
    """Live ones beyond the first that carry the same key: none, if all is well."""


class Story(BaseModel):
    """All that the demo tells."""

    deals: list[Deal]
    records: list[Made]
    waiting: list[WorkItem]
    links: list[str]
    """Of `waiting`, in the Web UI."""
    week: Week
    invoiced: Invoiced
    gap: Gap


async def play(info: StackInfo, tell: Callable[[str], None]) -> Story:
    """Play the whole story on a fresh stack."""
    async with (
        open_office(str(info.config)) as office,
        Control(info.addresses["simulators"]) as control,
    ):
        stage = _Stage(office, control)
        await stage.prepare()
        tell("carrying ten deals")
        deals = await asyncio.gather(*(stage.carry(act) for act in ACTS))
        tell("billing a week of a team")
        mixed = stage.ids[BILLED], stage.names[BILLED]
        week = await bill_week(office, control, *mixed)
        tell("invoicing the week")
        paid = await invoice_week(office, control, week.project_id)
        tell("losing a message, and reconciling")
        gap = await reconcile_gap(office, control, week.project_id)
        waiting = [stage.named(item) for item in await office.sagas.stuck()]
        return Story(
            deals=deals,
            week=week,
            invoiced=paid,
            gap=gap,
            records=await stage.made(),
            waiting=waiting,
            links=[office.sagas.deep_link(item.workflow_id) for item in waiting],
        )


@dataclass
class _Stage:
    office: Office
    control: Control
    ids: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    before: set[tuple[str, str, str]] = field(default_factory=set)

    async def prepare(self) -> None:
        for record in await self.control.records("salesforce", ACCOUNT, type="Opportunity"):
            slug = str(record["fields"].get("Seed_Slug__c"))
            self.ids[slug] = record["id"]
            self.names[slug] = str(record["fields"].get("Name"))
        for vendor in VENDORS:
            for record in await self.control.records(vendor, ACCOUNT):
                self.before.add((vendor, record["type"], record["id"]))

    async def carry(self, act: "Act") -> Deal:
        started = time.monotonic()
        if act.fault is not None:
            vendor, step, kind = act.fault
            correlation = f"{self.ids[act.slug]}.*:{step}"
            match: dict[str, JsonValue] = {"write": True, "correlation": correlation}
            await self.control.add_fault(vendor, ACCOUNT, match, kind)
        handle = await self.office.sagas.start_opportunity(self.ids[act.slug])
        if act.people is not None:
            what = await act.people(self, handle)
        else:
            what = act.what
        outcome = (await handle.result()).outcome if act.ends else "waiting"
        return Deal(
            id=self.ids[act.slug],
            name=self.names[act.slug],
            what=what,
            outcome=outcome,
            seconds=time.monotonic() - started,
        )

    async def item(self, handle: Handle, after_park: int = 0) -> WorkItem:
        """Wait until the saga is stuck."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for item in await self.office.sagas.stuck():
                    if item.workflow_id == handle.id and item.park > after_park:
                        return item
                await asyncio.sleep(LOOK_SECONDS)

    async def decide(self, item: WorkItem, verb: Verb, by: str, **given: str) -> str:
        """Decide as a person; return the decision's id where it needs a second one."""
        corrections = {k: v for k, v in given.items() if k != "record_id"}
        proposal = await self.office.sagas.resolve(
            item, verb, by=by, corrections=corrections, record_id=given.get("record_id", "")
        )
        return "" if proposal.taken else proposal.decision.id

    def named(self, item: WorkItem) -> WorkItem:
        """Return an item with the deal's name, which a saga that is stuck before its plan lacks."""
        by_id = {id_: self.names[slug] for slug, id_ in self.ids.items()}
        return item.model_copy(update={"title": by_id[item.workflow_id.rpartition("/")[2]]})

    async def made(self) -> list[Made]:
        live: Counter[tuple[str, str]] = Counter()
        removed: Counter[tuple[str, str]] = Counter()
        keys: Counter[tuple[str, str, str]] = Counter()
        for vendor in VENDORS:
            for record in await self.control.records(vendor, ACCOUNT):
                kind = (vendor, record["type"])
                if kind in NAMES and (*kind, record["id"]) not in self.before:
                    (live if record["live"] else removed)[kind] += 1
                    if record["live"] and record["key"]:
                        keys[*kind, record["key"]] += 1
        return [
            Made(
                system=kind[0],
                type=name,
                live=live[kind],
                removed=removed[kind],
                twice=sum(count - 1 for key, count in keys.items() if key[:2] == kind),
            )
            for kind, name in NAMES.items()
        ]


async def _corrected(stage: _Stage, handle: Handle) -> str:
    item = await stage.item(handle)
    await stage.decide(item, Verb.RETRY, "olivia", template="implementation")
    return f"stuck: {item.failure.reason}; olivia corrected the {item.failure.field}, resumed"


async def _adopted(stage: _Stage, handle: Handle) -> str:
    item = await stage.item(handle)
    chosen = item.failure.candidates[0].record.id
    decision = await stage.decide(item, Verb.ADOPT, "frank", record_id=chosen)
    await stage.office.sagas.approve(decision, by="fiona")
    count = len(item.failure.candidates)
    what = f"stuck: {count} clients match; frank chose {chosen}, fiona approved"
    return await _passed(stage, handle, item.park, what)


async def _passed(stage: _Stage, handle: Handle, park: int, what: str) -> str:
    """Let the deal pass its finance gate, if it has one."""
    waiting = asyncio.ensure_future(stage.item(handle, park))
    ended = asyncio.ensure_future(handle.result())
    await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
    for each in (waiting, ended):
        each.cancel()
    if not waiting.done() or waiting.cancelled():
        return what
    await stage.office.sagas.approve(waiting.result().id, by="fiona")
    return f"{what}, and the gate too"


async def _gated(stage: _Stage, handle: Handle) -> str:
    item = await stage.item(handle)
    await stage.office.sagas.approve(item.id, by="fiona")
    reason = item.failure.message.partition(": ")[2].rstrip(".")
    return f"finance gate ({reason}): fiona approved"


async def _rolled_back(stage: _Stage, handle: Handle) -> str:
    item = await stage.item(handle)
    await stage.decide(item, Verb.ROLL_BACK, "olivia")
    return f"{item.connection} refused {item.step}; olivia rolled all systems back"


async def _left(stage: _Stage, handle: Handle) -> str:
    item = await stage.item(handle)
    return f"stuck: {item.failure.reason}; see below"


People = Callable[[_Stage, Handle], Awaitable[str]]


@dataclass(frozen=True)
class Act:
    """One deal of the story: what is broken for it, and what people do."""

    slug: str
    what: str = "went through"
    people: People | None = None
    fault: tuple[str, str, str] | None = None
    """Vendor, step and kind of what goes wrong."""
    ends: bool = True


ACTS: Final = (
    Act("tm-us"),
    Act("fixed-de"),
    Act("retainer-gb"),
    Act(
        "mixed-jp",
        what="netsuite took a write, its answer was lost: looked up, not repeated",
        fault=("netsuite", "provision_client", "drop_after"),
    ),
    Act("high-value", people=_gated),
    Act("missing-mapping", people=_corrected),
    Act("ambiguous-client", people=_adopted),
    Act(
        "two-entity",
        people=_rolled_back,
        fault=("kantata", "provision_milestones", "reject"),
    ),
    Act("unsigned", people=_left, ends=False),
    Act("amount-mismatch", people=_left, ends=False),
)
