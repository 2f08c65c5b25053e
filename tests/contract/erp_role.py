"""The ERPs under contract, what they are asked for, and every write of the port as an act."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from adapters.ports import Erp
from canonical.deal import Address
from canonical.ids import external_id
from canonical.money import Money
from canonical.provisioning import (
    BillingType,
    Dimensions,
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.records import RecordRef
from tests.contract.suite import (
    Act,
    Scene,
)


@dataclass(frozen=True)
class ErpFacts:
    """What the suite must know of a vendor to look behind its API, and to act as a person."""

    client: str
    """Record type of customers; likewise the others."""
    client_entity: str
    project: str
    booking: str
    name_field: str
    name_length_max: int
    label_of: Mapping[str, str]
    """Canonical name of a value -> the field of the project that has it."""
    absent_id: str
    bad_ids: tuple[str, ...]
    sign_ins: tuple[str, ...]


ERPS: dict[str, ErpFacts] = {
    "netsuite": ErpFacts(
        client="customer",
        client_entity="customerSubsidiaryRelationship",
        project="job",
        booking="timeBill",
        name_field="companyName",
        name_length_max=83,
        label_of={"department": "department", "business_class": "class", "location": "location"},
        absent_id="999999",
        bad_ids=("", "eid:x", "1 OR 1=1", "../job/1", "12a"),
        sign_ins=("token_based", "client_credentials"),
    ),
}

CLIENT_KEY = external_id("client/crm/001")
ENTITY_KEY = external_id("client/crm/001:entity:3")
PROJECT_KEY = external_id("opportunity-to-project/crm/006/1:provision_erp_project:US")
ADDRESS = Address(
    street="200 Hudson Street\nFloor 7\nEast wing\nDoor 3",
    city="New York",
    postal_code="10013",
    region="NY",
    country="US",
)
CLIENT = ProvisionClient(
    connection="erp",
    client_key="client/crm/001",
    name="Northwind Robotics",
    tax_id="12-3456789",
    billing_email="billing@northwind.example",
    address=ADDRESS,
    subsidiary="2",
    currency="USD",
    payment_terms="NET30",
)
PROJECT = ProvisionErpProject(
    connection="erp",
    item="US",
    name="Northwind Robotics – ERP rollout",
    code="P-006DT0000000001-US",
    subsidiary="2",
    price=Money(amount=Decimal("180000.50"), currency="USD"),
    billing_type=BillingType.TIME_AND_MATERIALS,
    dimensions=Dimensions(department="10", business_class="20", location="30"),
    start=date(2026, 12, 1),
    end=date(2027, 5, 31),
)
HOSTILE = {
    "quotes": 'O\'Brien "& Söhne" \\ %_',
    "rtl": "שלום 🚀 Café Ωmega",
    "long": "x" * 10_000,
    "injection": "'; DELETE FROM customer",
}
EACH_NAME = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def facts(scene: Scene[Erp]) -> ErpFacts:
    return ERPS[scene.vendor]


def match(**changes: object) -> MatchClient:
    request = MatchClient(
        connection="erp",
        client_key="client/crm/001",
        name="Northwind Robotics",
        subsidiary="2",
        currency="USD",
    )
    return request.model_copy(update=changes)


def reference(scene: Scene[Erp], kind: str, id_: str) -> RecordRef:
    return RecordRef(system=scene.connection, type=kind, id=id_)


async def client(scene: Scene[Erp]) -> RecordRef:
    """Return our customer; the same one when asked again."""
    found = await scene.adapter.find_client(CLIENT_KEY)
    return found or await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def project(scene: Scene[Erp]) -> RecordRef:
    """Return our project; the same one when asked again."""
    found = await scene.adapter.find_project(PROJECT_KEY)
    if found is not None:
        return found
    request = PROJECT.model_copy(update={"client": await client(scene)})
    return await scene.adapter.provision_project(PROJECT_KEY, request)


async def use_client(scene: Scene[Erp], record: RecordRef, **fields: object) -> str:
    """Let a project that is not ours hang on a customer."""
    known = facts(scene)
    made: dict[str, object] = {known.name_field: "Their own", "parent": record.id, **fields}
    return await scene.put(known.project, made)  # type: ignore[arg-type]


async def book_on(scene: Scene[Erp], record: RecordRef) -> str:
    """Let a person log time on a project."""
    booking = {"employee": "55", "customer": record.id, "hours": "2:00", "tranDate": "2026-11-20"}
    return await scene.put(facts(scene).booking, dict(booking))


async def candidates(scene: Scene[Erp], **changes: object) -> list[ErpClient]:
    return list(await scene.adapter.search_clients(match(**changes), CLIENT_KEY))


# Acts: every write of the port, as the fault tests need them.


async def nothing(scene: Scene[Erp]) -> None:
    del scene


async def with_client(scene: Scene[Erp]) -> None:
    await client(scene)


async def with_entity(scene: Scene[Erp]) -> None:
    await scene.adapter.add_client_entity(ENTITY_KEY, await client(scene), "3")


async def with_currency(scene: Scene[Erp]) -> None:
    await scene.adapter.add_client_currency(await client(scene), "EUR")


async def with_project(scene: Scene[Erp]) -> None:
    await project(scene)


async def has_client(scene: Scene[Erp]) -> bool:
    return await scene.adapter.find_client(CLIENT_KEY) is not None


async def has_entity(scene: Scene[Erp]) -> bool:
    found = await scene.adapter.find_client_entity(ENTITY_KEY, await client(scene), "3")
    return found is not None


async def has_currency(scene: Scene[Erp]) -> bool:
    return await scene.adapter.has_client_currency(await client(scene), "EUR")


async def has_project(scene: Scene[Erp]) -> bool:
    return await scene.adapter.find_project(PROJECT_KEY) is not None


async def has_link(scene: Scene[Erp]) -> bool:
    return await scene.adapter.read_psa_link(await project(scene)) == "77"


async def provision_client(scene: Scene[Erp]) -> object:
    return await scene.adapter.provision_client(CLIENT_KEY, CLIENT)


async def remove_client(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_client(CLIENT_KEY, None)


async def add_entity(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    return await scene.adapter.add_client_entity(ENTITY_KEY, known, "3")


async def remove_entity(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_client_entity(ENTITY_KEY, None)


async def add_currency(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    return await scene.adapter.add_client_currency(known, "EUR")


async def remove_currency(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    return await scene.adapter.remove_client_currency(known, "EUR")


async def provision_project(scene: Scene[Erp]) -> object:
    known = reference(scene, "client", await id_behind(scene, facts(scene).client))
    request = PROJECT.model_copy(update={"client": known})
    return await scene.adapter.provision_project(PROJECT_KEY, request)


async def remove_project(scene: Scene[Erp]) -> object:
    return await scene.adapter.remove_project(PROJECT_KEY, None)


async def write_link(scene: Scene[Erp]) -> object:
    known = reference(scene, "project", await id_behind(scene, facts(scene).project))
    return await scene.adapter.write_psa_link(known, "77")


async def id_behind(scene: Scene[Erp], type_: str) -> str:
    """Return the id of our record, without a call to the vendor."""
    keys = {CLIENT_KEY, PROJECT_KEY}
    return next(each["id"] for each in await scene.records(type_) if each["key"] in keys)


ACTS: tuple[Act[Erp], ...] = (
    Act("provision_client", provision_client, has_client, nothing),
    Act("remove_client", remove_client, has_client, with_client),
    Act("add_client_entity", add_entity, has_entity, with_client),
    Act("remove_client_entity", remove_entity, has_entity, with_entity, undo=True),
    Act("add_client_currency", add_currency, has_currency, with_client),
    Act(
        "remove_client_currency",
        remove_currency,
        has_currency,
        with_currency,
        calls=2,
        undo=True,
    ),
    Act("provision_project", provision_project, has_project, with_client),
    Act("remove_project", remove_project, has_project, with_project),
    Act("write_psa_link", write_link, has_link, with_project),
)
