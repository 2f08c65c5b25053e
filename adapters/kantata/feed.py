"""Kantata's change feed: pulled, unordered, kept for nine days (vendor page section 14).

A milestone is approved by what happens to its task, so an event of a task is told twice: as that of
the task, and as one of each milestone that is tied to it. A date that is reached makes no event.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Final

from adapters.errors import ContractBroken, Forbidden, NotFound, Unsupported
from adapters.kantata import time_mapping as mapping
from adapters.kantata.client import Row, id_of, listing
from adapters.kantata.milestones import Milestones
from adapters.kantata.records import API, Records
from canonical.billing import PsaChange

PAGES_MAX: Final = 5_000
NO_FEED: Final = (
    "This Kantata account has no feed of subscribed events, or the token's user is no account "
    "administrator: book it, or let changed entries be listed instead."
)


class ChangeFeed:
    """The feed of one account."""

    def __init__(self, records: Records) -> None:
        """Use the account's records."""
        self._records = records
        self._own_user = ""
        self._types: tuple[str, ...] = ()

    async def read(
        self, since: datetime, until: datetime, milestones: Milestones
    ) -> AsyncIterator[PsaChange]:
        """Yield what happened in a window, as it comes: perhaps twice, in any order.

        Raises:
            Unsupported: the account has no feed.
        """
        if not self._types:
            self._types = await self.event_types()
        if not self._own_user:
            self._own_user = await self.own_user()
        params = {
            "created_after": since.isoformat(),
            "created_before": until.isoformat(),
            "event_types": ",".join(self._types),
            "order": "created_at:asc",
        }
        seen = 0
        for number in range(1, PAGES_MAX + 1):
            try:
                page = await self._records.page(
                    "subscribed_events", {**params, "page": str(number)}, "read the change feed"
                )
            except Forbidden as error:
                raise _unsupported(error) from error
            tied = await self._tied(page.rows, milestones)
            for row in page.rows:
                change = mapping.change_from(row, self._own_user)
                if change is None:
                    continue
                yield change
                for milestone in tied.get(change.subject_id, ()) if is_of_task(change) else ():
                    yield mapping.milestone_change(change, milestone)
            seen += len(page.rows)
            if not page.rows or seen >= page.count:
                return
        raise ContractBroken("Kantata's change feed does not end.")

    async def _tied(
        self, rows: tuple[Row, ...], milestones: Milestones
    ) -> dict[str, tuple[str, ...]]:
        """Return the milestones tied to the tasks of a page, by task."""
        changes = [mapping.change_from(row, self._own_user) for row in rows]
        tasks = dict.fromkeys(c.subject_id for c in changes if c is not None and is_of_task(c))
        return await milestones.of_stories([*tasks]) if tasks else {}

    async def event_types(self) -> tuple[str, ...]:
        """Return the event types of ours that the account knows.

        Raises:
            Unsupported: the account has no feed.
        """
        try:
            answer = await self._records.http.request(
                "GET",
                f"{API}/subscribed_events/event_types",
                operation="read the types of events",
                write=False,
            )
        except (Forbidden, NotFound) as error:
            raise _unsupported(error) from error
        body = answer.json
        # "A list" (section 3): whether it stands alone or under its name is unverified.
        listed = body.get("event_types") if isinstance(body, Mapping) else body
        names = [_name(each) for each in listed] if isinstance(listed, list) else []
        ours = tuple(name for name in names if name and name.partition(":")[0] in mapping.SUBJECTS)
        if not ours:
            raise ContractBroken("Kantata names no event types that are of use.", raw=answer.text)
        return ours

    async def own_user(self) -> str:
        """Return the id of the token's user, whose own writes come back in the feed."""
        answer = await self._records.http.request(
            "GET", f"{API}/users/me", operation="see whose token this is", write=False
        )
        rows = listing(answer).rows
        if not rows:
            raise ContractBroken("Kantata does not say whose token this is.", raw=answer.text)
        return id_of(rows[0])


def is_of_task(change: PsaChange) -> bool:
    """Return whether a change is one of a task."""
    return change.subject_type == mapping.SUBJECTS["story"] and bool(change.subject_id)


def _name(each: object) -> str:
    named = each.get("event_type", each.get("name")) if isinstance(each, Mapping) else each
    return named if isinstance(named, str) else ""


def _unsupported(error: Forbidden | NotFound) -> Unsupported | Forbidden | NotFound:
    """Return what a refusal means: a void token is no missing feature."""
    if error.status == 401:
        return error
    return Unsupported(
        NO_FEED,
        vendor=error.vendor,
        operation=error.operation,
        status=error.status,
        vendor_code=error.vendor_code,
        request_id=error.request_id,
    )
