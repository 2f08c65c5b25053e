"""The invoices that changed in a system that sends no webhooks: one question for all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from adapters.invoicing import Invoicing
from gateway.invoice_events import INVOICE_CHANGED
from gateway.pollers import BATCH_MAX, FEED, FeedEvent
from store.inbox import NewEvent

FRESH: Final = timedelta(minutes=2)
"""A change as young as this is told anew by each read. Some systems keep the time of a change by
the minute: a second one within it would pass for the first, and a look too many costs little."""
FIRST: Final = timedelta(days=30)
"""How far back a system is read that was never read before."""
MEMORY: Final = timedelta(days=3_650)
"""An ERP forgets no invoice."""

Put = Callable[[Sequence[NewEvent]], Awaitable[object]]
"""Puts events into the inbox."""


class InvoiceFeed:
    """What changed in one issuing system, for the poller; see `gateway.pollers.Feed`."""

    def __init__(self, connection: str, issuer: Invoicing, put: Put) -> None:
        """Read from `issuer`; which invoices are Dealthread's, the router knows."""
        self._connection = connection
        self._issuer = issuer
        self._put = put

    async def read(self, since: datetime, until: datetime) -> AsyncIterator[FeedEvent]:
        """Yield the invoices that changed since a moment.

        Raises:
            AdapterError: they can't be read; the whole span is read again later.
        """
        async for page in self._issuer.list_changed_invoices(since):
            for change in page:
                id_, at = change.record.id, change.changed_at
                fresh = f"/{until.isoformat()}" if until - at < FRESH else ""
                yield FeedEvent(
                    id=f"invoice/{id_}/{at.isoformat()}{fresh}", kind=INVOICE_CHANGED, subject=id_
                )

    async def catch_up(self, _connection: str, since: datetime | None, until: datetime) -> None:
        """Put what changed before the first read into the inbox."""
        batch: list[NewEvent] = []
        async for event in self.read(since or until - FIRST, until):
            batch.append(
                NewEvent(
                    connection=self._connection,
                    event_id=event.id,
                    protocol=FEED,
                    kind=event.kind,
                    subject=event.subject,
                    body=event.body,
                    correlation_id=event.id,
                )
            )
            if len(batch) >= BATCH_MAX:
                await self._put(batch)
                batch = []
        if batch:
            await self._put(batch)
