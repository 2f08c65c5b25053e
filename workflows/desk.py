"""The desk of a saga: where it parks work items and takes people's decisions (DESIGN 3.6)."""

from abc import abstractmethod
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.failures import FailureDetail, FailureKind
    from canonical.records import RecordRef
    from canonical.saga import (
        CloseWorkItem,
        Decision,
        Effect,
        EscalateWorkItem,
        OpenWorkItem,
        Preview,
        Resolve,
        Resolved,
        Route,
        SagaPlan,
        SagaState,
        StepState,
        TakeDecision,
        Verb,
        WorkItem,
        WorkItemKind,
    )

from workflows import options
from workflows.board import Board, Parked, Row
from workflows.calls import StepError, call_store, failure_of

REPLANNED_BY_RETRY = {FailureKind.REJECTED}
"""A refusal is answered by correcting the source: it is read again before the next try."""


class RollBack(Exception):
    """The flow has to end and everything done is to be undone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Abandon(Exception):
    """A person gave the saga up: nothing more is done or undone, an escalation is open."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Desk:
    """Parking and deciding; the engine derives from it and adds steps and rollback."""

    board: Board
    _plan: SagaPlan | None
    _generation: int
    _parks: int
    _stop: str
    _given_up: str
    _forward_only: bool
    _undos: list[Row]
    _corrections: dict[str, str]

    @abstractmethod
    def route(self, connection: str) -> Route: ...  # noqa: D102 - see Saga

    @abstractmethod
    def state_now(self) -> str: ...  # noqa: D102 - see Saga

    @abstractmethod
    def request_stop(self, reason: str) -> None: ...  # noqa: D102 - see Saga

    @abstractmethod
    async def plan_anew(self, corrections: dict[str, str]) -> SagaPlan: ...  # noqa: D102

    @property
    @abstractmethod
    def must_stop(self) -> bool: ...  # noqa: D102 - see Saga

    # Parking.

    async def park(self, row: Row, failure: FailureDetail, kind: WorkItemKind) -> Decision:
        """Put a step before people and wait for a decision, a deadline, or the slow timer.

        Raises:
            RollBack: the saga has to stop instead of waiting (never for an undo).
            Abandon: a person gave the saga up.
        """
        route = self.route(row.request.connection)
        parked = Parked(item=self._work_item(row, failure, kind, route.respond_seconds), row=row)
        if kind is WorkItemKind.STEP:
            row.state = StepState.PARKED
        return await self._wait(parked, route)

    async def gate(self, name: str, reasons: tuple[str, ...], respond_seconds: float) -> str:
        """Wait until a named approver lets the saga go on, and return who did.

        Without reasons it returns at once: nobody had to.
        """
        if not reasons or self._forward_only:
            return ""
        failure = FailureDetail(
            kind=FailureKind.REJECTED,
            reason=name,
            message="Needs approval: " + "; ".join(reasons) + ".",
        )
        item = self._work_item(None, failure, WorkItemKind.GATE, respond_seconds, name)
        decision = await self._wait(Parked(item=item, row=None), None)
        self.board.notes.append(f"{name}: approved by {decision.decided_by}.")
        return decision.decided_by

    async def _wait(self, parked: Parked, route: Route | None) -> Decision:
        item = parked.item
        self.board.parked[item.id] = parked
        await call_store(ref.OPEN_WORK_ITEM, OpenWorkItem(item=item))
        self.board.publish(self.state_now(), self._plan)
        how = ""
        try:
            decision = await self._decided(parked, route)
            if decision.verb is Verb.ABANDON:
                await self._alert(item, f"abandoned: {decision.because}")
            how = decision.verb
        except (RollBack, Abandon) as stop:
            how = stop.reason
            raise
        finally:
            del self.board.parked[item.id]
            if how:
                closing = CloseWorkItem(
                    work_item_id=item.id,
                    park=item.park,
                    how=how,
                    decision_id=parked.decision.id if parked.decision else "",
                )
                await call_store(ref.CLOSE_WORK_ITEM, closing)
                state = SagaState.ROLLING_BACK if self._stop else self.state_now()
                self.board.publish(state, self._plan)
        return self._obey(parked, decision)

    async def _decided(self, parked: Parked, route: Route | None) -> Decision:
        escalated = False
        while True:
            woken = await self._woken(parked, self._next_wake(parked, route, escalated))
            if self._given_up:
                raise Abandon(self._given_up)
            if self.must_stop and parked.item.kind is not WorkItemKind.UNDO:
                raise RollBack(self._stop)
            if parked.decision is not None:
                if parked.decision.verb is not Verb.HOLD:
                    return parked.decision
                parked.held, parked.decision = True, None
            elif woken:
                continue
            elif workflow.now() >= parked.item.respond_by and not escalated:
                escalated = True
                await self._escalate(parked, route)
            else:
                return self._by_itself(parked)

    async def _woken(self, parked: Parked, limit: timedelta | None) -> bool:
        try:
            await workflow.wait_condition(
                lambda: (
                    parked.decision is not None
                    or bool(self._given_up)
                    or (self.must_stop and parked.item.kind is not WorkItemKind.UNDO)
                ),
                timeout=limit,
                timeout_summary="Waiting for a decision",
            )
        except TimeoutError:
            return False
        return True

    def _next_wake(self, parked: Parked, route: Route | None, escalated: bool) -> timedelta | None:
        """Return when to look up without a decision: at the deadline, or to try by ourselves."""
        if parked.held:
            return None
        waits = []
        if not escalated:
            waits.append(max(parked.item.respond_by - workflow.now(), timedelta(0)))
        if route is not None and parked.item.failure.kind is FailureKind.BUDGET_SPENT:
            spread = 1 + options.SLOW_RETRY_SPREAD * workflow.random().random()
            waits.append(timedelta(seconds=route.slow_retry_seconds * spread))
        return min(waits) if waits else None

    async def _escalate(self, parked: Parked, route: Route | None) -> None:
        await self._alert(parked.item, "nobody answered in time")
        if route is not None and route.roll_back_when_overdue and not self._forward_only:
            self.request_stop("nobody answered in time; the policy rolls back")

    async def _alert(self, item: WorkItem, because: str) -> None:
        """Tell those above the ones who were asked."""
        request = EscalateWorkItem(work_item_id=item.id, park=item.park, because=because)
        await call_store(ref.ESCALATE_WORK_ITEM, request)

    def _by_itself(self, parked: Parked) -> Decision:
        item = parked.item
        return Decision(id="", work_item_id=item.id, park=item.park, verb=Verb.RETRY, decided_by="")

    def _obey(self, parked: Parked, decision: Decision) -> Decision:
        if decision.verb is Verb.ROLL_BACK:
            self.request_stop(f"rolled back by {decision.decided_by}")
            if self.must_stop:
                raise RollBack(self._stop)
            # A pivot beside this step is done, or being sent: the step is tried again.
        if decision.verb is Verb.ABANDON:
            self._given_up = f"abandoned by {decision.decided_by}: {decision.because}"
            raise Abandon(self._given_up)
        if decision.verb is Verb.FINISH_FORWARD:
            self._forward_only = True
        if decision.verb is Verb.ADOPT and parked.row is not None:
            parked.row.adopt = RecordRef(
                system=parked.row.request.connection, type="", id=decision.record_id
            )
        return decision

    def _work_item(
        self,
        row: Row | None,
        failure: FailureDetail,
        kind: WorkItemKind,
        respond_seconds: float,
        name: str = "",
    ) -> WorkItem:
        self._parks += 1
        info, plan = workflow.info(), self._plan
        now: datetime = workflow.now()
        step = row.step.name if row else name
        return WorkItem(
            id=f"WI-{workflow.uuid4().hex[:12]}",
            workflow_id=info.workflow_id,
            generation=self._generation,
            step=step,
            key=row.key if row else f"{info.workflow_id}/{self._generation}:{step}",
            park=self._parks,
            kind=kind,
            failure=failure,
            title=plan.title if plan else "",
            client_id=plan.client_id if plan else "",
            project_code=plan.project_code if plan else "",
            legal_entities=plan.legal_entities if plan else (),
            amount=plan.amount if plan else "",
            connection=row.request.connection if row else "",
            verbs=self._verbs(row, kind),
            opened_at=now,
            respond_by=now + timedelta(seconds=respond_seconds),
        )

    def _verbs(self, row: Row | None, kind: WorkItemKind) -> tuple[Verb, ...]:
        """Return what makes sense here; the validator refuses the rest, with the reason."""
        if kind is WorkItemKind.UNDO:
            return (Verb.RETRY, Verb.ACCEPT_RESIDUE, Verb.HOLD, Verb.ABANDON)
        if kind is WorkItemKind.GATE:
            return (Verb.APPROVE, Verb.HOLD, Verb.ROLL_BACK, Verb.ABANDON)
        verbs = [Verb.RETRY, Verb.HOLD, Verb.ABANDON]
        if row is not None and row.step.adoptable:
            verbs.append(Verb.ADOPT)
        if row is not None and row.step.on_skip is not None:
            verbs.append(Verb.SKIP)
        if not self._forward_only:
            verbs.append(Verb.ROLL_BACK)
        if row is not None and row.step.pivot and not self._forward_only:
            verbs.append(Verb.FINISH_FORWARD)
        return tuple(verbs)

    # Deciding.

    @workflow.update
    async def resolve(self, resolve: Resolve) -> Resolved:
        """Take a stored decision. Records and returns; it never waits for what follows."""
        try:
            request = TakeDecision(resolve=resolve, workflow_id=workflow.info().workflow_id)
            decision = await call_store(ref.TAKE_DECISION, request)
            replanned = await self._replan(resolve, decision)
        except StepError as error:
            raise ApplicationError(
                failure_of(error).message, type="DecisionRefused", non_retryable=True
            ) from error
        self._check(resolve)
        self.board.parked[resolve.work_item_id].decision = decision
        return Resolved(work_item_id=resolve.work_item_id, verb=decision.verb, replanned=replanned)

    @resolve.validator
    def check_resolve(self, resolve: Resolve) -> None:
        """Refuse what makes no sense now, with the reason."""
        self._check(resolve)

    def _check(self, resolve: Resolve) -> None:
        parked = self.board.parked.get(resolve.work_item_id)
        why = ""
        if parked is None:
            why = f"work item {resolve.work_item_id} is not open (any more)"
        elif parked.item.park != resolve.park:
            why = f"park {resolve.park} is over; it is now at park {parked.item.park}"
        elif parked.decision is not None:
            why = f"it is already decided: {parked.decision.verb}"
        elif resolve.verb not in parked.item.verbs:
            allowed = ", ".join(parked.item.verbs)
            why = f"{resolve.verb} makes no sense at {parked.item.step}; possible: {allowed}"
        if why:
            raise ApplicationError(why, type="DecisionRefused", non_retryable=True)

    async def _replan(self, resolve: Resolve, decision: Decision) -> tuple[str, ...]:
        """Read the source again where a retry is to send something else; returns what differs."""
        parked = self.board.parked.get(resolve.work_item_id)
        old = self._plan
        if parked is None or decision.verb is not Verb.RETRY or old is None:
            self._corrections |= decision.corrections
            return ()
        if not decision.corrections and parked.item.failure.kind not in REPLANNED_BY_RETRY:
            return ()
        if parked.item.kind is not WorkItemKind.STEP:
            return ()
        corrections = self._corrections | decision.corrections
        new = await self.plan_anew(corrections)
        changed = _changed(old, new)
        begun = {_local(row.key) for row in self._begun()}
        frozen = sorted(changed & begun)
        if frozen and decision.corrections:
            raise ApplicationError(
                f"the correction would change what is already done: {', '.join(frozen)}; "
                "roll back instead, or correct something else",
                type="DecisionRefused",
                non_retryable=True,
            )
        if not frozen:
            self._plan, self._corrections = new, corrections
        return tuple(sorted(changed - begun))

    def _begun(self) -> list[Row]:
        """Return the steps whose request can no longer change: done, or perhaps done."""
        return [
            row
            for row in self.board.rows
            if row.state in {StepState.DONE, StepState.RUNNING} or row.outcome_unknown
        ]

    @workflow.query
    def effects(self, preview: Preview) -> list[Effect]:
        """Return exactly what a decision would do outside, in order; decides nothing."""
        parked = self.board.parked.get(preview.work_item_id)
        if parked is None:
            return []
        if preview.verb is Verb.ROLL_BACK:
            return [
                Effect(
                    act="undo",
                    step=row.step.name,
                    system=row.request.connection,
                    what=_what(row),
                )
                for row in reversed(self._undos)
            ]
        row = parked.row
        if row is None or preview.verb not in {Verb.RETRY, Verb.ADOPT, Verb.FINISH_FORWARD}:
            return []
        act = "undo" if parked.item.kind is WorkItemKind.UNDO else "do"
        return [
            Effect(act=act, step=row.step.name, system=row.request.connection, what=row.step.act)
        ]


def _what(row: Row) -> str:
    """Return what an undo would remove, for people."""
    record = row.receipt.record if row.receipt else None
    return f"{record.type} {record.id}" if record else "whatever an unanswered write left"


def _local(key: str) -> str:
    """Return `<step>[:<item>]` of a key `<workflow id>/<generation>:<step>[:<item>]`."""
    return key.rpartition("/")[2].partition(":")[2]


def _changed(old: SagaPlan, new: SagaPlan) -> set[str]:
    keys = set(old.request_hashes) | set(new.request_hashes)
    return {key for key in keys if old.request_hashes.get(key) != new.request_hashes.get(key)}
