"""ApprovedTimeToBilling's own activities, beside the workflow: when to bill, what changed."""

from collections.abc import Callable
from dataclasses import dataclass

from activities.registration import implements
from canonical import activities as ref
from canonical.time_to_billing import (
    Calendar,
    NoteChanges,
    OpenedRun,
    OpenRun,
    ProjectPeriod,
)
from policies.bundle import Bundle
from policies.periods import cutoff_of
from store import Store


@dataclass(frozen=True)
class CalendarActivities:
    """Quick, idempotent, in the store; retried for ever."""

    store: Store
    bundle: Callable[[str], Bundle]
    """By PSA connection."""

    @implements(ref.READ_CALENDAR)
    async def read_calendar(self, of: ProjectPeriod) -> Calendar:
        """Return when the period is billed, by the calendar of the entity that bills.

        A project without an engagement follows the first entity: its run parks and says so.
        """
        billing = self.bundle(of.psa).policies.billing
        versions = await self.store.engagements.of_project(of.psa, of.project_id)
        known = [line.legal_entity for version in versions for line in version.lines]
        entity = billing.entities[next((code for code in known), next(iter(billing.entities)))]
        return Calendar(
            debounce_seconds=entity.debounce_seconds,
            longest_wait_seconds=entity.longest_wait_seconds,
            cutoff_at=cutoff_of(of.period, entity),
        )

    @implements(ref.NOTE_CHANGES)
    async def note_changes(self, request: NoteChanges) -> None:
        """Put changed entries on the list of what the next run reads."""
        of = request.of
        await self.store.changes.note(
            of.psa, of.project_id, request.entries, request.correlation_id
        )

    @implements(ref.OPEN_RUN)
    async def open_run(self, request: OpenRun) -> OpenedRun:
        """Return the number of the next run; asked again, the one that nobody used yet."""
        of = request.of
        number = await self.store.runs.open(of.psa, of.project_id, of.period, request.after)
        return OpenedRun(number=number)
