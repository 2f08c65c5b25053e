"""What people do with backfills: try one, start one, look, steer, report; CLI and API call it.

A dry run reads and judges here, without Temporal, and keeps nothing.
"""

import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, TypeVar

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.backfilling import JudgedPage, judged_page
from adapters.ports import Source
from canonical.backfill import (
    ENDED,
    IN_FLIGHT_USUAL,
    RATE_USUAL,
    Amount,
    BackfillInput,
    BackfillKind,
    BackfillView,
    ChangeRate,
    Judged,
    RecordState,
    SourceWindow,
    Standing,
    Steer,
)
from canonical.ids import backfill_id
from canonical.money import Money
from operations.people import Refused, short
from operations.sagas import ANSWER_WITHIN, SAGA_QUEUE, TAKEN_WITHIN
from store import Store
from store.backfills import ReportedRecord, StoredBackfill
from workflows.backfill import Backfill
from workflows.options import BACKFILL_PRIORITY

PREFIX: Final = "backfill/"
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}")
NUMBERS_TRIED: Final = 20
ASKED_MAX: Final = 3
"""How often an update is sent, under one id: a run that continues as new may refuse it."""

Handle = WorkflowHandle[Backfill, BackfillView]
Wish = TypeVar("Wish", Steer, ChangeRate)


