"""The outbox: messages to people, written with what they tell of and sent afterwards."""

from datetime import datetime

from sqlalchemy import func, select, update

from canonical.model import CanonicalModel
from store.database import Database
from store.models import outbox


class OutboxMessage(CanonicalModel):
    """Something that people are to be told."""

    id: int
    kind: str
    """`work_item_opened` or `work_item_escalated`."""
    subject: str
    """The work item's id."""
    payload_json: str
    """The work item."""
    created_at: datetime


class Outbox:
    """Reads what is to be sent. Delivery is at least once: send first, then mark."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unsent(self, limit: int = 100) -> tuple[OutboxMessage, ...]:
        """Return messages that were not sent yet, oldest first."""
        query = select(outbox).where(outbox.c.sent_at.is_(None)).order_by(outbox.c.id).limit(limit)
        rows = await self._database.rows(query)
        return tuple(OutboxMessage.model_validate(row._mapping) for row in rows)

    async def mark_sent(self, message_id: int) -> None:
        """Put down that a message was sent; the same twice changes nothing."""
        await self._database.run(
            update(outbox)
            .where(outbox.c.id == message_id, outbox.c.sent_at.is_(None))
            .values(sent_at=func.now())
        )
