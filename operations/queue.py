"""What people do in the billing queue: look, review, adjust, release; the CLI and the API call it.

Nothing is decided here: every act goes to the draft's workflow as an update and is judged where it
is put down, so that no entry point can do more than another.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from canonical.draft_acts import ActOnDraft, AnyAct, DraftAnswer, Release
from canonical.draft_to_invoice import Assembled, AssembleDrafts, DraftInput
from canonical.drafts import Draft, DraftState
from operations.people import Refused, short
from operations.sagas import SAGA_QUEUE, TAKEN_WITHIN
from store import Store
from store.errors import NotFound
from workflows.assemble_drafts import AssembleInvoiceDrafts
from workflows.draft_to_invoice import DraftToInvoice
from workflows.options import LIVE_PRIORITY

PREFIX: Final = "invoice-draft/"
RELEASED_AT_ONCE: Final = 20
"""Releases in flight of a bulk release."""
ASKED_MAX: Final = 3
"""How often a release of many is asked for, under the same id, before it counts as unanswered."""
ASK_AGAIN_SECONDS: Final = 1.0
"""Before it is, where Temporal could not take it."""


@dataclass(frozen=True)
class Acted:
    """What became of an act on one draft."""

    draft: str
    answer: DraftAnswer


@dataclass(frozen=True)
class QueueDesk:
    """The billing queue, for people and programs."""

    client: Client
    store: Store

    async def list(
        self,
        states: Sequence[DraftState] = (DraftState.IN_REVIEW, DraftState.QUEUED),
        *,
        legal_entity: str = "",
        client_id: str = "",
        reviewer: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[Draft, ...]:
        """Return drafts in these states, oldest first."""
        return await self.store.drafts.list(
            tuple(states),
            legal_entity=legal_entity,
            client_id=client_id,
            reviewer=reviewer,
            limit=limit,
            offset=offset,
        )

    async def find(self, typed: str) -> Draft:
        """Return the draft that a person means: by its id, or by an ending that only it has.

        Raises:
            Refused: there is none, or there are several; names them.
        """
        for candidate in (typed, f"{PREFIX}{typed}"):
            try:
                return await self.store.drafts.get(candidate)
            except NotFound:
                continue
        ending = await self.store.drafts.called(typed)
        if len(ending) == 1:
            return ending[0]
        if not ending:
            raise Refused(f"There is no draft {short(typed)}: see `starter.py queue list`.")
        names = ", ".join(draft.id.removeprefix(PREFIX) for draft in ending[:5])
        raise Refused(f"{short(typed)} is the ending of several drafts: {names}.")

    async def act(self, draft: str, act: AnyAct, act_id: str = "") -> DraftAnswer:
        """Send an act to its draft and return the answer: taken, or every reason why not.

        The same `act_id` again is answered the same and changes nothing.

        Raises:
            Refused: no worker answered in time, or it contradicts what the store keeps.
        """
        wanted = ActOnDraft(id=act_id or f"{draft}#{uuid.uuid4()}", draft=draft, act=act)
        try:
            return await self._send(wanted)
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise Refused(
                f"No worker took it in time: start one (worker.py), then {act.act} again."
            ) from error
        except WorkflowUpdateFailedError as error:
            raise Refused(str(error.cause)) from error

    async def _send(self, wanted: ActOnDraft) -> DraftAnswer:
        start = WithStartWorkflowOperation(
            DraftToInvoice.run,
            DraftInput(draft=wanted.draft),
            id=wanted.draft,
            task_queue=SAGA_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            priority=LIVE_PRIORITY,
            static_summary="Invoice draft",
        )
        try:
            return await self.client.execute_update_with_start_workflow(
                DraftToInvoice.act,
                wanted,
                id=wanted.id,
                start_workflow_operation=start,
                rpc_timeout=TAKEN_WITHIN,
            )
        except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError):
            # The operation keeps the error too, and complains if nobody ever looks at it.
            with contextlib.suppress(TemporalError, TimeoutError):
                async with asyncio.timeout(0):
                    await start.workflow_handle()
            raise

    async def release(self, drafts: Sequence[Draft], by: str) -> tuple[Acted, ...]:
        """Release drafts exactly as they were looked at; each is answered for itself."""
        gate = asyncio.Semaphore(RELEASED_AT_ONCE)

        async def one(draft: Draft) -> Acted:
            async with gate:
                return Acted(draft.id, await self._released(draft, by))

        return tuple(await asyncio.gather(*map(one, drafts)))

    async def _released(self, draft: Draft, by: str) -> DraftAnswer:
        """Release one of many; asked again where nobody answered, so that no answer is lost.

        Nor does one that Temporal can't take now keep the others from being asked.
        """
        act = Release(by=by, content_hash=draft.content_hash)
        act_id = f"{draft.id}#{uuid.uuid4()}"
        reason = ""
        for _ in range(ASKED_MAX):
            try:
                return await self.act(draft.id, act, act_id)
            except Refused as error:
                reason = str(error)
            except RPCError as error:
                reason = f"Temporal did not take it ({error.message}): release again."
                await asyncio.sleep(ASK_AGAIN_SECONDS)
        return DraftAnswer(
            taken=False, reasons=(reason,), state=draft.state, content_hash=draft.content_hash
        )

    async def assemble(
        self, *, psa: str = "", project_id: str = "", client_id: str = "", everything: bool = True
    ) -> Assembled:
        """Make drafts of what was handed over, without waiting for the Schedule."""
        return await self.client.execute_workflow(
            AssembleInvoiceDrafts.run,
            AssembleDrafts(
                psa=psa, project_id=project_id, client_id=client_id, everything=everything
            ),
            id=f"assemble-drafts/{uuid.uuid4()}",
            task_queue=SAGA_QUEUE,
            static_summary="Make drafts because somebody asked for it",
        )
