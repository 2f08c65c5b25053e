"""One Protocol per role: what Dealthread asks of a connected system, named after business acts.

The rules are the same for every act:

* `find_*` looks for what an earlier attempt may have left, by the external id that we gave it.
* `provision_*`, `add_*`, `write_*`, `open_*` make exactly one vendor write (or one atomic composite
  call) and raise `OutcomeUnknown` where no answer came. They never retry and never look first:
  the caller has looked, and looks again before it repeats.
* `remove_*` works from the external id, with or without a record: it removes every record that
  carries it, succeeds when there is nothing, deletes while that is allowed, otherwise deactivates,
  and raises `UndoRefused` where the vendor allows neither.
* All raise the errors of `adapters.errors`, and nothing else.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from canonical.backfill import SourcePage, SourceWindow
from canonical.billing import (
    AccountingPeriod,
    ChargeBatch,
    CostBatch,
    PostedCharge,
    PostedCost,
)
from canonical.deal import Deal, DealLinks
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope
from canonical.ids import ExternalId
from canonical.invoicing import (
    BillingHold,
    DealFinances,
)
from canonical.people import CostCenter, Worker
from canonical.provisioning import (
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.rating import ExchangeRate
from canonical.records import Receipt, RecordRef, UndoReceipt


@dataclass(frozen=True)
class Check:
    """One step of `connections check`.

    `run` returns a sentence on what it saw, or raises an `AdapterError`; `remedy` then tells an
    administrator what to change.
    """

    name: str
    run: Callable[[], Awaitable[str]]
    remedy: str


class Connected(Protocol):
    """What every adapter offers beside its role."""

    @property
    def connection(self) -> str:
        """Name of the connection, as in `dealthread.toml`."""
        ...

    def checks(self) -> tuple[Check, ...]:
        """Return the named steps of the connection check, in order: reach, sign in, ...

        Every later step assumes the earlier ones; none of them writes anything.
        """
        ...

    async def aclose(self) -> None:
        """Close the HTTP client; calling it twice is allowed."""
        ...


class Extracts(Connected, Protocol):
    """A system whose records can be listed, to be compared with what Dealthread knows of them."""

    def extract_kinds(self) -> frozenset[ExtractKind]:
        """Return what this system holds and lists."""
        ...

    def extract(self, scope: ExtractScope) -> AsyncIterator[tuple[ExtractRow, ...]]:
        """Yield the records of a scope page by page, in the order of the vendor.

        Pages are as large as the vendor allows, and one at a time is in memory. A record that
        changes meanwhile may show either way, and where the vendor pages by position it may show
        twice: the same id is the same record. After an error begin anew.

        Raises:
            Unsupported: the system has no such records; raised before the first page.
        """
        ...


class Source(Connected, Protocol):
    """A system whose records a backfill carries over."""

    async def page_records(self, window: SourceWindow, after: str = "") -> SourcePage:
        """Return the page of a window that follows `after`; the same record may come twice.

        Only what is won or approved. Records that come to be while it is read may be missed.

        Raises:
            Invalid: the window's condition is none of this source's; field `where`.
        """
        ...


class Crm(Source, Protocol):
    """Where deals are sold."""

    async def read_deal(self, deal_id: str) -> Deal:
        """Return the opportunity with account, lines and milestones, unjudged.

        Raises:
            NotFound: there is no such opportunity, or it is deleted.
        """
        ...

    async def read_links(self, deal_id: str) -> DealLinks:
        """Return the fields that Dealthread owns; an empty one is an empty string."""
        ...

    async def write_links(self, deal_id: str, links: DealLinks) -> RecordRef:
        """Set the fields that are not None (an empty string clears); record type `deal`."""
        ...

    async def read_finances(self, deal_id: str) -> DealFinances | None:
        """Return what Dealthread showed of the deal's money last, or None."""
        ...

    async def write_finances(self, deal_id: str, finances: DealFinances) -> RecordRef:
        """Show the deal's money: one write, the same again is as good; record type `deal`."""
        ...

    async def read_billing_holds(self, client_id: str) -> tuple[BillingHold, ...]:
        """Return the client's open disputes and billing holds: cases or a field of the account."""
        ...


