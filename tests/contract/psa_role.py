"""What the suites of the PSA role share: facts by vendor, the acts, and requests to make."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from pydantic import JsonValue

from adapters.psa_port import Psa
from canonical.deal import Address, ContractLineType
from canonical.ids import external_id
from canonical.money import Money
from canonical.provisioning import (
    MilestoneTask,
    PlannedMilestone,
    PlannedTask,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import Receipt, RecordRef
from tests.contract.suite import Act, Scene

Fields = dict[str, JsonValue]


@dataclass(frozen=True)
class PsaFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    client: str
    """Record type of clients; likewise the others."""
    project: str
    story: str
    milestone: str
    client_name: str
    """Field that has the client's name; likewise the next."""
    title: str
    story_title_max: int
    title_max: int
    template: str
    rate_cards: Mapping[str, str]
    manager_id: str
    archived: str
    """Field that takes a record out of sight."""
    stamp: str
    """Field that says when a note was written last."""
    absent_id: str
    bad_ids: tuple[str, ...]
    name_taken: Fields
    """Options of the fault `reject` by which the vendor says that a name is taken."""
    gone: Fields
    """Options of the fault `reject` by which the vendor says that a record is not there."""


PSAS: dict[str, PsaFacts] = {
    "kantata": PsaFacts(
        client="workspace_groups",
        project="workspaces",
        story="stories",
        milestone="billing_milestones",
        client_name="name",
        title="title",
        story_title_max=200,
        title_max=255,
        template="77",
        rate_cards={"USD": "5", "EUR": "6"},
        manager_id="3",
        archived="archived",
        stamp="last_synced_at",
        absent_id="999999",
        bad_ids=("", "12a", "1,2", "../users/2", "1 OR 1=1"),
        name_taken={"message": "Name has already been taken", "field": "name"},
        gone={"status": 404, "type": "system", "message": "It could not be found"},
    ),
}

CLIENT_KEY = external_id("client/crm/001")
PROJECT_KEY = external_id("opportunity-to-project/crm/006/1:provision_psa_project")
TASKS_KEY = external_id("opportunity-to-project/crm/006/1:provision_tasks")
MILESTONES_KEY = external_id("opportunity-to-project/crm/006/1:provision_milestones")
ERP_LINK = "netsuite:1001;netsuite:1002"
CLIENT = ProvisionPsaClient(
    connection="psa",
    client_key="client/crm/001",
    name="Northwind Robotics",
    billing_email="billing@northwind.example",
    address=Address(street="200 Hudson Street", city="New York", postal_code="10013", country="US"),
)
HOSTILE = {
    "quotes": 'O\'Brien "& Söhne" \\ %_ <b>',
    "rtl": "שלום 🚀 Café Ωmega",
    "long": "x" * 10_000,
    "lines": "two\nlines\tand tabs",
}
EACH_NAME = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def facts(scene: Scene[Psa]) -> PsaFacts:
    return PSAS[scene.vendor]


