"""NetSuite in the role of the ERP, and of the system that issues invoices.

Scorecard: creates by `PUT eid:`, which is an upsert by our own key (vendor page section 6), so a
repeated or late create makes no second record; deletes while nothing hangs on a record, else
deactivates it; never changes what it did not create, save to add a subsidiary or a currency.
Every act of the ERP is one call, but for two: removing what is in use (delete, then deactivate) and
taking a currency off (read, then replace the list). Invoices are read back after each write.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime
from typing import Final

from adapters.errors import Invalid, NotFound, Rejected
from adapters.governor import Governor
from adapters.http import VendorHttp
from adapters.netsuite import client as wire
from adapters.netsuite import mapping
from adapters.netsuite.batch import Batches
from adapters.netsuite.charges import Charges
from adapters.netsuite.checks import ConnectionCheck
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.costs import Costs
from adapters.netsuite.credits import Credits
from adapters.netsuite.extracts import Listings
from adapters.netsuite.invoices import Invoices
from adapters.netsuite.periods import Periods
from adapters.netsuite.records import RecordService, checked_id, refused
from adapters.ports import Check
from canonical.billing import (
    AccountingPeriod,
    ChargeBatch,
    CostBatch,
    PostedCharge,
    PostedCost,
)
from canonical.ids import ExternalId
from canonical.invoicing import (
    CreditNote,
    DraftMode,
    Invoice,
    InvoiceChange,
    InvoicingTraits,
    PostMode,
    ProvisionCredit,
    ProvisionInvoice,
)
from canonical.provisioning import (
    ErpClient,
    MatchClient,
    ProvisionClient,
    ProvisionErpProject,
)
from canonical.rating import ExchangeRate
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult, WriteOutcome

RELATIONSHIP: Final = "customerSubsidiaryRelationship"
EXPANDED: Final = {"expandSubResources": "true"}


class NetSuite(Listings):
    """One NetSuite account as an `Erp` and as `Invoicing`; it is listed as `Extracts`."""

    def __init__(
        self,
        connection: str,
        config: NetSuiteConfig,
        http: VendorHttp,
        scripts: VendorHttp | None = None,
    ) -> None:
        """Use HTTP clients that sign by themselves; `scripts` is on the host of the RESTlets."""
        self._connection = connection
        self._config = config
        self._records = RecordService(connection, http)
        batches = Batches(http, config.timeouts.total_seconds)
        self._periods = Periods(self._records, config)
        self._charges = Charges(self._records, batches, self._periods, config)
        self._costs = Costs(self._records, batches, self._periods, config)
        self._invoices = Invoices(self._records, self._charges, self._periods, config)
        self._credits = Credits(self._records, scripts, config)
        self._scripts = scripts

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self._connection

    def checks(self) -> tuple[Check, ...]:
        """Return the steps of the connection check."""
        return ConnectionCheck(self._records, self._config).steps()

    async def aclose(self) -> None:
        """Close the HTTP clients."""
        await self._records.http.aclose()
        if self._scripts is not None:
            await self._scripts.aclose()

    # Clients.

    async def search_clients(
        self, request: MatchClient, external_id: ExternalId
    ) -> tuple[ErpClient, ...]:
        """Find candidates by one SuiteQL query (section 5.1)."""
        query = mapping.search_query(request, external_id)
        found = self._clients(await self._records.query(query, "search clients"))
        return mapping.likeliest(found, request)

    async def get_client(self, record_id: str) -> ErpClient | None:
        """Return one customer, or None."""
        query = mapping.client_query(checked_id(record_id))
        return next(iter(self._clients(await self._records.query(query, "read a client"))), None)

    def _clients(self, rows: list[Mapping[str, object]]) -> tuple[ErpClient, ...]:
        return mapping.clients_from(rows, self._config, self._connection)

    async def find_client(self, external_id: ExternalId) -> RecordRef | None:
        """Return the customer with our external id."""
        return await self._records.find("customer", external_id, "client")

    async def provision_client(
        self, external_id: ExternalId, request: ProvisionClient
    ) -> RecordRef:
        """Create the customer by `PUT eid:` (section 5.1)."""
        body = mapping.client_body(request, self._config)
        act = "create the client"
        return await self._records.upsert("customer", external_id, body, "client", act)

    async def remove_client(self, external_id: ExternalId, record: RecordRef | None) -> UndoReceipt:
        """Delete the customer, else make it inactive (section 5.1)."""
        return await self._records.remove("customer", external_id, record, {"isInactive": True})

    # What a client is open to.

    async def find_client_entity(
        self, external_id: ExternalId, client: RecordRef, subsidiary: str
    ) -> Receipt | None:
        """Return the relationship with our external id, else the one that was there before.

        One query, not a look by external id: should it lag behind a write of ours, then the next
        write is the same upsert and makes no second relationship.
        """
        query = mapping.relationship_query(checked_id(client.id), checked_id(subsidiary))
        rows = await self._records.query(query, "look for the client's subsidiary")
        if not rows:
            return None
        ours = rows[0].get("externalid") == external_id
        return Receipt(
            record=self._records.record("client_entity", rows[0].get("id")),
            outcome=WriteOutcome.CREATED if ours else WriteOutcome.EXISTING,
        )

    async def add_client_entity(
        self, external_id: ExternalId, client: RecordRef, subsidiary: str
    ) -> RecordRef:
        """Create the relationship between customer and subsidiary (section 5.1)."""
        body: dict[str, object] = {
            "entity": {"id": client.id},
            "subsidiary": {"id": subsidiary},
            "isPrimarySub": False,
        }
        act = "open the client to a subsidiary"
        return await self._records.upsert(RELATIONSHIP, external_id, body, "client_entity", act)

    async def remove_client_entity(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the relationship; refused while transactions or projects need it."""
        return await self._records.remove(RELATIONSHIP, external_id, record, None)

    async def has_client_currency(self, client: RecordRef, currency: str) -> bool:
        """Return whether the currency is the customer's own or on its list."""
        body = await self._with_currencies(client)
        return self._currency(currency) in mapping.billable_currency_ids(body)

    async def add_client_currency(self, client: RecordRef, currency: str) -> RecordRef:
        """Append the currency: a sublist line without a key is added (section 4)."""
        body = mapping.currency_list([self._currency(currency)])
        act = "add a currency to the client"
        await self._records.change("customer", client.id, body, act)
        return RecordRef(system=self._connection, type="client_currency", id=currency)

    async def remove_client_currency(self, client: RecordRef, currency: str) -> UndoReceipt:
        """Replace the list by itself without the currency (`?replace=`, section 4)."""
        unwanted = self._currency(currency)
        absent = UndoReceipt(result=UndoResult.ABSENT)
        try:
            body = await self._with_currencies(client)
            if unwanted == mapping.primary_currency_id(body):
                error = Rejected(f"{currency} is the customer's primary currency by now.")
                raise refused(error, "client_currency", currency)
            if unwanted not in mapping.currency_ids(body):
                return absent
            kept = mapping.currency_list(
                id_ for id_ in mapping.currency_ids(body) if id_ != unwanted
            )
            act, params = "take a currency off the client", {"replace": "currencyList"}
            await self._records.change("customer", client.id, kept, act, params)
        except NotFound:
            return absent
        except (wire.HasDependents, Invalid) as error:
            raise refused(error, "client_currency", currency) from error
        return UndoReceipt(result=UndoResult.REMOVED)

    async def _with_currencies(self, client: RecordRef) -> Mapping[str, object]:
        act = "read the client's currencies"
        return await self._records.read("customer", client.id, act, EXPANDED)

    def _currency(self, currency: str) -> str:
        return mapping.currency_id(currency, self._config)

    # Projects.

    async def find_project(self, external_id: ExternalId) -> RecordRef | None:
        """Return the project with our external id."""
        return await self._records.find("job", external_id, "project")

    async def provision_project(
        self, external_id: ExternalId, request: ProvisionErpProject
    ) -> RecordRef:
        """Create the project by `PUT eid:` (section 5.2)."""
        body = mapping.project_body(request, self._config)
        return await self._records.upsert("job", external_id, body, "project", "create the project")

    async def remove_project(
        self, external_id: ExternalId, record: RecordRef | None
    ) -> UndoReceipt:
        """Delete the project, else close and deactivate it (section 5.2)."""
        closed = {"isInactive": True, "entityStatus": {"id": self._config.statuses.project_closed}}
        return await self._records.remove("job", external_id, record, closed)

    async def read_psa_link(self, project: RecordRef) -> str:
        """Return the custom field that holds the PSA project's id."""
        name = self._config.psa_project_field
        act = "read the PSA project's id"
        value = (await self._records.read("job", project.id, act, {"fields": name})).get(name)
        return value if isinstance(value, str) else ""

    async def write_psa_link(self, project: RecordRef, psa_project_id: str) -> RecordRef:
        """Set the custom field; null clears it."""
        body: dict[str, object] = {self._config.psa_project_field: psa_project_id or None}
        await self._records.change("job", project.id, body, "note the PSA project's id")
        return project

    # Approved time and expenses.

    async def read_period(self, subsidiary: str, on: date) -> AccountingPeriod | None:
        """Return the month of a date; subsidiaries share the periods (section 5.12)."""
        del subsidiary
        return await self._periods.of(on)

    async def read_open_period(self, subsidiary: str, on: date) -> AccountingPeriod | None:
        """Return the first open month that ends on or after a date."""
        del subsidiary
        return await self._periods.next_open(on)

    async def read_exchange_rates(
        self, currencies: tuple[str, ...], since: date, until: date
    ) -> tuple[ExchangeRate, ...]:
        """Return the rates of the currency rate table (section 5.12)."""
        return await self._periods.rates(currencies, since, until)

    async def find_charges(self, external_ids: tuple[ExternalId, ...]) -> tuple[PostedCharge, ...]:
        """Return those of the charges that exist, by one query (section 5.6)."""
        return await self._charges.find(external_ids)

    async def post_charges(
        self, external_ids: tuple[ExternalId, ...], batch: ChargeBatch
    ) -> tuple[PostedCharge, ...]:
        """Upsert the charges on hold, 100 a batch, and read them back."""
        return await self._charges.post(external_ids, batch)

    async def set_charges_ready(
        self, external_ids: tuple[ExternalId, ...], *, ready: bool
    ) -> tuple[PostedCharge, ...]:
        """Change the stage of the charges as batches of 100, and read them back."""
        return await self._charges.set_ready(external_ids, ready)

    async def remove_charges(self, external_ids: tuple[ExternalId, ...]) -> UndoReceipt:
        """Delete the charges as one batch; what is in use becomes non-billable."""
        return await self._charges.remove(external_ids)

    async def find_costs(self, external_ids: tuple[ExternalId, ...]) -> tuple[PostedCost, ...]:
        """Return those of the cost postings that exist and are not reversed."""
        return await self._costs.find(external_ids)

    async def post_costs(
        self, external_ids: tuple[ExternalId, ...], batch: CostBatch
    ) -> tuple[PostedCost, ...]:
        """Post hours as time, expenses as reports, 100 a batch (sections 5.5, 5.7)."""
        return await self._costs.post(external_ids, batch)

    async def remove_costs(self, external_ids: tuple[ExternalId, ...]) -> UndoReceipt:
        """Delete the cost postings; posted time is reversed by negative time."""
        return await self._costs.remove(external_ids)

    # Invoices.

    @property
    def invoicing(self) -> InvoicingTraits:
        """Drafts where the account routes approval; voiding where a script does it (5.9)."""
        routed = self._config.approval_routing
        return InvoicingTraits(
            draft=DraftMode.NON_POSTING if routed else DraftMode.NONE,
            post=PostMode.SYNC if routed else PostMode.IMPLICIT,
            voids=self._config.void_script is not None,
        )

    async def find_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> Invoice | None:
        """Return the invoice with our external id; a draft only if it is as asked for."""
        return await self._invoices.find(external_id, request)

    async def provision_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> Invoice:
        """Create the invoice by POST with our external id, and read it back (section 5.9)."""
        return await self._invoices.provision(external_id, request)

    async def remove_invoice(
        self, external_id: ExternalId, request: ProvisionInvoice
    ) -> UndoReceipt:
        """Delete the draft; NetSuite frees its charges (unverified)."""
        del request
        return await self._invoices.remove(external_id)

    async def post_invoice(self, external_id: ExternalId, invoice: RecordRef) -> Invoice:
        """Approve the draft by PATCH, and read it back."""
        del external_id  # approving twice is as good as once
        return await self._invoices.post(invoice)

    async def read_invoice(self, invoice: RecordRef) -> Invoice:
        """Read the record, its charges, and what is applied to it."""
        return await self._invoices.read(invoice)

    def list_changed_invoices(self, since: datetime) -> AsyncIterator[tuple[InvoiceChange, ...]]:
        """Ask for invoices, and for payments and credits, by their last change."""
        return self._invoices.changed(since)

    async def void_invoice(self, external_id: ExternalId, invoice: RecordRef) -> UndoReceipt:
        """Call the RESTlet that voids, where one is configured (section 7)."""
        del external_id  # the script knows the invoice by its id
        return await self._credits.void(invoice)

    async def find_credit(
        self, external_id: ExternalId, request: ProvisionCredit
    ) -> CreditNote | None:
        """Return the credit memo with our external id."""
        del request
        return await self._credits.find(external_id)

    async def provision_credit(
        self, external_id: ExternalId, request: ProvisionCredit
    ) -> CreditNote:
        """Transform the invoice into a credit memo, and read it back (section 5.10)."""
        return await self._credits.provision(external_id, request)

    async def remove_credit(self, external_id: ExternalId, request: ProvisionCredit) -> UndoReceipt:
        """Delete the credit memo, while its period is open and nothing else used it."""
        del request
        return await self._credits.remove(external_id)


def build_netsuite(connection: str, config: NetSuiteConfig, governor: Governor) -> NetSuite:
    """Return the adapter of one account; nothing is sent before the first call.

    RESTlets have a host of their own, but share sign-in and the account's limit.
    """
    http: VendorHttp

    def own_http() -> VendorHttp:
        return http

    auth = wire.authenticator(own_http, config)

    def client(base_url: str) -> VendorHttp:
        return VendorHttp(
            vendor=wire.VENDOR,
            connection=connection,
            base_url=base_url,
            auth=auth,
            classify=wire.classify,
            governor=governor,
            timeouts=config.timeouts.limits(),
            verify=config.ca_file,
        )

    http = client(config.base_url)
    scripts = client(config.void_script.base_url) if config.void_script is not None else None
    return NetSuite(connection, config, http, scripts)
