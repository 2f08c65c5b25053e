"""What is looked at before an invoice is written, since NetSuite would not refuse it, or too late.

An invoice that waits for approval posts nowhere, so NetSuite takes any date; what it says of a
customer on hold depends on a preference (from memory). Whether it puts ready charges of a project
on an invoice that did not ask for them is not documented: the lines name their charges and
`whichChargesToAdd` stays empty, and where there is no draft to look at, no foreign charge may be
ready.
"""

from collections.abc import Mapping

from adapters.errors import Invalid, NotFound, Rejected
from adapters.netsuite import invoice_mapping as mapping
from adapters.netsuite.billing_mapping import text_of
from adapters.netsuite.charges import Charges
from adapters.netsuite.client import VENDOR
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.invoice_reading import reference
from adapters.netsuite.periods import Periods
from adapters.netsuite.records import RecordService
from canonical.billing import ChargeStage, PostedCharge
from canonical.ids import ExternalId
from canonical.invoicing import Invoice, InvoiceLine, ProvisionInvoice

ACT = "create the invoice"
OWN_PREFIX = "dt-"
"""Of every external id that Dealthread gives (`canonical.ids.external_id`)."""


class InvoiceChecks:
    """The checks of one account."""

    def __init__(
        self, records: RecordService, charges: Charges, periods: Periods, config: NetSuiteConfig
    ) -> None:
        """Use the account's records, charges and books."""
        self._records = records
        self._charges = charges
        self._periods = periods
        self._config = config

    async def before(self, request: ProvisionInvoice) -> None:
        """Look at the period, the customer and the project's other charges.

        Raises:
            ClosedPeriod: the invoice date is in a closed period.
            Rejected: the customer is inactive or on hold, or a foreign charge is ready.
        """
        await self._periods.refuse_closed((request.on,), ACT)
        await self._refuse_held(request)
        project = mapping.charged_project(request)
        if project and not self._config.approval_routing:
            await self._refuse_ready(project, request)

    async def charge_ids(
        self, request: ProvisionInvoice, standing: Invoice | None
    ) -> Mapping[str, str]:
        """Return the internal id of each charge that is to be billed, after a look at it.

        Raises:
            Invalid: the charges are of several projects.
            Rejected: a charge is gone, not ready, billed elsewhere, or they sum to another amount.
        """
        if not mapping.charged_project(request):
            return {}
        wanted = [ExternalId(id_) for line in request.lines for id_ in line.charges]
        found = {each.external_id: each for each in await self._charges.find(wanted)}
        own = standing.record.id if standing is not None else ""
        for id_ in wanted:
            _check_billable(id_, found.get(id_), own)
        for line in request.lines:
            _check_sum(line, found)
        return {id_: found[id_].record.id for id_ in wanted}

    async def _refuse_held(self, request: ProvisionInvoice) -> None:
        if request.client is None:
            return
        names = "companyName,entityId,isInactive,creditHoldOverride"
        try:
            body = await self._records.read(
                "customer", request.client.id, "look at the client", {"fields": names}
            )
        except NotFound as error:
            text = f"Customer {request.client.id} does not exist (any more)."
            raise Invalid(text, vendor=VENDOR, operation=ACT, field="client") from error
        name = text_of(body, "companyName") or text_of(body, "entityId")
        if body.get("isInactive") is True:
            text = f"Customer {request.client.id} ({name}) is inactive."
        elif reference(body, "creditHoldOverride").upper() == "ON":
            text = f"Customer {request.client.id} ({name}) is on credit hold."
        else:
            return
        raise Rejected(f"{text} Change that in NetSuite, then retry.", vendor=VENDOR, operation=ACT)

    async def _refuse_ready(self, project: str, request: ProvisionInvoice) -> None:
        """Charges of ours belong to other drafts, and are put on hold by nobody but these."""
        ours = {id_ for line in request.lines for id_ in line.charges}
        rows = await self._records.query_all(mapping.ready_query(project), "look for ready charges")
        foreign = [
            text_of(row, "id")
            for row in rows
            if (name := text_of(row, "externalid")) not in ours and not name.startswith(OWN_PREFIX)
        ]
        if foreign:
            text = (
                f"Project {project} has charges that are ready and not ours: {', '.join(foreign)}. "
                "Put them on hold or bill them; turn native billing off for the project."
            )
            raise Rejected(text, vendor=VENDOR, operation=ACT)


def _check_billable(external_id: ExternalId, charge: PostedCharge | None, own: str) -> None:
    if charge is None:
        text = f"Charge {external_id} is gone from NetSuite."
    elif charge.invoice_id and charge.invoice_id != own:
        text = f"Charge {external_id} is on invoice {charge.invoice_id} already."
    elif charge.stage is not ChargeStage.READY and not charge.invoice_id:
        text = f"Charge {external_id} is not ready for billing."
    else:
        return
    raise Rejected(text, vendor=VENDOR, operation=ACT)


def _check_sum(line: InvoiceLine, found: Mapping[str, PostedCharge]) -> None:
    """A line that bills charges is over what they are over: the invoice follows from them."""
    if not line.charges:
        return
    total = sum(found[id_].amount.amount for id_ in line.charges)
    if total != line.amount.amount:
        text = f"The charges of line {line.item} sum to {total}, the line is {line.amount}."
        raise Rejected(text, vendor=VENDOR, operation=ACT)
