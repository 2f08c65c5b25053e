"""Backfill: carries the records of a source over, at a pace, behind whatever is live (DESIGN 4).

Trigger: a person.
Workflow id: `backfill/<kind>/<number or name>`.

    open ── read the source page by page, judge each record, keep it (the plan)
         ── each tick: see what became of what runs, start what rate and room allow
         ── all ended, parked or refused: over

Records, plan and outcomes are in the store; history has counts alone. What is started outlives the
backfill: a cancel stops starting and nothing else. The workflow continues as new after so many
records, or when the server suggests it.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.activities import ActivityRef
    from canonical.backfill import (
        ENDED,
        AdvanceBackfill,
        BackfillInput,
        BackfillState,
        BackfillView,
        ChangeRate,
        NoteBackfill,
        OpenBackfill,
        ReadSource,
        RecordState,
        Steer,
        SteeringAct,
    )
    from canonical.model import CanonicalModel
    from canonical.saga import Route

from workflows.board import BUSINESS_KEY, SAGA_STATE
from workflows.calls import StepError, call_store, failure_of
from workflows.options import BACKFILL_PRIORITY, STEP_BACKSTOP, STEP_HEARTBEAT, STORE_RETRY

TICK: Final = timedelta(seconds=1)
TICK_MAX: Final = timedelta(seconds=5)
"""The longest pause while nothing changes."""
ADVANCE_WITHIN: Final = timedelta(seconds=60)
TURNS_MAX: Final = 400
"""Ticks and pages of one run: about 5,000 events."""
BURST_SECONDS: Final = Decimal(1)
"""Starts that were not used are kept for so long."""

Request = TypeVar("Request", bound=CanonicalModel)
Result = TypeVar("Result", bound=CanonicalModel | None)


@workflow.defn
class Backfill:
    """Reads a source, starts or adopts a saga per record, and follows them to their ends."""

    @workflow.init
    def __init__(self, given: BackfillInput) -> None:
        """Take over how far an earlier run came."""
        self._given = given
        self._id = workflow.info().workflow_id
        self._state = given.state
        self._after = given.after
        self._rate = given.rate
        self._in_flight_max = given.in_flight_max
        self._paused = given.paused
        self._cancelled = given.cancelled
        self._standing = given.standing
        self._why = ""
        self._acts: list[SteeringAct] = []
        self._handled = 0
        self._turns = 0
        self._credit = Decimal(1)
        self._paced_at = workflow.now()
        self._pause = TICK

    @workflow.run
    async def run(self, given: BackfillInput) -> BackfillView:
        """Carry everything over, and return what it came to."""
        route = given.route or await self._open()
        while self._state not in ENDED:
            if self._acts:
                await self._note()
            if self._cancelled and self._state is BackfillState.READING:
                self._state = BackfillState.APPLYING
            if self._state is BackfillState.READING:
                await self._read(route)
            else:
                await self._advance()
            self._turns += 1
            if self._state not in ENDED and self._is_long():
                await self._continue_as_new(route)
        await self._note()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.progress()

    # Steering.

    @workflow.query
    def progress(self) -> BackfillView:
        """Return how far it has come."""
        return BackfillView(
            id=self._id,
            window=self._given.window,
            state=self._shown_state(),
            rate=self._rate,
            in_flight_max=self._in_flight_max,
            standing=self._standing,
            why=self._why,
        )

    @workflow.update
    def pause(self, wish: Steer) -> BackfillView:
        """Start nothing more until it is resumed; what runs goes on."""
        self._paused = True
        return self._steer("backfill_paused", wish.by)

    @pause.validator
    def _may_pause(self, wish: Steer) -> None:
        del wish  # who says so makes no difference
        self._refuse_ended()
        _refuse(self._cancelled, "it is being cancelled")
        _refuse(self._paused, "it is paused already")

    @workflow.update
    def resume(self, wish: Steer) -> BackfillView:
        """Go on where it was paused."""
        self._paused = False
        return self._steer("backfill_resumed", wish.by)

    @resume.validator
    def _may_resume(self, wish: Steer) -> None:
        del wish  # who says so makes no difference
        self._refuse_ended()
        _refuse(not self._paused, "it is not paused")

    @workflow.update
    def change_rate(self, wish: ChangeRate) -> BackfillView:
        """Start faster or slower, or with more or fewer in flight, from now on."""
        self._rate = wish.rate or self._rate
        self._in_flight_max = wish.in_flight_max or self._in_flight_max
        detail = f"{self._rate} a second, {self._in_flight_max} in flight"
        return self._steer("backfill_rate_changed", wish.by, detail)

    @change_rate.validator
    def _may_change_rate(self, wish: ChangeRate) -> None:
        self._refuse_ended()
        _refuse(wish.rate is None and wish.in_flight_max is None, "nothing is said to change")

    @workflow.update
    def cancel(self, wish: Steer) -> BackfillView:
        """Start nothing more, for good; what was started goes on to its own end."""
        self._cancelled, self._paused = True, False
        return self._steer("backfill_cancelled", wish.by)

    @cancel.validator
    def _may_cancel(self, wish: Steer) -> None:
        del wish  # who says so makes no difference
        self._refuse_ended()
        _refuse(self._cancelled, "it is being cancelled already")

    def _steer(self, act: str, by: str, detail: str = "") -> BackfillView:
        self._acts.append(SteeringAct(act=act, by=by, detail=detail))
        self._pause = TICK
        return self.progress()

    def _refuse_ended(self) -> None:
        _refuse(self._state in ENDED, f"it is {self._state} already")

    def _shown_state(self) -> BackfillState:
        if self._state in ENDED:
            return self._state
        if self._cancelled:
            return BackfillState.CANCELLING
        return BackfillState.PAUSED if self._paused else self._state

    # Doing.

    async def _open(self) -> Route:
        workflow.upsert_search_attributes(
            [SAGA_STATE.value_set("running"), BUSINESS_KEY.value_set(self._id)]
        )
        opened = await call_store(
            ref.OPEN_BACKFILL, OpenBackfill(backfill=self._id, given=self._given)
        )
        return opened.route

    async def _read(self, route: Route) -> None:
        """Read the next page; a source that refuses ends the backfill before it began."""
        if self._paused:
            await workflow.wait_condition(lambda: bool(self._acts))
            return
        wanted = ReadSource(backfill=self._id, window=self._given.window, after=self._after)
        try:
            read = await self._call(
                ref.READ_SOURCE,
                wanted,
                route.queue,
                timedelta(seconds=route.attempt_seconds),
                "Read a page of the source",
            )
        except StepError as error:
            self._why = failure_of(error).message
            self._state = BackfillState.FAILED
            return
        self._handled += read.records
        self._after, self._standing = read.next, read.standing
        workflow.set_current_details(_details(self.progress()))
        if not read.next:
            self._state = BackfillState.APPLYING
            await self._note()

    async def _advance(self) -> None:
        """See what became of what runs, start what may be, and wait a moment."""
        wanted = AdvanceBackfill(
            backfill=self._id,
            window=self._given.window,
            start_max=self._allowance(),
            in_flight_max=self._in_flight_max,
            give_up=self._cancelled,
        )
        self._standing = await self._call(
            ref.ADVANCE_BACKFILL,
            wanted,
            workflow.info().task_queue,
            ADVANCE_WITHIN,
            "See what became of what runs, start what is due",
        )
        self._credit -= self._standing.started
        self._handled += self._standing.started
        workflow.set_current_details(_details(self.progress()))
        if self._standing.over:
            ended = BackfillState.CANCELLED if self._cancelled else BackfillState.FINISHED
            self._state = ended
            return
        self._pause = TICK if self._standing.changed else min(2 * self._pause, TICK_MAX)
        acts = len(self._acts)
        await _waited(lambda: len(self._acts) != acts, self._pause)

    def _allowance(self) -> int:
        """Return how many may be started now, by the rate."""
        now = workflow.now()
        passed = Decimal(str((now - self._paced_at).total_seconds()))
        self._paced_at = now
        most = max(Decimal(1), self._rate * BURST_SECONDS)
        self._credit = min(self._credit + passed * self._rate, most)
        return 0 if self._paused or self._cancelled else int(self._credit)

    async def _note(self) -> None:
        acts, self._acts = tuple(self._acts), []
        await call_store(ref.NOTE_BACKFILL, NoteBackfill(view=self.progress(), acts=acts))
        workflow.upsert_search_attributes([SAGA_STATE.value_set(_searchable(self.progress()))])

    async def _call(
        self,
        activity: ActivityRef[Request, Result],
        request: Request,
        queue: str,
        within: timedelta,
        summary: str,
    ) -> Result:
        result: Result = await workflow.execute_activity(
            activity.name,
            request,
            result_type=activity.result,
            task_queue=queue,
            start_to_close_timeout=within,
            schedule_to_close_timeout=STEP_BACKSTOP,
            heartbeat_timeout=STEP_HEARTBEAT,
            retry_policy=STORE_RETRY,
            summary=summary,
            priority=BACKFILL_PRIORITY,
        )
        return result

    # Going on.

    def _is_long(self) -> bool:
        return (
            self._handled >= self._given.records_per_run
            or self._turns >= TURNS_MAX
            or workflow.info().is_continue_as_new_suggested()
        )

    async def _continue_as_new(self, route: Route) -> None:
        if self._acts:
            await self._note()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            self._given.model_copy(
                update={
                    "route": route,
                    "state": self._state,
                    "after": self._after,
                    "rate": self._rate,
                    "in_flight_max": self._in_flight_max,
                    "paused": self._paused,
                    "cancelled": self._cancelled,
                    "standing": self._standing,
                }
            )
        )


async def _waited(until: Callable[[], bool], at_most: timedelta) -> None:
    try:
        await workflow.wait_condition(until, timeout=at_most)
    except TimeoutError:
        return


def _refuse(when: bool, why: str) -> None:
    if when:
        raise ApplicationError(f"That makes no sense now: {why}.", type="refused")


def _searchable(view: BackfillView) -> str:
    waiting = {BackfillState.PAUSED: "waiting", BackfillState.FINISHED: "completed"}
    if view.state in waiting:
        return waiting[view.state]
    return "abandoned" if view.state in ENDED else "running"


def _details(view: BackfillView) -> str:
    """Return the Markdown table for the Web UI."""
    counts = ((state, view.standing.count(state)) for state in RecordState)
    rows = "\n".join(f"| {state} | {count} |" for state, count in counts if count)
    return f"**{view.state}**, {view.rate} a second\n\n| records | |\n|---|---|\n{rows}"
