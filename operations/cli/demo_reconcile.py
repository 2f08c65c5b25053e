"""The demo's fourth part: time is approved and no message tells it; a reconciliation finds it.

The simulated PSA loses the message. The first run compares what the systems hold with what
Dealthread knows, and has the entry told to its billing period; the second finds that all agrees.
"""

from typing import Final

from pydantic import BaseModel, JsonValue

from activities.engaging import engaged
from canonical.engagement import Engagement
from canonical.entries import EntryKind, EntryRef
from canonical.ids import billing_run_id
from canonical.reconciliation import Reconciled, ReconcileInput
from embedded.configuration import ACCOUNT
from operations.cli.demo_week import T_AND_M, Work, approve, billed, until
from operations.composition import Office, load_policies
from simulators.kit.control import Control

PSA: Final = "kantata"
PERIOD: Final = "2026-12"
LATE: Final = Work("Priya Nair", "6", "2026-12-11", T_AND_M, 90)


class Gap(BaseModel):
    """What two reconciliations came to."""

    lost: str
    """What was approved unheard, in words."""
    scope: str
    """What was compared: legal entity and period."""
    compared: int
    """Records that the systems listed."""
    found: list[str]
    """What the first run found, each in words."""
    mended: list[str]
    """What it did about them."""
    billed: str
    """What became of the entry then."""
    again: int
    """Findings of the second run."""
    closed: int
    """Findings that the second run closed."""


async def reconcile_gap(office: Office, control: Control, project_id: str) -> Gap:
    """Lose a message, reconcile twice, and return what was seen."""
    (engagement, *_) = await engaged(
        office.store, office.psa, project_id, load_policies(office.config)
    )
    late = await _approve_unheard(control, project_id, engagement)
    entity = engagement.lines[0].legal_entity
    first = await _reconcile(office, entity)
    findings = await office.store.reconciliation.findings(run=first.run)
    compared = (await office.store.reconciliation.run(first.run)).compared
    await _bill(office, project_id)
    second = await _reconcile(office, entity)
    done = await billed(office, late, LATE)
    return Gap(
        lost=f"{LATE.minutes} min of {LATE.who} on {LATE.day}, entry {late.id}",
        scope=f"{entity} {PERIOD}",
        compared=sum(each.rows for each in compared),
        found=[f"{each.code}: {each.explanation}" for each in findings],
        mended=[each.healed_as for each in findings if each.healed_as],
        billed=f"{done.becomes} {done.amount}",
        again=second.findings,
        closed=second.closed,
    )


async def _approve_unheard(control: Control, project_id: str, engagement: Engagement) -> EntryRef:
    """Log and approve late time while the PSA's change feed loses what it should tell."""
    task = next(line.task_ids[0] for line in engagement.lines if line.type is LATE.line)
    fields: dict[str, JsonValue] = {
        "workspace_id": project_id,
        "user_id": LATE.user_id,
        "story_id": task,
        "date_performed": LATE.day,
        "time_in_minutes": LATE.minutes,
        "billable": True,
    }
    await control.emit(PSA, ACCOUNT, {"what": "feed", "lost": True})
    made = await control.put_record(PSA, ACCOUNT, "time_entries", fields)
    entry = EntryRef(kind=EntryKind.TIME, id=made["id"])
    await approve(control, project_id, {entry: LATE})
    await control.emit(PSA, ACCOUNT, {"what": "feed"})
    return entry


async def _reconcile(office: Office, entity: str) -> Reconciled:
    wanted = ReconcileInput(
        legal_entity=entity, period=PERIOD, heal=True, tolerance_seconds=0, asked_by="demo"
    )
    return await office.reconciliation.run(wanted)


async def _bill(office: Office, project_id: str) -> None:
    """Bill what the project's period was told, now instead of a while later."""
    await until(lambda: _heard(office, project_id), "the late entry's way to its period")
    of = await office.billing.run(project_id, by="olivia")
    run = billing_run_id(of.psa, of.project_id, of.period, 2)
    await until(lambda: _ended(office, run), run)


async def _heard(office: Office, project_id: str) -> bool:
    view = await office.billing.view(project_id)
    return view is not None and view.waiting > 0


async def _ended(office: Office, run: str) -> bool:
    known = await office.store.sagas.state(run)
    return known is not None and known.outcome is not None
