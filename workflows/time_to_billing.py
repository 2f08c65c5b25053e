"""ApprovedTimeToBilling: one project's billing period, from its first approval to its cutoff.

Trigger: a message that entries changed (signal-with-start).
Workflow id: `time-to-billing/<psa>/<project>/<period>`.

    messages ──> waiting ──(quiet for the debounce, or waited long enough, or cutoff, or asked)──>
        note in the store ── number of the next run ── BillingRun, a child that outlives this run
        (one at a time: order is kept per project) <── run ended

A run goes behind live work where only backfills told of it, whoever started the period.
Handlers only append. A message says that something changed, never what is true: the run reads it.
The workflow continues as new after 2,000 messages or when the server suggests it, with what waits.
"""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.entries import EntryRef
    from canonical.ids import billing_run_id, is_backfilled
    from canonical.time_to_billing import (
        BillingRunInput,
        Calendar,
        EntriesChanged,
        NoteChanges,
        OpenRun,
        RunEnded,
        RunNow,
        TimeToBillingInput,
        TimeToBillingResult,
        TimeToBillingView,
    )

from workflows.billing_run import BillingRun
from workflows.board import BUSINESS_KEY, SAGA_STATE
from workflows.calls import call_store
from workflows.options import BACKFILL_PRIORITY, LIVE_PRIORITY

MESSAGES_MAX = 2_000
"""After so many messages the history is begun anew."""
WAITING_MAX = 500
"""So many entries are put into the store without waiting for the debounce."""


@workflow.defn
class ApprovedTimeToBilling:
    """Gathers what changed on a project and starts its billing runs, one after another."""

    @workflow.init
    def __init__(self, given: TimeToBillingInput) -> None:
        """Take over what waited before a continue-as-new."""
        self._of = given.of
        self._given = given
        self._waiting: dict[EntryRef, None] = dict.fromkeys(given.waiting)
        self._since = given.waiting_since
        self._last = given.last_message_at
        self._run_asked = given.run_asked
        self._backfilled = given.backfilled
        self._open_run = given.open_run
        self._last_run = given.last_run
        self._messages = 0
        self._calendar: Calendar | None = given.calendar

    @workflow.run
    async def run(self, _given: TimeToBillingInput) -> TimeToBillingResult:
        """Bill the project until its period is over and nothing waits."""
        workflow.upsert_search_attributes(
            [SAGA_STATE.value_set("waiting"), BUSINESS_KEY.value_set(self._of.project_id)]
        )
        if self._calendar is None:
            self._calendar = await call_store(ref.READ_CALENDAR, self._of)
        while not self._is_over():
            await self._next_event(self._calendar)
            if self._waiting and (len(self._waiting) >= WAITING_MAX or self._is_due()):
                await self._note()
            if self._is_due():
                await self._start_run()
            if self._messages >= MESSAGES_MAX or workflow.info().is_continue_as_new_suggested():
                await self._continue_as_new()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return TimeToBillingResult(of=self._of, runs=self._last_run)

    # Messages.

    @workflow.signal
    def changed(self, message: EntriesChanged) -> None:
        """Entries or submissions changed in the PSA; twice or out of order makes no difference."""
        self._messages += 1
        now = workflow.now()
        # One live message lets all that waits go first; a backfill's never lets it wait.
        alone = self._since is None and not self._run_asked
        self._backfilled = is_backfilled(message.correlation_id) and (alone or self._backfilled)
        self._since = self._since or now
        self._last = now
        self._waiting.update(dict.fromkeys(message.entries))

    @workflow.signal
    def run_now(self, _message: RunNow) -> None:
        """Begin a run as soon as none is under way."""
        self._messages += 1
        self._run_asked, self._backfilled = True, False

    @workflow.signal
    def run_ended(self, message: RunEnded) -> None:
        """A billing run came to its end; one that is not ours is ignored."""
        if message.number == self._open_run:
            self._open_run = 0
            self._run_asked |= message.again

    @workflow.query
    def view(self) -> TimeToBillingView:
        """Return what waits and when the next run begins."""
        return TimeToBillingView(
            of=self._of,
            waiting=len(self._waiting),
            open_run=self._open_run,
            next_run_at=self._due_at(),
            cutoff_at=self._calendar.cutoff_at if self._calendar else None,
            entries=tuple(self._waiting),
        )

    # When.

    def _due_at(self) -> datetime | None:
        """When the next run should begin; None while nothing waits for one."""
        if self._run_asked:
            return workflow.now()
        if self._since is None or self._last is None or self._calendar is None:
            return None
        quiet = self._last + timedelta(seconds=self._calendar.debounce_seconds)
        longest = self._since + timedelta(seconds=self._calendar.longest_wait_seconds)
        due = min(quiet, longest)
        # At the cutoff what waits is billed at once; what comes later keeps the debounce.
        return self._calendar.cutoff_at if self._since < self._calendar.cutoff_at < due else due

    def _is_due(self) -> bool:
        due = self._due_at()
        return due is not None and due <= workflow.now() and not self._open_run

    def _is_over(self) -> bool:
        return (
            self._calendar is not None
            and workflow.now() >= self._calendar.cutoff_at
            and self._since is None
            and not self._waiting
            and not self._run_asked
            and not self._open_run
        )

    async def _next_event(self, calendar: Calendar) -> None:
        """Wait for a message, for the end of a run, or for the next moment that matters."""
        seen = (self._messages, self._open_run)
        due = self._due_at() if not self._open_run else None
        until = due or calendar.cutoff_at
        timeout = (until - workflow.now()).total_seconds()
        if timeout <= 0 and due is not None:
            return
        try:
            await workflow.wait_condition(
                lambda: (self._messages, self._open_run) != seen,
                timeout=timeout if timeout > 0 else None,
            )
        except TimeoutError:
            return

    # Doing.

    async def _note(self) -> None:
        """Put what waits on the store's list; messages that arrive meanwhile wait for the next."""
        entries = tuple(self._waiting)[:WAITING_MAX]
        await call_store(
            ref.NOTE_CHANGES,
            NoteChanges(of=self._of, entries=entries, correlation_id=self._given.correlation_id),
        )
        for entry in entries:
            self._waiting.pop(entry, None)

    async def _start_run(self) -> None:
        while self._waiting:
            await self._note()
        noted = self._messages
        opened = await call_store(ref.OPEN_RUN, OpenRun(of=self._of, after=self._last_run))
        if self._messages == noted:  # else this run may not see what came: the next one does
            self._since, self._run_asked = None, False
        self._open_run = self._last_run = opened.number
        try:
            await workflow.start_child_workflow(
                BillingRun.run,
                BillingRunInput(
                    of=self._of,
                    number=opened.number,
                    correlation_id=self._given.correlation_id,
                ),
                id=billing_run_id(
                    self._of.psa, self._of.project_id, self._of.period, opened.number
                ),
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"Billing run {opened.number} of {self._of.period}",
                priority=BACKFILL_PRIORITY if self._backfilled else LIVE_PRIORITY,
            )
        except WorkflowAlreadyStartedError:
            # The sweep was faster: that run ends with the same signal.
            workflow.logger.info("billing run %s runs already", opened.number)

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            self._given.model_copy(
                update={
                    "waiting": tuple(self._waiting),
                    "waiting_since": self._since,
                    "last_message_at": self._last,
                    "run_asked": self._run_asked,
                    "backfilled": self._backfilled,
                    "open_run": self._open_run,
                    "last_run": self._last_run,
                    "calendar": self._calendar,
                    "messages_before": self._given.messages_before + self._messages,
                }
            )
        )
