"""What a report says against what the simulated vendors hold: the oracle of the chaos test."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from canonical.backfill import RecordState
from canonical.records import Receipt, RecordRef, WriteOutcome
from canonical.saga import SagaState, SagaView, StepState
from embedded.configuration import ACCOUNT
from operations.sagas import SagaDesk
from simulators.kit.calls import LOG_LENGTH_MAX
from simulators.kit.control import Control
from simulators.kit.records import RecordState as Row
from workflows.opportunity_to_project import STATUS_OPEN

VENDORS = ("salesforce", "kantata", "netsuite", "workday", "stripe")
TYPES = {
    ("netsuite", "client"): "customer",
    ("netsuite", "project"): "job",
    ("kantata", "client"): "workspace_groups",
    ("kantata", "project"): "workspaces",
    ("kantata", "task_list"): "stories",
    ("kantata", "task"): "stories",
    ("kantata", "milestone"): "billing_milestones",
}
"""By connection and type in a receipt: the vendor's own name of it."""
ALONE = {*TYPES.values()} - {"stories"}
"""What comes by a step alone; a project made from a template comes with stories."""
ONE_EACH = ("customer", "job", "workspace_groups", "workspaces")
CARRIED = {RecordState.COMPLETED, RecordState.ADOPTED, RecordState.ALREADY_DONE}
LOOKED_AT_ONCE = 8

Key = tuple[str, str, str]
"""Vendor, its type, id."""
Records = dict[Key, Row]


@dataclass(frozen=True)
class Held:
    """What the vendors hold of one deal."""

    own: Mapping[str, Sequence[Key]]
    """What its receipts say that it created, by the vendors' types."""
    shape: Counter[tuple[str, str]]
    """That, and what hangs on it, counted by vendor and type."""


async def live(control: Control) -> Records:
    """Return every live record of every vendor."""
    return {
        (vendor, record["type"], record["id"]): record
        for vendor in VENDORS
        for record in await control.records(vendor, ACCOUNT)
        if record["live"]
    }


async def views(sagas: SagaDesk, deals: Sequence[str]) -> dict[str, SagaView]:
    """Return what each saga says of itself."""
    places = asyncio.Semaphore(LOOKED_AT_ONCE)

    async def view(deal: str) -> SagaView:
        async with places:
            return await sagas.view(deal)

    return dict(zip(deals, await asyncio.gather(*map(view, deals)), strict=True))


def created(view: SagaView) -> set[Key]:
    """Return what the steps that are done say that they created."""
    return {
        key
        for step in view.steps
        if step.state is StepState.DONE and step.receipt is not None
        for key in _of(step.receipt)
    }


def _of(receipt: Receipt) -> set[Key]:
    if receipt.outcome is not WriteOutcome.CREATED:
        return set()
    return {key for ref in (receipt.record, *receipt.parts) if (key := _key(ref)) is not None}


def _key(ref: RecordRef) -> Key | None:
    if ref.type == "milestone_list":  # named by its project; its milestones are the parts
        return None
    return ref.system, TYPES[ref.system, ref.type], ref.id


def held(before: Records, after: Records, told: Mapping[str, SagaView]) -> dict[str, Held]:
    """Tell the new records apart by deal; every one must be some deal's, and no deal lack one.

    Raises:
        AssertionError: a record is nobody's, is claimed twice, or is not there.
    """
    new = {key: row for key, row in after.items() if key not in before}
    owner: dict[Key, str] = {}
    for deal, view in told.items():
        for key in created(view):
            assert key not in owner, f"{key} is of {owner[key]} and of {deal}"
            owner[key] = deal
    missing = {key: deal for key, deal in owner.items() if key not in new}
    assert not missing, f"said to be created, and not there: {missing}"
    stray = [k for k in new if k[1] in ALONE and k not in owner]
    assert not stray, f"created, and of no step that is done: {stray}"
    shapes = {deal: Counter[tuple[str, str]]() for deal in told}
    for key, row in new.items():
        top = key if key in owner else _parent(key, row, owner)
        assert top is not None, f"{key} hangs on nothing of ours: {row['fields']}"
        shapes[owner[top]][key[:2]] += 1
    own: dict[str, dict[str, list[Key]]] = {deal: {} for deal in told}
    for key, deal in owner.items():
        own[deal].setdefault(key[1], []).append(key)
    return {deal: Held(own[deal], shapes[deal]) for deal in told}