class Erp(Connected, Protocol):
    """Where the books are kept."""

    async def search_clients(
        self, request: MatchClient, external_id: ExternalId
    ) -> tuple[ErpClient, ...]:
        """Return every customer that might be the client, at most 50; the policy judges.

        Those with this external id, with the same tax id, and those with the same or a similar
        name (first word), inactive ones too, each with its subsidiaries and currencies.
        """
        ...

    async def get_client(self, record_id: str) -> ErpClient | None:
        """Return the customer with this ERP id, or None."""
        ...

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer that carries this external id; record type `client`."""
        ...

    async def provision_client(
        self, external_id: ExternalId, request: ProvisionClient
    ) -> RecordRef:
        """Create the customer with this external id (or complete the same one)."""
        ...

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the customer, or deactivate it where transactions or projects hang on it."""
        ...

    async def find_client_entity(
        self, external_id: ExternalId, client: RecordRef, subsidiary: str
    ) -> Receipt | None:
        """Return how the customer is open to this subsidiary, `created` when by this external id.

        Record type `client_entity`; `existing` where it is open already, but not by us.
        """
        ...

    async def add_client_entity(
        self, external_id: ExternalId, client: RecordRef, subsidiary: str
    ) -> RecordRef:
        """Open the customer to a further subsidiary."""
        ...

    async def remove_client_entity(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Take back what `add_client_entity` did under this external id."""
        ...

    async def has_client_currency(self, client: RecordRef, currency: str) -> bool:
        """Return whether the customer can be billed in this currency."""
        ...

    async def add_client_currency(self, client: RecordRef, currency: str) -> RecordRef:
        """Let the customer be billed in a further currency; record type `client_currency`."""
        ...

    async def remove_client_currency(self, client: RecordRef, currency: str) -> UndoReceipt:
        """Take a currency off the customer again; `absent` where it has none such."""
        ...

    async def find_project(self, external_id: ExternalId) -> RecordRef | None:
        """Return the project that carries this external id; record type `project`."""
        ...

    async def provision_project(
        self, external_id: ExternalId, request: ProvisionErpProject
    ) -> RecordRef:
        """Create the project with its dimensions; `request.client` is set."""
        ...

    async def remove_project(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the project, or deactivate and close it where something was booked on it."""
        ...

    async def read_psa_link(self, project: RecordRef) -> str:
        """Return the PSA project id noted on the project, or an empty string."""
        ...

    async def write_psa_link(self, project: RecordRef, psa_project_id: str) -> RecordRef:
        """Note the PSA project id on the project; an empty string clears it."""
        ...

    async def set_charges_ready(
        self, external_ids: tuple[ExternalId, ...], *, ready: bool
    ) -> tuple[PostedCharge, ...]:
        """Let the ERP bill these charges, or put them on hold again; ids in the given order.

        Raises:
            Rejected: one is gone or is on an invoice; the message names it.
        """
        ...

    # Approved time and expenses.

    async def read_period(self, subsidiary: str, on: date) -> AccountingPeriod | None:
        """Return the posting period of a legal entity that a date falls into, or None."""
        ...

    async def read_open_period(self, subsidiary: str, on: date) -> AccountingPeriod | None:
        """Return the first open posting period that ends on or after a date, or None."""
        ...

    async def read_exchange_rates(
        self, currencies: tuple[str, ...], since: date, until: date
    ) -> tuple[ExchangeRate, ...]:
        """Return the ERP's rates between these currencies in force at any time in the range."""
        ...

    async def find_charges(self, external_ids: tuple[ExternalId, ...]) -> tuple[PostedCharge, ...]:
        """Return those of the charges that exist, with amount, stage and invoice; one query."""
        ...

    async def post_charges(
        self, external_ids: tuple[ExternalId, ...], batch: ChargeBatch
    ) -> tuple[PostedCharge, ...]:
        """Post up to 1,000 charges on hold, in the vendor's own portions; ids in their order.

        Raises:
            ClosedPeriod: a charge is dated in a closed period; nothing of the batch is posted,
                unless it was closed just now.
            Rejected: the message names the charge; others of the batch may have been posted, and
                `find_charges` tells which.
        """
        ...

    async def remove_charges(self, external_ids: tuple[ExternalId, ...]) -> UndoReceipt:
        """Delete the charges that exist; those in use become non-billable.

        Raises:
            UndoRefused: one of them is on an invoice.
        """
        ...

    async def find_costs(self, external_ids: tuple[ExternalId, ...]) -> tuple[PostedCost, ...]:
        """Return those of the cost postings that exist, with the cost that the ERP computed."""
        ...

    async def post_costs(
        self, external_ids: tuple[ExternalId, ...], batch: CostBatch
    ) -> tuple[PostedCost, ...]:
        """Post hours and expenses as project cost; errors as for `post_charges`."""
        ...

    async def remove_costs(self, external_ids: tuple[ExternalId, ...]) -> UndoReceipt:
        """Take cost postings back: deleted while that is allowed, otherwise reversed."""
        ...


class Hcm(Connected, Protocol):
    """Where people are kept; only read."""

    async def read_workers(
        self, emails: tuple[str, ...], since: date, until: date
    ) -> tuple[Worker, ...]:
        """Return every version of these workers in force at any time in the range.

        Unknown e-mail addresses are simply absent.
        """
        ...

    def list_workers(self, on: date) -> AsyncIterator[tuple[Worker, ...]]:
        """Yield pages of all workers as of a day, terminated ones with `active` False."""
        ...

    async def list_cost_centers(self) -> tuple[CostCenter, ...]:
        """Return every cost center."""
        ...
