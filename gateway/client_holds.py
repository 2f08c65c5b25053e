"""Clients whose billing is held in the CRM: by an open case, or by a field of their account.

A message says that a case or an account changed, no more: the client's holds are read again, and
what stands in the store is made to agree. A case that names an invoice's number disputes it, until
the case no longer holds; what a person disputed is left to that person.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from adapters.errors import AdapterError, NotFound
from adapters.ports import Crm
from canonical.invoicing import BillingHold
from canonical.lifecycle import TrackedInvoice
from gateway import salesforce
from gateway.invoice_events import look_at
from gateway.routing import Refused, Routed, Verdict
from store import Store
from store.inbox import Taken

CASE: Final = "Case"
ACCOUNT: Final = "Account"
FROM_CRM: Final = (f"{CASE}/", f"{ACCOUNT}/")
"""What the sources of holds begin with that the CRM tells."""
DISPUTE: Final = "invoice/"
"""What the sources of holds begin with that a disputed invoice puts."""
READ_SECONDS: Final = 8
"""For one client: the events of the tick stay locked meanwhile."""
AT_ONCE: Final = 5
CLIENTS_MAX: Final = 20
"""Of one tick; the others come again."""
NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_.\-]{2,63}")
"""What may be an invoice's number, once it has a digit."""
NUMBERS_MAX: Final = 20

_log = structlog.get_logger("dealthread.holds")


class Holds(Protocol):
    """Makes the store agree with what the CRM holds."""

    async def told(self, events: Sequence[Taken]) -> list[Routed | Refused]:
        """Read again what these events are about, and return what became of each."""


def concerns(taken: Taken) -> bool:
    """Return whether an event may hold or free a client."""
    event = taken.event
    return event.protocol == salesforce.PROTOCOL and event.kind in (CASE, ACCOUNT)


@dataclass(frozen=True)
class ClientHoldDesk:
    """Puts and releases the holds of clients as their CRM says."""

    store: Store
    crm: Callable[[str], Crm]
    full_id: Callable[[str, str], str]
    """Returns the one form of a record's id, for a CRM connection and an id."""

    async def told(self, events: Sequence[Taken]) -> list[Routed | Refused]:
        """Read again what these events are about, each client once; see `Holds`.

        Raises:
            StoreError: nothing can be told now; all events wait.
        """
        clients = {each.event.id: await self._client(each) for each in events}
        asked = dict.fromkeys(
            (each.event.connection, client) for each in events if (client := clients[each.event.id])
        )
        gate = asyncio.Semaphore(AT_ONCE)
        now = list(asked)[:CLIENTS_MAX]
        came = await asyncio.gather(*(self._agreed(gate, *each) for each in now))
        outcomes = dict(zip(now, came, strict=True))
        found: list[Routed | Refused] = []
        for each in events:
            number, client = each.event.id, clients[each.event.id]
            outcome = outcomes.get((each.event.connection, client), BUSY) if client else NOBODYS
            if isinstance(outcome, Came):
                found.append(Refused(number, outcome.verdict, outcome.reason, outcome.detail))
                continue
            found += [Routed(number, look_at(*key)) for key in outcome]
            if not outcome:
                found.append(Refused(number, Verdict.DONE, "read_again", f"Holds of {client}."))
        return found

    async def _client(self, taken: Taken) -> str:
        """Return whose case it is: the message says so, or the hold that it put."""
        event = taken.event
        crm = event.connection
        if event.kind == ACCOUNT:
            return self.full_id(crm, event.subject)
        account = salesforce.id_in(taken.body, "AccountId")
        if account:
            return self.full_id(crm, account)
        case = f"{CASE}/{self.full_id(crm, event.subject)}"
        known = (hold for hold in await self.store.client_holds.open() if hold.source == case)
        return next((hold.client_id for hold in known), "")

    async def _agreed(
        self, gate: asyncio.Semaphore, crm: str, client: str
    ) -> "tuple[tuple[str, str], ...] | Came":
        """Make the holds of a client agree; return the invoices whose dispute changed."""
        async with gate:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    holds = await self.crm(crm).read_billing_holds(client)
            except NotFound as error:
                return Came(Verdict.DEAD, "unknown_client", str(error))
            except (AdapterError, TimeoutError) as error:
                _log.warning("holds_not_read", crm=crm, error=type(error).__name__)
                return Came(Verdict.RETRY, "holds_not_read", type(error).__name__)
        before = await self.store.client_holds.open(client)
        for hold in holds:
            await self.store.client_holds.put(hold)
        sources = {hold.source for hold in holds}
        for hold in before:
            if hold.source.startswith(FROM_CRM) and hold.source not in sources:
                await self.store.client_holds.release(client, hold.source)
        return await self._disputes(client, holds, before)

    async def _disputes(
        self, client: str, holds: Sequence[BillingHold], before: Sequence[BillingHold]
    ) -> tuple[tuple[str, str], ...]:
        wanted: dict[tuple[str, str], str] = {}
        changed: list[tuple[str, str]] = []
        for hold in holds:
            for invoice in await self._named(client, hold):
                key = (invoice.record.system, invoice.record.id)
                because = wanted.setdefault(key, f"{hold.source}: {hold.reason}")
                # What a person disputed keeps that person's reason.
                own = not invoice.disputed or invoice.disputed.startswith(f"{hold.source}: ")
                if own and invoice.disputed != because:
                    await self.store.invoices.dispute(*key, because, by=hold.source)
                    changed.append(key)
        for hold in before:
            connection, _, id_ = hold.source.removeprefix(DISPUTE).partition("/")
            by_case = hold.source.startswith(DISPUTE) and hold.reason.startswith(f"{CASE}/")
            if by_case and (connection, id_) not in wanted:
                by = hold.reason.partition(": ")[0]
                await self.store.invoices.undispute(connection, id_, by=by)
                changed.append((connection, id_))
        return tuple(changed)

    async def _named(self, client: str, hold: BillingHold) -> list[TrackedInvoice]:
        """Return the client's invoices whose number stands in a case."""
        if not hold.source.startswith(f"{CASE}/"):
            return []
        words = NUMBER.findall(hold.reason.partition(": ")[2])
        numbers = [word.rstrip(".-/") for word in words if any(map(str.isdigit, word))]
        found = []
        for number in dict.fromkeys(numbers[:NUMBERS_MAX]):
            found += [
                invoice
                for invoice in await self.store.invoices.by_number(number)
                if invoice.client_id == client
            ]
        return found


@dataclass(frozen=True, slots=True)
class Came:
    """Why a client's holds were not read."""

    verdict: Verdict
    reason: str
    detail: str


BUSY: Final = Came(Verdict.RETRY, "busy", "More clients changed than are read at once.")
NOBODYS: Final = Came(
    Verdict.DEAD,
    "no_account",
    "The message does not say whose case it is: add the field AccountId to the outbound message.",
)