@dataclass(frozen=True)
class BackfillDesk:
    """Backfills, for people and programs."""

    client: Client
    store: Store
    source: Callable[[SourceWindow], Source] | None = None
    """Returns the system that has the records of a window; None: only a worker can ask it."""
    crm: str = "salesforce"
    psa: str = "kantata"
    """The connections meant where none is named."""
    crms: frozenset[str] = frozenset()
    psas: frozenset[str] = frozenset()
    """The connections that there are; empty: any."""

    # Before.

    def window(
        self, kind: BackfillKind, since: date, until: date, where: str = "", connection: str = ""
    ) -> SourceWindow:
        """Return the window that somebody means.

        Raises:
            Refused: it ends before it begins, or no system has such records.
        """
        if since > until:
            raise Refused(f"The window ends before it begins: {since} is after {until}.")
        deals = kind is BackfillKind.OPPORTUNITIES
        role, usual, known = ("CRM", self.crm, self.crms) if deals else ("PSA", self.psa, self.psas)
        if not (connection or usual):
            raise Refused(f"There is no {role} among the connections of dealthread.toml.")
        if connection and known and connection not in known:
            raise Refused(f"There is no {role} connection {short(connection)} in dealthread.toml.")
        return SourceWindow(
            kind=kind, connection=connection or usual, since=since, until=until, where=where
        )

    async def dry_run(self, window: SourceWindow) -> AsyncIterator[tuple[Judged, ...]]:
        """Yield what a backfill would do about each record, page by page; writes nowhere.

        Raises:
            AdapterError: the source can't be read, or the condition is none.
        """
        if self.source is None:
            raise Refused("A dry run needs the vendors' secrets: starter.py backfill … --dry-run.")
        source, after, seen = self.source(window), "", set[str]()
        while True:
            page: JudgedPage = await judged_page(self.store, source, window, after)
            fresh = tuple(each for each in page.judged if each.record.id not in seen)
            seen.update(each.record.id for each in fresh)
            yield fresh
            if not page.next:
                return
            after = page.next

    async def start(
        self,
        window: SourceWindow,
        *,
        rate: Decimal = RATE_USUAL,
        in_flight_max: int | None = None,
        name: str = "",
        by: str = "",
    ) -> str:
        """Start a backfill and return its id. Its first page is read here, to see that it can be.

        Without `in_flight_max` as many are in flight as is usual for the kind.

        Raises:
            Refused: the pace or the name can't be, or there is one of that name.
            AdapterError: the source can't be read, or the condition is none.
        """
        if name and not NAME.fullmatch(name):
            raise Refused(f"{short(name)} is no name: a letter, then letters, digits and '-'.")
        if in_flight_max is None:
            in_flight_max = IN_FLIGHT_USUAL[window.kind]
        try:
            given = BackfillInput(window=window, rate=rate, in_flight_max=in_flight_max, by=by)
        except ValidationError as error:
            wrong = error.errors()[0]
            raise Refused(f"{wrong['loc'][0]}: {wrong['msg']}.") from None
        if self.source is not None:
            await self.source(window).page_records(window)
        number = await self.store.backfills.next_number(window.kind)
        for more in range(NUMBERS_TRIED):
            id_ = backfill_id(window.kind, name or str(number + more))
            try:
                await self._start(id_, given)
            except WorkflowAlreadyStartedError:
                if name:
                    raise Refused(
                        f"There is a backfill {id_} already: starter.py backfill attach {id_}."
                    ) from None
            else:
                return id_
        raise Refused("Too many backfills begin at once: try again.")

    async def _start(self, id_: str, given: BackfillInput) -> None:
        window = given.window
        await self.client.start_workflow(
            Backfill.run,
            given,
            id=id_,
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=f"Backfill {window.kind} of {window.since} to {window.until}",
            priority=BACKFILL_PRIORITY,
        )
        # The row is there as soon as the id is told, whether or not a worker runs.
        await self.store.backfills.open(id_, given)

    # Looking.

    async def list(self) -> tuple[StoredBackfill, ...]:
        """Return backfills, the newest first."""
        return await self.store.backfills.list()

    async def find(self, typed: str) -> StoredBackfill:
        """Return the backfill of an id, whole or without its beginning, as it stands now.

        Raises:
            Refused: there is none.
        """
        id_ = typed if typed.startswith(PREFIX) else PREFIX + typed
        stored = next(iter(await self.store.backfills.list(id_)), None)
        if stored is None:
            raise Refused(f"There is no backfill {short(typed)}: starter.py backfill list.")
        # What waits for a person may have been resolved long after the backfill ended.
        await self.store.backfills.see(id_, stored.view.window.kind)
        standing = await self.store.backfills.standing(id_)
        view = await self._live(stored.view)
        return stored.model_copy(update={"view": view.model_copy(update={"standing": standing})})

    async def _live(self, view: BackfillView) -> BackfillView:
        """Return the view as the workflow tells it; as stored where no worker answers."""
        if view.state in ENDED:
            return view
        try:
            return await self._handle(view.id).query(Backfill.progress, rpc_timeout=ANSWER_WITHIN)
        except (RPCError, WorkflowQueryFailedError):
            return view

    async def report(self, id_: str) -> AsyncIterator[ReportedRecord]:
        """Yield what became of each record, in the source's order."""
        after = 0
        while True:
            page, after = await self.store.backfills.records(id_, after)
            if not page:
                return
            for each in page:
                yield each

    # Steering.

    async def pause(self, id_: str, *, by: str = "") -> BackfillView:
        """Start nothing more until it is resumed.

        Raises:
            Refused: it makes no sense now, or nobody answers; so do the other three.
        """
        return await self._steer(id_, "pause", Steer(by=by))

    async def resume(self, id_: str, *, by: str = "") -> BackfillView:
        """Go on."""
        return await self._steer(id_, "resume", Steer(by=by))

    async def cancel(self, id_: str, *, by: str = "") -> BackfillView:
        """Start nothing more, for good."""
        return await self._steer(id_, "cancel", Steer(by=by))

    async def change_rate(
        self,
        id_: str,
        *,
        rate: Decimal | None = None,
        in_flight_max: int | None = None,
        by: str = "",
    ) -> BackfillView:
        """Make it faster or slower."""
        try:
            wish = ChangeRate(rate=rate, in_flight_max=in_flight_max, by=by)
        except ValidationError as error:
            wrong = error.errors()[0]
            raise Refused(f"{wrong['loc'][0]}: {wrong['msg']}.") from None
        return await self._steer(id_, "change_rate", wish)

    async def _steer(self, id_: str, update: str, wish: Steer | ChangeRate) -> BackfillView:
        handle, update_id = self._handle(id_), uuid.uuid4().hex
        for asked in range(1, ASKED_MAX + 1):
            try:
                answer: BackfillView = await handle.execute_update(
                    update, wish, id=update_id, result_type=BackfillView, rpc_timeout=TAKEN_WITHIN
                )
            except WorkflowUpdateFailedError as error:
                cause = error.cause
                if not isinstance(cause, ApplicationError):
                    raise
                if cause.type == "refused" or asked == ASKED_MAX:
                    raise Refused(cause.message) from error
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                raise Refused("No worker answers: start one (worker.py), then say it again.") from (
                    error
                )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                raise Refused(f"{id_} runs no more.") from error
            else:
                return answer
        raise Refused(f"{id_} does not answer.")

    def _handle(self, id_: str) -> Handle:
        return self.client.get_workflow_handle_for(Backfill.run, id_)


def standing_of(judged: list[Judged]) -> Standing:
    """Return what judged records come to, as a backfill would tell it."""
    counts: dict[tuple[RecordState, str], tuple[int, Money | None]] = {}
    for each in judged:
        money = each.record.amount
        key = each.state, money.currency if money else ""
        count, total = counts.get(key, (0, None))
        counts[key] = count + 1, total + money if total and money else (total or money)
    return Standing(
        amounts=tuple(
            Amount(state=state, records=count, money=money)
            for (state, _), (count, money) in sorted(counts.items(), key=lambda item: item[0])
        )
    )
