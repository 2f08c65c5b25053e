"""What people and events do to billing: say what changed, ask for a run, hold, look.

The CLI, the gateway and the pollers call it.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import AdapterError
from adapters.psa_port import Psa
from canonical.entries import EntryKind, EntryRef
from canonical.ids import VENDOR_ID_PATTERN, milestone_to_invoice_id, time_to_billing_id
from canonical.milestone_to_invoice import MilestoneChanged, MilestoneInput
from canonical.model import CanonicalModel
from canonical.time_to_billing import (
    EntriesChanged,
    ProjectPeriod,
    RunNow,
    TimeToBillingInput,
    TimeToBillingResult,
    TimeToBillingView,
)
from operations.people import Refused, check_role, short
from operations.sagas import ANSWER_WITHIN, SAGA_QUEUE
from store import Store
from workflows.board import BUSINESS_KEY, CORRELATION_ID, SAGA_STATE
from workflows.milestone_to_invoice import MilestoneToInvoice
from workflows.options import LIVE_PRIORITY
from workflows.time_to_billing import ApprovedTimeToBilling

DECIDERS: Final = {"operator", "finance", "admin"}
WEEK: Final = timedelta(days=7)
SIGNAL_MAX: Final = 500
"""Entries that one signal carries at most (DESIGN 9)."""
ENTRY_PATTERN: Final = re.compile(r"(?:(time|expense|adjustment):)?([A-Za-z0-9_.\-]{1,64})")


class Waiting(CanonicalModel):
    """A change of an entry that arrived, and that no run has read yet."""

    project_id: str
    run_under_way: bool = False
    """One runs that may have begun before it; the next one reads it."""
    next_run_at: datetime | None = None


Handle = WorkflowHandle[ApprovedTimeToBilling, TimeToBillingResult]


def parse_entry(text: str) -> EntryRef:
    """Return the entry that a person typed: `4711` is time, `expense:4711` an expense.

    Raises:
        Refused: it cannot be an entry's id.
    """
    found = ENTRY_PATTERN.fullmatch(text.strip())
    if found is None:
        raise Refused(
            f"{short(text)} cannot be an entry: write 4711, expense:4711 or adjustment:4711."
        )
    return EntryRef(kind=EntryKind(found[1] or "time"), id=found[2])


@dataclass(frozen=True)
class BillingDesk:
    """Everything that can be done to billing, over one Temporal client and one store."""

    client: Client
    store: Store
    people: dict[str, frozenset[str]]
    open_period: Callable[[str, str], Awaitable[str]]
    """Returns the billing period that is open for a PSA's project now.

    Raises:
        Refused: nobody knows the project.
    """
    psas: Callable[[str], Psa]
    """Returns the PSA of a connection."""
    psa: str = "kantata"
    """The connection meant where none is named."""

    async def entries_of_week(
        self, project_id: str, day: date, *, psa: str = ""
    ) -> tuple[EntryRef, ...]:
        """Return every entry of a project in the week of a day, as the PSA has them now."""
        monday = day - timedelta(days=day.weekday())
        found: list[EntryRef] = []
        async for page in self.psas(psa or self.psa).list_entries(project_id):
            found += [each.ref for each in page if monday <= each.service_date < monday + WEEK]
        return tuple(found)

    async def changed(
        self,
        project_id: str,
        entries: Iterable[EntryRef],
        *,
        psa: str = "",
        correlation_id: str = "",
    ) -> ProjectPeriod:
        """Tell a project's open period which entries changed; it is started where it sleeps.

        The same twice changes nothing. More than 500 entries go in several signals.

        Raises:
            Refused: the project's id is none, or nobody knows the project.
        """
        of = await self._open(project_id, psa)
        wanted: Sequence[EntryRef] = list(dict.fromkeys(entries))
        for first in range(0, len(wanted), SIGNAL_MAX):
            message = EntriesChanged(
                entries=tuple(wanted[first : first + SIGNAL_MAX]), correlation_id=correlation_id
            )
            await self._signal(of, "changed", message, correlation_id)
        return of

    async def start_milestone(self, milestone_id: str, *, psa: str = "") -> str:
        """Start the saga of a billing milestone, or tell the one that runs; return its id.

        Raises:
            Refused: the id cannot be a milestone's, or there is no such PSA.
        """
        psa = psa or self.psa
        if not VENDOR_ID_PATTERN.fullmatch(milestone_id):
            raise Refused(f"{short(milestone_id)} cannot be a milestone's id.")
        if not psa:
            raise Refused("There is no PSA among the connections of dealthread.toml.")
        workflow_id = milestone_to_invoice_id(psa, milestone_id)
        await self.client.start_workflow(
            MilestoneToInvoice.run,
            MilestoneInput(psa=psa, milestone_id=milestone_id, correlation_id=workflow_id),
            id=workflow_id,
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="changed",
            start_signal_args=[MilestoneChanged(correlation_id=workflow_id)],
            static_summary="Milestone to invoice",
            priority=LIVE_PRIORITY,
        )
        return workflow_id

    async def run(self, project_id: str, *, by: str, psa: str = "") -> ProjectPeriod:
        """Ask for a billing run now.

        Raises:
            Refused: this person may not, or nobody knows the project.
        """
        check_role(self.people, by, DECIDERS, "billing")
        of = await self._open(project_id, psa)
        await self._signal(of, "run_now", RunNow(asked_by=by), "")
        return of

    async def hold(
        self, project_id: str, entries: Sequence[EntryRef], *, by: str, because: str, psa: str = ""
    ) -> int:
        """Hold entries by hand, with a reason; returns how many are newly held.

        Raises:
            Refused: this person may not, there is no reason, or nobody knows the project.
        """
        check_role(self.people, by, DECIDERS, "billing")
        if not because.strip():
            raise Refused('Say why with --because "...": somebody will ask.')
        of = await self._open(project_id, psa)
        return await self.store.subledger.hold(of.psa, entries, owner=by, because=because)

    async def unhold(
        self, project_id: str, entries: Sequence[EntryRef], *, by: str, psa: str = ""
    ) -> int:
        """Release what was held, by hand or by rating; the next run judges it anew.

        Raises:
            Refused: this person may not, or nobody knows the project; nothing is released.
        """
        check_role(self.people, by, DECIDERS, "billing")
        of = await self._open(project_id, psa)
        released = await self.store.subledger.unhold(of.psa, entries, by=by)
        await self.changed(project_id, entries, psa=psa)
        return released

    async def view(self, project_id: str, *, psa: str = "") -> TimeToBillingView | None:
        """Return what waits for the project's open period; None where nothing runs."""
        of = await self._open(project_id, psa)
        handle = self.client.get_workflow_handle_for(
            ApprovedTimeToBilling.run, time_to_billing_id(of.psa, of.project_id, of.period)
        )
        try:
            return await handle.query(ApprovedTimeToBilling.view, rpc_timeout=ANSWER_WITHIN)
        except RPCError as error:
            if error.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.DEADLINE_EXCEEDED}:
                return None
            raise

    async def waiting(
        self, entry: EntryRef, project_id: str = "", *, psa: str = ""
    ) -> Waiting | None:
        """Return where a change of an entry waits to be read; None: none has arrived.

        It waits in its project's period, or on the store's list. Of an entry that no run ever read,
        the PSA says which project it is on.
        """
        listed = await self.store.changes.on_list(psa or self.psa, entry)
        project = listed.project_id if listed else project_id
        project = project or await self._project_of(entry, psa or self.psa)
        if not project:
            return None
        try:
            view = await self.view(project, psa=psa)
        except Refused:
            view = None
        if listed is None and (view is None or entry not in view.entries):
            return None
        return Waiting(
            project_id=project,
            run_under_way=view is not None and bool(view.open_run),
            next_run_at=view.next_run_at if view is not None else None,
        )

    async def _project_of(self, entry: EntryRef, psa: str) -> str:
        """Return the project that the PSA has an entry on; empty where it does not say."""
        try:
            found = await self.psas(psa).read_entries((entry,))
        except AdapterError:
            return ""
        return found[0].project_id if found else ""

    async def _open(self, project_id: str, psa: str) -> ProjectPeriod:
        if not VENDOR_ID_PATTERN.fullmatch(project_id):
            raise Refused(f"{short(project_id)} cannot be a project's id.")
        psa = psa or self.psa
        return ProjectPeriod(
            psa=psa, project_id=project_id, period=await self.open_period(psa, project_id)
        )

    async def _signal(
        self, of: ProjectPeriod, name: str, message: EntriesChanged | RunNow, correlation_id: str
    ) -> Handle:
        workflow_id = time_to_billing_id(of.psa, of.project_id, of.period)
        return await self.client.start_workflow(
            ApprovedTimeToBilling.run,
            TimeToBillingInput(of=of, correlation_id=correlation_id or workflow_id),
            id=workflow_id,
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=name,
            start_signal_args=[message],
            static_summary=f"Approved time of project {of.project_id}, {of.period}",
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(SAGA_STATE, "waiting"),
                    SearchAttributePair(BUSINESS_KEY, of.project_id),
                    SearchAttributePair(CORRELATION_ID, correlation_id or workflow_id),
                ]
            ),
            priority=LIVE_PRIORITY,
        )