def usd(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


def reference(scene: Scene[Psa], kind: str, id_: str) -> RecordRef:
    return RecordRef(system=scene.connection, type=kind, id=id_)


def project_request(
    scene: Scene[Psa], client: RecordRef | None, **changes: object
) -> ProvisionPsaProject:
    request = ProvisionPsaProject(
        connection="psa",
        name="Northwind Robotics – ERP rollout",
        code="P-006DT0000000001",
        price=usd("180000.50"),
        start=date(2026, 12, 1),
        end=date(2027, 5, 31),
        template=facts(scene).template,
        rate_card=facts(scene).rate_cards["USD"],
        manager_email="Maya.Chen@example.com",
        client=client,
    )
    return request.model_copy(update=changes)


def tasks_request(project: RecordRef | None, **changes: object) -> ProvisionTasks:
    lines = (
        (ContractLineType.TIME_AND_MATERIALS, "Consulting", "120000.50"),
        (ContractLineType.FIXED_FEE, "Data migration", "40000"),
        (ContractLineType.MANAGED_SERVICES, "Consulting", "20000"),
    )
    request = ProvisionTasks(
        connection="psa",
        title="Contract lines",
        project=project,
        tasks=tuple(
            PlannedTask(
                ref=str(number),
                title=title,
                type=type_,
                billable=True,
                budget=usd(amount),
                start=date(2026, 12, 1),
                due=date(2027, 5, 31),
            )
            for number, (type_, title, amount) in enumerate(lines)
        ),
        milestones=tuple(
            MilestoneTask(line="1", title=f"Instalment {number}", due=date(2027, 1, 31))
            for number in (1, 2, 3)
        ),
    )
    return request.model_copy(update=changes)


def milestones_request(
    project: RecordRef | None, count: int = 3, tasks: tuple[RecordRef, ...] = ()
) -> ProvisionMilestones:
    return ProvisionMilestones(
        connection="psa",
        project=project,
        tasks=tasks,
        milestones=tuple(
            PlannedMilestone(
                ref=str(number),
                title=f"Instalment {number}",
                amount=usd(f"{number}000.25"),
                due=date(2027, 1, 31),
            )
            for number in range(1, count + 1)
        ),
    )


# What stands, made when first asked for.


async def client(scene: Scene[Psa]) -> RecordRef:
    found = await scene.adapter.find_client(CLIENT_KEY)
    return found or await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def project(scene: Scene[Psa]) -> RecordRef:
    found = await scene.adapter.find_project(PROJECT_KEY)
    if found is not None:
        return found
    request = project_request(scene, await client(scene))
    return await scene.adapter.provision_project(PROJECT_KEY, request)


async def open_project(scene: Scene[Psa]) -> RecordRef:
    return await scene.adapter.open_for_time(await project(scene))


async def tasks(scene: Scene[Psa]) -> Receipt:
    known = await project(scene)
    found = await scene.adapter.find_tasks(TASKS_KEY, known)
    return found or await scene.adapter.provision_tasks(TASKS_KEY, tasks_request(known))


async def milestones(scene: Scene[Psa]) -> Receipt:
    known = await project(scene)
    found = await scene.adapter.find_milestones(MILESTONES_KEY, known)
    of_lines = len(tasks_request(known).tasks)
    request = milestones_request(known, tasks=(await tasks(scene)).parts[of_lines:])
    return found or await scene.adapter.provision_milestones(MILESTONES_KEY, request)


# What a person does.


async def log_time(scene: Scene[Psa], record: RecordRef, task: str = "") -> str:
    entry: Fields = {
        "workspace_id": record.id,
        "date_performed": "2026-12-02",
        "time_in_minutes": 60,
        "billable": False,
        "rate_in_cents": 0,
    }
    return await scene.put("time_entries", {**entry, **({"story_id": task} if task else {})})


async def spend(scene: Scene[Psa], record: RecordRef) -> str:
    expense: Fields = {
        "workspace_id": record.id,
        "date": "2026-12-02",
        "amount_in_cents": 0,
        "category": "Travel",
    }
    return await scene.put("expenses", expense)


async def invoice(scene: Scene[Psa], record: RecordRef, **items: JsonValue) -> str:
    fee: JsonValue = [{"notes": "Fee", "amount": "1.00", "workspace_id": record.id}]
    lines: Fields = {"workspace_id": record.id, "payment_schedule": 30}
    return await scene.put("invoices", {**lines, **(items or {"additional_items": fee})})


# Acts: every write of the port, as the fault tests need them.


async def nothing(scene: Scene[Psa]) -> None:
    del scene


async def with_client(scene: Scene[Psa]) -> None:
    await client(scene)


async def with_project(scene: Scene[Psa]) -> None:
    await project(scene)


async def with_tasks(scene: Scene[Psa]) -> None:
    await tasks(scene)


async def with_milestones(scene: Scene[Psa]) -> None:
    known = await project(scene)
    await scene.adapter.provision_milestones(MILESTONES_KEY, milestones_request(known, 1))


async def with_link(scene: Scene[Psa]) -> None:
    await scene.adapter.write_erp_link(await project(scene), ERP_LINK)


async def has_client(scene: Scene[Psa]) -> bool:
    return await scene.adapter.find_client(CLIENT_KEY) is not None


async def has_project(scene: Scene[Psa]) -> bool:
    return await scene.adapter.find_project(PROJECT_KEY) is not None


async def has_tasks(scene: Scene[Psa]) -> bool:
    return await scene.adapter.find_tasks(TASKS_KEY, await project(scene)) is not None


async def has_milestones(scene: Scene[Psa]) -> bool:
    return await scene.adapter.find_milestones(MILESTONES_KEY, await project(scene)) is not None


async def has_link(scene: Scene[Psa]) -> bool:
    return await scene.adapter.read_erp_link(await project(scene)) == ERP_LINK


async def is_open(scene: Scene[Psa]) -> bool:
    return await scene.adapter.is_open_for_time(await project(scene))


async def provision_client(scene: Scene[Psa]) -> object:
    return await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def remove_client(scene: Scene[Psa]) -> object:
    return await scene.adapter.remove_client(CLIENT_KEY, None)


async def provision_project(scene: Scene[Psa]) -> object:
    request = project_request(scene, await behind(scene, "client"))
    return await scene.adapter.provision_project(PROJECT_KEY, request)


async def remove_project(scene: Scene[Psa]) -> object:
    return await scene.adapter.remove_project(PROJECT_KEY, None)


async def provision_tasks(scene: Scene[Psa]) -> object:
    request = tasks_request(await behind(scene, "project"))
    return await scene.adapter.provision_tasks(TASKS_KEY, request)


async def remove_tasks(scene: Scene[Psa]) -> object:
    return await scene.adapter.remove_tasks(TASKS_KEY, None)


async def provision_milestones(scene: Scene[Psa]) -> object:
    known = await behind(scene, "project")
    titles = {each.title for each in tasks_request(known).milestones}
    ours = tuple(
        reference(scene, "task", each["id"])
        for each in await scene.records(facts(scene).story)
        if each["fields"][facts(scene).title] in titles
    )
    request = milestones_request(known, tasks=ours)
    return await scene.adapter.provision_milestones(MILESTONES_KEY, request)


def is_milestone(story: Mapping[str, object]) -> bool:
    return story["story_type"] == "milestone"


async def remove_milestones(scene: Scene[Psa]) -> object:
    return await scene.adapter.remove_milestones(MILESTONES_KEY, None)


async def write_link(scene: Scene[Psa]) -> object:
    return await scene.adapter.write_erp_link(await behind(scene, "project"), ERP_LINK)


async def clear_link(scene: Scene[Psa]) -> object:
    return await scene.adapter.write_erp_link(await behind(scene, "project"), "")


async def open_for_time(scene: Scene[Psa]) -> object:
    return await scene.adapter.open_for_time(await behind(scene, "project"))


async def behind(scene: Scene[Psa], kind: str) -> RecordRef:
    """Return our record, without a call to the vendor."""
    type_ = {"client": facts(scene).client, "project": facts(scene).project}[kind]
    keys = {CLIENT_KEY, PROJECT_KEY}
    ids = (each["id"] for each in await scene.records(type_) if each["key"] in keys)
    return reference(scene, kind, next(ids))


ACTS: tuple[Act[Psa], ...] = (
    Act("provision_client", provision_client, has_client, nothing),
    Act("remove_client", remove_client, has_client, with_client, calls=2, undo=True),
    # With its manager and, once for each rate card, that card's currency.
    Act("provision_project", provision_project, has_project, with_client, calls=3),
    # With a look at what must not go with it: time, expenses, invoices.
    Act("remove_project", remove_project, has_project, with_project, calls=5, undo=True),
    Act("provision_tasks", provision_tasks, has_tasks, with_project),
    Act("remove_tasks", remove_tasks, has_tasks, with_tasks, calls=2, undo=True),
    Act("provision_milestones", provision_milestones, has_milestones, with_tasks),
    Act(
        "remove_milestones", remove_milestones, has_milestones, with_milestones, calls=2, undo=True
    ),
    Act("write_erp_link", write_link, has_link, with_project),
    Act("clear_erp_link", clear_link, has_link, with_link, calls=2),
    Act("open_for_time", open_for_time, is_open, with_project),
)
