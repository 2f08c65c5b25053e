"""Reconciliation for people: run it, look at what was found; and what mends findings by itself."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from activities.reconciling import Healer, HealingRefused
from canonical.entries import EntryRef
from canonical.ids import reconcile_id
from canonical.reconciliation import (
    Balance,
    CheckConservation,
    ConservationChecked,
    Finding,
    Reconciled,
    ReconcileInput,
    ReconciliationRun,
)
from operations.billing import BillingDesk
from operations.invoices import InvoiceDesk
from operations.people import Refused, short
from operations.sagas import SAGA_QUEUE
from store import Store
from store.errors import NotFound
from store.reconciliation import LISTED_MAX
from workflows.options import BACKFILL_PRIORITY
from workflows.reconcile import Reconcile, WatchConservation

PERIOD: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
NAMED: Final = re.compile(r"([RF])([1-9][0-9]{0,17})")


@dataclass(frozen=True)
class ReconciliationDesk:
    """Runs and findings, over one Temporal client and one store."""

    client: Client
    store: Store
    psa: str = ""
    """The PSA meant where none is named."""

    async def run(self, wanted: ReconcileInput) -> Reconciled:
        """Compare one legal entity and period now, and return what came of it.

        A run of the same scope that is under way is waited for, not started twice.

        Raises:
            Refused: there is no such entity or period, or a system that takes no part.
        """
        if not PERIOD.fullmatch(wanted.period):
            raise Refused(f"{short(wanted.period)} is no billing period: write 2026-11.")
        named = wanted.model_copy(update={"psa": wanted.psa or self.psa})
        handle = await self.client.start_workflow(
            Reconcile.run,
            named,
            id=reconcile_id(named.psa, named.legal_entity, named.period),
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"Reconcile {named.legal_entity}, {named.period}",
            priority=BACKFILL_PRIORITY,
        )
        try:
            return await handle.result()
        except WorkflowFailureError as error:
            raise Refused(_said(error)) from error

    async def check_conservation(self) -> ConservationChecked:
        """Check now that the sums hold; a check under way is waited for."""
        return await self.client.execute_workflow(
            WatchConservation.run,
            CheckConservation(),
            id=reconcile_id("", "", ""),
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary="Check that the sums hold",
        )

    async def balances(self, *, client_id: str = "", legal_entity: str = "") -> tuple[Balance, ...]:
        """Return what became of all work, by client, legal entity and currency."""
        return await self.store.conserving.balances(client_id=client_id, legal_entity=legal_entity)

    async def find(
        self, typed: str, *, limit: int = LISTED_MAX, offset: int = 0
    ) -> tuple[ReconciliationRun, tuple[Finding, ...]] | Finding:
        """Return the run with a page of its findings, or the finding, that is meant: R12 or F34.

        Raises:
            Refused: there is no such thing.
        """
        named = NAMED.fullmatch(typed.strip().upper())
        if named is None:
            raise Refused(f"{short(typed)} names neither a run (R12) nor a finding (F34).")
        reconciliation, id_ = self.store.reconciliation, int(named[2])
        try:
            if named[1] == "F":
                return await reconciliation.finding(id_)
            run = await reconciliation.run(id_)
        except NotFound as error:
            raise Refused(f"{error}: see `starter.py reconcile list`.") from error
        return run, await reconciliation.findings(run=id_, closed=True, limit=limit, offset=offset)


def healer(billing: BillingDesk, invoices: InvoiceDesk) -> Healer:
    """Return what mends findings: the acts that events bring about, and no others."""

    async def tell(psa: str, project: str, entries: Sequence[EntryRef]) -> None:
        await _answered(lambda: billing.changed(project, entries, psa=psa))

    async def look(system: str, invoice: str) -> None:
        async def do() -> None:
            await invoices.look(await invoices.store.invoices.get(system, invoice))

        await _answered(do)

    return Healer(tell=tell, look=look)


async def _answered(act: Callable[[], Awaitable[object]]) -> None:
    try:
        await act()
    except (Refused, NotFound) as error:
        raise HealingRefused(str(error)) from error
    except RPCError as error:
        raise HealingRefused(f"Temporal refuses: {error.message}") from error


def _said(error: WorkflowFailureError) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return getattr(cause, "message", "") or str(cause)
