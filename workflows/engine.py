"""The saga engine: steps, parking, rollback, pivot (DESIGN 3). A saga says what; this says how.

A saga subclasses `Saga`, declares its `STEPS`, makes its plan and writes its flow as plain calls of
`step`, `parallel` and `gate`. The engine registers each undo before its `do` is scheduled, parks
what fails, takes decisions by update, and undoes in reverse order when it must stop. Nothing here
knows a vendor or a business act.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, ClassVar, Generic, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.failures import FailureDetail, FailureKind
    from canonical.ids import step_key
    from canonical.provisioning import StepRequest
    from canonical.records import Receipt, UndoReceipt, UndoResult
    from canonical.saga import (
        Begin,
        Begun,
        CloseGeneration,
        Finish,
        Outcome,
        Route,
        SagaPlan,
        SagaResult,
        SagaState,
        SagaView,
        StepState,
        SweepMode,
        UndoCall,
        Verb,
        WorkItemKind,
    )

from workflows import options
from workflows.board import Board, Row
from workflows.calls import StepError, call_store, call_vendor, failure_of
from workflows.desk import Abandon, Desk, RollBack
from workflows.step import R, Step, T

Plan = TypeVar("Plan", bound=SagaPlan)
U = TypeVar("U")
V = TypeVar("V")


class Saga(Desk, ABC, Generic[Plan]):
    """Base of every saga; `run` of the subclass calls `run_saga` and returns its result."""

    STEPS: ClassVar[tuple[Step[Any, Any], ...]]
    """The table of steps: the fault matrix, the sweep and the documentation are made from it."""
    PLAN: ClassVar[Step[Any, Any]]
    """The step that reads the source record and plans; a correction runs it again."""

    def __init__(self) -> None:
        self.board = Board()
        self._plan: Plan | None = None
        self._generation = 0
        self._parks = 0
        self._stop = ""
        self._given_up = ""
        self._forward_only = False
        self._pivots_in_flight = 0
        self._closing: asyncio.Task[None] | None = None
        self._rows: dict[str, Row] = {}
        self._undos: list[Row] = []
        self._corrections: dict[str, str] = {}

    # What a saga says.

    @abstractmethod
    def plan_request(self, corrections: dict[str, str]) -> StepRequest:
        """Return the request of the `PLAN` step, with people's corrections on the input."""

    @abstractmethod
    async def flow(self) -> None:
        """Carry out the plan. Requests are built from `self.plan` when a step (re)starts."""

    @classmethod
    @abstractmethod
    def read_plan(cls, plan_json: str) -> Plan:
        """Return a stored plan, for a run that goes on where a terminated one stood."""

    @property
    def plan(self) -> Plan:
        """The plan in force; a correction replaces it."""
        if self._plan is None:
            raise RuntimeError("the flow asked for the plan before there was one")
        return self._plan

    # The platform around the business flow.

    async def run_saga(self, begin: Begin) -> SagaResult:
        """Run the saga to one of its outcomes; to Temporal each of them is a completed run."""
        playing = asyncio.create_task(self._play(begin))
        try:
            # A cancel lands here and nowhere else: no write in flight is ever cancelled.
            return await asyncio.shield(playing)
        except asyncio.CancelledError:
            self.request_stop("cancelled")
            return await asyncio.shield(playing)

    async def _play(self, begin: Begin) -> SagaResult:
        begun = await call_store(ref.BEGIN, begin)
        self._planning_route = begun.route
        if begun.completed is not None:
            self.board.publish(begun.completed.outcome, None)
            return begun.completed
        self._generation = begun.generation
        if begun.plan_json:
            self._plan = self.read_plan(begun.plan_json)
        pivots = {step.name for step in self.STEPS if step.pivot}
        # An earlier run got past the pivot, or perhaps: this one only goes forward, from its start.
        self._forward_only = any(entry.step in pivots for entry in begun.open_steps)
        try:
            if begin.sweep is SweepMode.ROLL_BACK or begun.closed:
                self._adopt_open_steps(begun)
                raise RollBack(begun.because or "an earlier run was terminated")
            if self._plan is None:
                self._plan = await self.step(
                    self.PLAN, lambda: self.plan_request(self._corrections)
                )
            self.board.publish(self.board.state or SagaState.RUNNING, self._plan)
            await self.flow()
            outcome, reason = self._completed(), self._stop and f"{self._stop}: too late, ignored"
        except RollBack as stop:
            outcome, reason = await self._roll_back(stop), stop.reason
        except Abandon as stop:
            outcome, reason = Outcome.ABANDONED, stop.reason
        await workflow.wait_condition(workflow.all_handlers_finished)
        return await self._finish(outcome, reason)

    def _completed(self) -> Outcome:
        """A step that was skipped after an unanswered write may have left something behind."""
        skipped = (row for row in self.board.rows if row.state is StepState.SKIPPED)
        if any(row.outcome_unknown for row in skipped):
            return Outcome.COMPLETED_WITH_RESIDUE
        return Outcome.COMPLETED

    async def _finish(self, outcome: Outcome, reason: str) -> SagaResult:
        result = SagaResult(
            workflow_id=workflow.info().workflow_id,
            generation=self._generation,
            outcome=outcome,
            reason=reason,
            steps=tuple(row.report() for row in self.board.rows),
        )
        await call_store(ref.FINISH, Finish(result=result))
        self.board.publish(outcome, self._plan)
        return result

    # Steps.

    async def step(self, step: Step[R, T], request: Callable[[], R]) -> T:
        """Do one step and return its receipt, however often it parks on the way.

        `request` is called at each try, so that a corrected plan is what is sent.

        Raises:
            RollBack: the saga has to stop; everything registered will be undone.
        """
        row = self._row(step, request())
        while True:
            self._stop_if_asked()
            row.request = asked = request()
            row.state = StepState.RUNNING
            self._register_undo(row)
            try:
                result = await self._attempt(step, row, asked)
            except StepError as error:
                failure = failure_of(error)
                skip = await self._failed(row, failure)
                if skip is None:
                    continue
                result = skip(asked)
                row.state = StepState.SKIPPED
            else:
                row.state = StepState.DONE
            self._proven_or_gone(row)
            row.receipt = result if isinstance(result, Receipt) else None
            self.board.publish(self.state_now(), self._plan)
            return result

    async def _attempt(self, step: Step[R, T], row: Row, request: R) -> T:
        call = step.do.request(
            key=row.key,
            workflow_id=workflow.info().workflow_id,
            generation=self._generation,
            step=step.name,
            round=row.round,
            route=self.route(request.connection),
            request=request,
            adopt=row.adopt,
        )
        self._pivots_in_flight += step.pivot
        try:
            return await call_vendor(
                step.do, call, call.route, f"{row.label} in {call.route.connection}"
            )
        finally:
            self._pivots_in_flight -= step.pivot

    async def _failed(self, row: Row, failure: FailureDetail) -> Callable[[Any], Any] | None:
        """Park a failed step; None means try again, else what the skipped step stands for."""
        row.outcome_unknown = failure.outcome_unknown
        if row.step.pivot:
            passed = (each for each in self.board.rows if each.step.pivot and each is not row)
            beside = any(each.state is StepState.DONE or each.outcome_unknown for each in passed)
            self._forward_only = row.outcome_unknown or beside
        refused = failure.kind is FailureKind.REJECTED and not failure.outcome_unknown
        if row.step.refusal_stops and refused:
            self.request_stop(failure.message)
        self._stop_if_asked()
        decision = await self.park(row, failure, WorkItemKind.STEP)
        row.round += 1
        row.note = f"{decision.verb} by {decision.decided_by}" if decision.decided_by else ""
        return row.step.on_skip if decision.verb is Verb.SKIP else None

    def _register_undo(self, row: Row) -> None:
        if row.step.undo is not None and row not in self._undos:
            self._undos.append(row)

    def _proven_or_gone(self, row: Row) -> None:
        if row.state is StepState.DONE:
            row.outcome_unknown = False
        elif row in self._undos:
            row.note += " (whatever an earlier try left is undone on rollback)"
        if row.step.pivot:
            self._forward_only = True

    def _row(self, step: Step[R, T], request: R) -> Row:
        key = step_key(workflow.info().workflow_id, self._generation, step.name, request.item)
        if key not in self._rows:
            self._rows[key] = Row(step=step, request=request, key=key)
            self.board.rows.append(self._rows[key])
        return self._rows[key]

    async def parallel(self, *branches: Coroutine[Any, Any, V]) -> list[V]:
        """Run independent branches side by side; each may park while the others go on.

        When the saga has to stop, every branch is first brought to rest.
        """
        tasks = [asyncio.create_task(branch) for branch in branches]
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ended:
            if isinstance(end, BaseException):
                raise end
        return [end for end in ended if not isinstance(end, BaseException)]

    async def both(self, one: Coroutine[Any, Any, U], two: Coroutine[Any, Any, V]) -> tuple[U, V]:
        """Run two branches of different results side by side, as `parallel` does."""
        first, second = await self.parallel(one, two)
        return first, second  # type: ignore[return-value]

    async def plan_anew(self, corrections: dict[str, str]) -> Plan:
        """Read the source record again and plan; a failure is the caller's, it does not park."""
        request = self.plan_request(corrections)
        row = self._row(self.PLAN, request)
        row.round += 1
        plan: Plan = await self._attempt(self.PLAN, row, request)
        return plan

    def route(self, connection: str) -> Route:
        """Return how this saga talks to a connection; pinned by its plan."""
        if self._plan is not None:
            return self._plan.routes[connection]
        if self._planning_route is None:
            raise RuntimeError("the store gave no route for planning")
        return self._planning_route

    # Stopping.

    def request_stop(self, reason: str) -> None:
        """Ask the saga to stop and roll back; past the pivot this is recorded and ignored."""
        if self._stop:
            return
        self._stop = reason
        self.board.notes.append(f"Asked to stop: {reason}.")
        if not self._forward_only and not self._pivots_in_flight:
            self._close_generation()

    def _close_generation(self) -> None:
        """Refuse whatever this generation would still send; undos only from here on."""
        if self._closing is None and self._generation:
            request = CloseGeneration(
                workflow_id=workflow.info().workflow_id,
                generation=self._generation,
                reason=self._stop,
            )
            self._closing = asyncio.create_task(call_store(ref.CLOSE_GENERATION, request))

    @property
    def must_stop(self) -> bool:
        """Whether the flow has to end here: asked to, and still allowed to."""
        return bool(self._stop) and not self._forward_only and not self._pivots_in_flight

    def _stop_if_asked(self) -> None:
        if self._given_up:
            raise Abandon(self._given_up)
        if self.must_stop:
            raise RollBack(self._stop)

    def _adopt_open_steps(self, begun: Begun) -> None:
        """Take over what the ledger knows of a terminated run, so that it can be undone."""
        by_name = {step.name: step for step in self.STEPS}
        for entry in begun.open_steps:
            step = by_name[entry.step]
            call = step.do.request.model_validate_json(entry.request_json)
            row = Row(step=step, request=call.request, key=entry.key, receipt=entry.receipt)
            row.outcome_unknown = entry.outcome_unknown
            row.state = StepState.DONE if entry.receipt else StepState.RUNNING
            self._rows[entry.key] = row
            self.board.rows.append(row)
            self._register_undo(row)

    # Rolling back.

    async def _roll_back(self, stop: RollBack) -> Outcome:
        self._stop = self._stop or stop.reason
        self._close_generation()
        if self._closing is not None:
            await self._closing
        self.board.publish(SagaState.ROLLING_BACK, self._plan)
        for row in reversed(self._undos):
            await self._undo(row)
        residue = any(row.state is StepState.RESIDUE for row in self._undos)
        return Outcome.ROLLED_BACK_WITH_RESIDUE if residue else Outcome.ROLLED_BACK

    async def _undo(self, row: Row) -> None:
        row.state = StepState.UNDOING
        while True:
            try:
                row.undo = await self._attempt_undo(row)
            except StepError as error:
                row.state = StepState.UNDO_BLOCKED
                decision = await self.park(row, failure_of(error), WorkItemKind.UNDO)
                row.round += 1
                if decision.verb is Verb.ACCEPT_RESIDUE:
                    row.undo = UndoReceipt(result=UndoResult.KEPT, residue=decision.because)
                    row.state = StepState.RESIDUE
                    break
            else:
                if row.undo.look_again:
                    row.outcome_unknown = False
                    await workflow.sleep(
                        timedelta(seconds=self.route(row.request.connection).settle_seconds),
                        summary="A late write may still land; looking again",
                    )
                    continue
                row.state = StepState.RESIDUE if row.undo.residue else StepState.UNDONE
                break
        self.board.publish(SagaState.ROLLING_BACK, self._plan)

    async def _attempt_undo(self, row: Row) -> UndoReceipt:
        undo = row.step.undo
        if undo is None:
            raise RuntimeError(f"{row.step.name} has no undo")
        call: UndoCall[StepRequest] = undo.request(
            key=row.key,
            workflow_id=workflow.info().workflow_id,
            generation=self._generation,
            step=row.step.name,
            round=row.round,
            route=self.route(row.request.connection),
            request=row.request,
            receipt=row.receipt,
            outcome_unknown=row.outcome_unknown,
        )
        summary = f"Undo: {row.label} in {call.route.connection}"
        return await call_vendor(undo, call, call.route, summary, options.UNDO_PRIORITY)

    def state_now(self) -> str:
        """Return the saga's state for people: what needs attention comes first."""
        kinds = {parked.item.kind for parked in self.board.parked.values()}
        if WorkItemKind.UNDO in kinds:
            return SagaState.ROLLBACK_BLOCKED
        if WorkItemKind.STEP in kinds:
            return SagaState.NEEDS_ATTENTION
        return SagaState.WAITING if kinds else SagaState.RUNNING

    @workflow.query
    def view(self) -> SagaView:
        """Return where the saga stands, step by step."""
        return SagaView(
            workflow_id=workflow.info().workflow_id,
            generation=self._generation,
            state=self.board.state or SagaState.RUNNING,
            title=self._plan.title if self._plan else "",
            pivot_passed=self._forward_only,
            steps=tuple(row.report() for row in self.board.rows),
            work_items=tuple(parked.item for parked in self.board.parked.values()),
        )
