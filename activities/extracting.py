"""Lists what a connected system holds, page by page, into the scratch of a reconciliation run."""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from activities.beating import beating
from activities.failures import again, detail_of, final
from activities.ports import Ports
from activities.registration import implements
from adapters.errors import AdapterError, Unsupported
from adapters.governor import call_priority
from adapters.http import correlation_id
from canonical import activities as ref
from canonical.extracts import ExtractKind, ExtractScope
from canonical.failures import FailureKind
from canonical.reconciliation import Extracted, ExtractRows, ListedKind
from store import Store

PRIORITY: Final = 5
"""Of the vendor's calls: whatever is live goes first."""
AGAIN_SECONDS: Final = 30.0
"""After a listing that failed; it is begun anew, kind by kind."""
ORDER: Final = tuple(ExtractKind)


@dataclass(frozen=True)
class ExtractActivities:
    """The connected systems' side of a reconciliation; only reads."""

    store: Store
    ports: Ports

    @implements(ref.EXTRACT_ROWS)
    async def extract_rows(self, wanted: ExtractRows) -> Extracted:
        """List every kind that the system has, and that was not listed whole before.

        Idempotent: an attempt that takes over drops what the one before it had of a kind.
        """
        connection = wanted.of.connection
        correlation_id.set(f"reconcile/R{wanted.run}/{connection}")
        call_priority.set(PRIORITY)
        try:
            async with beating():
                return await self._list_all(wanted)
        except AdapterError as error:
            raise _failed(error, connection) from error

    async def _list_all(self, wanted: ExtractRows) -> Extracted:
        connection = wanted.of.connection
        kinds = self.ports.extracts(connection).extract_kinds()
        listed = [
            ListedKind(kind=kind, rows=await self._list(wanted, kind))
            for kind in ORDER
            if kind in kinds
        ]
        return Extracted(connection=connection, kinds=tuple(listed))

    async def _list(self, wanted: ExtractRows, kind: ExtractKind) -> int:
        staging, run, connection = self.store.staging, wanted.run, wanted.of.connection
        known = await staging.listed(run, connection, kind)
        if known is not None:
            return known
        scope = ExtractScope(
            kind=kind,
            subsidiary=wanted.of.subsidiary,
            since=wanted.since,
            until=wanted.until,
        )
        attempt, rows = uuid4().hex, 0
        await staging.begin(run, connection, kind, attempt)
        async for page in self.ports.extracts(connection).extract(scope):
            await staging.put(run, connection, kind, attempt, page)
            rows += len(page)
        await staging.end(run, connection, kind, attempt, rows)
        return rows


def _failed(error: AdapterError, connection: str) -> Exception:
    """Return what Temporal is told: what will not change by itself is final."""
    detail = detail_of(error, connection)
    if isinstance(error, Unsupported) or detail.kind is FailureKind.REJECTED:
        return final(detail)
    wait = getattr(error, "retry_after_seconds", None)
    return again(detail, AGAIN_SECONDS if wait is None else wait)