def _parent(key: Key, row: Row, owner: Mapping[Key, str]) -> Key | None:
    """Return the record that this one hangs on; ids are not shared by types of one vendor."""
    fields = row["fields"]
    entity = fields.get("entity")
    ids = {fields.get("subject_id"), fields.get("workspace_id")}
    if isinstance(entity, dict):
        ids.add(entity.get("id"))
    found = [
        top
        for type_ in set(TYPES.values())
        for id_ in ids
        if (top := (key[0], type_, str(id_))) in owner
    ]
    return found[0] if found else None


def assert_as_reported(
    report: Mapping[str, RecordState],
    told: Mapping[str, SagaView],
    of: Mapping[str, Held],
    after: Records,
    clean: Mapping[str, str],
) -> None:
    """Assert that every deal is at the vendors as its line of the report says.

    Args:
        report: each deal with what the report says of it.
        told: each deal with what its saga says of itself.
        of: each deal with what the vendors hold of it.
        after: every live record.
        clean: each deal with one of its kind that was carried before anything was killed.
    """
    assert report.keys() == told.keys()
    for deal, state in report.items():
        like = clean[deal]
        if of[deal].own.get("workspaces"):
            assert _from_template(of[deal]) == _from_template(of[like]), (deal, of[deal])
        if state in CARRIED:
            _assert_carried(deal, told[deal], of[deal], after)
            assert of[deal].shape == of[like].shape, (deal, like)
            assert _project(of[deal], after) == _project(of[like], after), (deal, like)
        else:
            assert state is RecordState.PARKED, (deal, state)
            _assert_parked(deal, told[deal], of[deal], after)


def _assert_carried(deal: str, view: SagaView, found: Held, after: Records) -> None:
    assert {step.state for step in view.steps} == {StepState.DONE}, (deal, view)
    ids = {type_: [key[2] for key in found.own.get(type_, ())] for type_ in ONE_EACH}
    assert {type_: len(each) for type_, each in ids.items()} == dict.fromkeys(ONE_EACH, 1), deal
    ((customer,), (job,), (group,), (workspace,)) = (ids[type_] for type_ in ONE_EACH)
    assert after["netsuite", "job", job]["fields"]["parent"] == {"id": customer}, deal
    at_job = after["netsuite", "job", job]["fields"]["custentity_dealthread_psa_project"]
    assert at_job == workspace, deal
    at_psa = after["kantata", "workspaces", workspace]["fields"]
    assert at_psa["primary_workspace_group_id"] == group, deal
    assert links(deal, after) == (customer, job, workspace, STATUS_OPEN), deal


def _assert_parked(deal: str, view: SagaView, found: Held, after: Records) -> None:
    """Its records are those of its steps, as `held` found; here, what else the steps say."""
    assert view.state == SagaState.NEEDS_ATTENTION, (deal, view.state)
    states = {step.step: step.state for step in view.steps}
    (parked,) = [step for step, state in states.items() if state is StepState.PARKED]
    assert {item.step for item in view.work_items} == {parked}, deal
    job = found.own.get("job", ())
    linked = [after[key]["fields"].get("custentity_dealthread_psa_project") for key in job]
    done = {step for step, state in states.items() if state is StepState.DONE}
    assert any(linked) == ("link_erp_project" in done), (deal, states)
    customer, project, workspace, status = links(deal, after)
    assert bool(customer and project and workspace) == ("write_back" in done), (deal, states)
    assert (status == STATUS_OPEN) == ("confirm_in_crm" in done), (deal, states)


def links(deal: str, after: Records) -> tuple[object, object, object, object]:
    """Return what the CRM says of a deal: ids of client, ERP project, PSA project; the state."""
    fields = after["salesforce", "Opportunity", deal]["fields"]
    names = ("ERP_Customer_Id__c", "ERP_Project_Id__c", "PSA_Project_Id__c")
    customer, job, workspace = (fields.get(name) for name in names)
    return customer, job, workspace, fields.get("Integration_Status__c")


def _project(found: Held, after: Records) -> object:
    (key,) = found.own["workspaces"]
    fields = after[key]["fields"]
    return fields["status_key"], fields["time_trackable"], fields["archived"]


def _from_template(found: Held) -> int:
    """Return how many stories no step made."""
    return found.shape["kantata", "stories"] - len(found.own.get("stories", ()))


async def assert_nothing_was_created_twice(control: Control) -> None:
    """Assert that no vendor was ever given one external id twice, not even for a moment."""
    for vendor in VENDORS:
        calls = await control.calls(vendor, ACCOUNT)
        assert len(calls) < LOG_LENGTH_MAX, "the log has forgotten its beginning"
        made = Counter(
            (effect["type"], effect["key"])
            for call in calls
            for effect in call["effects"]
            if effect["effect"] == "create" and effect["key"]
        )
        assert [key for key, count in made.items() if count > 1] == [], vendor
