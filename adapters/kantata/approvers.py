"""Who approved, by e-mail address: Kantata names approvers by their user id only.

Sources: vendor page sections 3 (`only`), 6.5 (users), 8.2 (a submission's
`current_resolution_creator_id`). Four eyes compare addresses, so an address that cannot be looked
up because of a fault is an error, and never passed over.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from adapters.kantata.client import Row, id_of
from adapters.kantata.milestone_mapping import email_of
from adapters.kantata.records import Records
from canonical.entries import Entry

KNOWN_SECONDS: Final = 3_600.0
"""So long an address that was looked up counts; then it is asked for again."""
KNOWN_MAX: Final = 2_000
"""Approvers that are remembered; of more, those looked up first are forgotten."""


class Approvers:
    """The e-mail addresses of an account's approvers, remembered for an hour."""

    def __init__(self, records: Records, now: Callable[[], float] = time.monotonic) -> None:
        """Use the account's records; `now` counts seconds."""
        self._records = records
        self._now = now
        self._known: dict[str, tuple[str, float]] = {}
        # Runs that read side by side ask for the same few people: the first one's answer is enough.
        self._asking = asyncio.Lock()

    async def named(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return entries read with ids in `approved_by` with addresses there.

        All unknown people of one read are looked up in one call (200 a call). The id stays where
        Kantata gives no address: the user was deleted, or has none.
        """
        # Whoever recorded something too came with it.
        own = {each.person_id: each.person_email for each in entries if each.person_email}
        ids = sorted({each.approved_by for each in entries} - {"", *own})
        emails = {**(await self._looked_up(ids) if ids else {}), **own}
        return tuple(
            each.model_copy(
                update={"approved_by": emails.get(each.approved_by) or each.approved_by}
            )
            for each in entries
        )

    async def _looked_up(self, ids: Sequence[str]) -> dict[str, str]:
        """Return addresses by id; empty where there is none, which is remembered as well."""
        async with self._asking:
            found = self._remembered(ids)
            unknown = [id_ for id_ in ids if id_ not in found]
            if unknown:
                users = await self._records.named("users", unknown, {}, "see who approved")
                fresh = {**dict.fromkeys(unknown, ""), **_emails(users.rows)}
                self._remember(fresh)
                found |= fresh
            return found

    def _remembered(self, ids: Iterable[str]) -> dict[str, str]:
        now = self._now()
        held = ((id_, *self._known.get(id_, ("", now))) for id_ in ids)
        return {id_: email for id_, email, until in held if until > now}

    def _remember(self, fresh: dict[str, str]) -> None:
        until = self._now() + KNOWN_SECONDS
        for id_, email in fresh.items():
            self._known.pop(id_, None)
            self._known[id_] = (email, until)
        for id_ in list(self._known)[: max(0, len(self._known) - KNOWN_MAX)]:
            del self._known[id_]


def _emails(users: Iterable[Row]) -> dict[str, str]:
    return {id_of(row): email_of(row) for row in users}
