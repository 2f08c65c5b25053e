"""The connection check of NetSuite: each step reads, none writes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from adapters.errors import ContractBroken, Invalid, NotFound
from adapters.netsuite import (
    billing_mapping,
    cost_mapping,
    credit_mapping,
    extract_queries,
    invoice_mapping,
    mapping,
)
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.records import ROOT, RecordService, json_object
from adapters.ports import Check

CLOCK_SKEW_SECONDS_MAX: Final = 120.0


class ConnectionCheck:
    """The steps of the check, for one account."""

    def __init__(self, records: RecordService, config: NetSuiteConfig) -> None:
        """Use the account's records."""
        self._records = records
        self._config = config

    def steps(self) -> tuple[Check, ...]:
        """Return the steps in order; each assumes the earlier ones."""
        return (
            Check("reach", self.reach, "Check base_url: the account's SuiteTalk host."),
            Check(
                "sign in",
                self.sign_in,
                "Check the integration record, its token or certificate, the account id and the "
                "clock; the Login Audit Trail in NetSuite names the cause.",
            ),
            Check(
                "permission",
                self.permission,
                "Give the role REST Web Services, SuiteAnalytics Workbook, and View on customers "
                "and subsidiaries. Turn on OneWorld and multiple currencies.",
            ),
            Check(
                "fields",
                self.fields,
                f"Create the entity field {self._config.psa_project_field} and apply it to "
                "projects, or name yours in settings.psa_project_field. Likewise the transaction "
                f"line field {self._config.invoice_item_field}, applied to sales, and "
                "settings.invoice_item_field.",
            ),
            Check(
                "mappings",
                self.mappings,
                "Correct settings.currencies, terms, charge_items, charge_types, cost_item, "
                "invoice_items or expense_categories.",
            ),
            Check(
                "billing",
                self.billing,
                "Give the role Charges, Track Time, Expense Reports, Employees, Accounting "
                "Periods, Currency Exchange Rates, Invoice, Credit Memo and Customer Payment; "
                "correct settings.date_format.",
            ),
        )

    async def reach(self) -> str:
        """Ask without a signature: NetSuite refuses that in its own words."""
        try:
            answer = await self._records.http.request(
                "GET",
                f"{ROOT}/metadata-catalog",
                operation="reach NetSuite",
                write=False,
                authenticated=False,
                expect=range(200, 500),
            )
        except Invalid as error:
            raise ContractBroken(str(error)) from error
        if not isinstance(answer.json, Mapping) or "o:errorDetails" not in answer.json:
            raise ContractBroken("Something else than NetSuite answers here.", raw=answer.text)
        stamp = answer.headers.get("Date")
        if stamp is None:
            return "reached"
        skew = abs((datetime.now(UTC) - parsedate_to_datetime(stamp)).total_seconds())
        if skew > CLOCK_SKEW_SECONDS_MAX:
            raise Invalid(f"This machine's clock is {skew:.0f} s away; signatures carry the time.")
        return f"reached; clocks {skew:.0f} s apart"

    async def sign_in(self) -> str:
        """Ask the smallest query there is."""
        await self._records.query("SELECT id FROM currency ORDER BY id", "sign in")
        return f"signed in by {self._config.auth.kind}"

    async def permission(self) -> str:
        """Ask the queries of the acts about a customer that cannot exist."""
        ask = self._records.query
        await ask(mapping.client_query("0"), "search clients")
        await ask(mapping.relationship_query("0", "0"), "look for subsidiaries")
        rows = await ask("SELECT id FROM subsidiary ORDER BY id", "list subsidiaries")
        return f"customers can be searched; {len(rows)} subsidiaries visible"

    async def fields(self) -> str:
        """Look for the custom field in the project's schema, and for the column by a query."""
        answer = await self._records.http.request(
            "GET",
            f"{ROOT}/metadata-catalog/job",
            operation="describe the project",
            write=False,
            headers={"Accept": "application/schema+json"},
        )
        fields = json_object(answer).get("properties")
        name = self._config.psa_project_field
        if not isinstance(fields, Mapping) or name not in fields:
            raise Invalid(f"Projects have no field {name}.", field=name)
        column = self._config.invoice_item_field
        try:
            query = invoice_mapping.column_query(self._config)
            await self._records.query(query, "look for the column of invoice lines")
        except Invalid as error:
            raise Invalid(
                f"Invoice lines have no column {column}: {error.message}", field=column
            ) from error
        return f"{name} and {column} are there"

    async def mappings(self) -> str:
        """Compare the configured internal ids with those of the account."""
        wrong = await self._unknown("currency", self._config.currencies)
        wrong += await self._unknown("term", self._config.terms)
        items = [*self._config.charge_items.items(), *self._config.invoice_items.items()]
        items.append(("cost_item", self._config.cost_item))
        absent = {id_ for id_ in {each for _, each in items} if not await self._is_item(id_)}
        wrong += list(dict.fromkeys(name for name, id_ in items if id_ in absent))
        wrong += await self._unknown("chargetype", self._config.charge_types)
        wrong += await self._unknown("expensecategory", self._config.expense_categories)
        if wrong:
            raise Invalid(f"These have ids that do not exist: {', '.join(wrong)}.", field=wrong[0])
        return "currencies, terms, items, charge types and expense categories exist"

    async def billing(self) -> str:
        """Ask the queries of charges and cost about records that cannot exist; read the books."""
        ask, nobody, today = self._records.query, "dt-nobody", datetime.now(UTC).date()
        await ask(billing_mapping.charge_query([nobody]), "look for charges")
        await ask(cost_mapping.time_query([nobody]), "look for cost of time")
        await ask(cost_mapping.expense_query([nobody]), "look for expenses")
        await ask(cost_mapping.employee_query([nobody]), "look for employees")
        await ask(billing_mapping.rate_query(["0"], today, today), "read exchange rates")
        await ask(invoice_mapping.applications_query("0"), "look for payments")
        await ask(invoice_mapping.billed_query("0"), "look for billed charges")
        await ask(invoice_mapping.ready_query("0"), "look for ready charges")
        for query in invoice_mapping.changed_queries(datetime.now(UTC), self._config):
            await ask(query, "look for changed invoices")
        await ask(credit_mapping.credited_query("0", (), self._config), "look for credits")
        for query in extract_queries.every_query(self._config):
            await ask(query, "list what is there")
        rows = await ask(billing_mapping.period_query(today, today), "read accounting periods")
        periods = [billing_mapping.period_from(row, self._config) for row in rows]
        if not periods:
            raise Invalid("There is no accounting period for today.", field="accountingperiod")
        return f"charges, cost, invoices and rates can be read; today is in {periods[0].name}"

    async def _is_item(self, id_: str) -> bool:
        try:
            await self._records.read("serviceSaleItem", id_, "read an item", {"fields": "id"})
        except NotFound:
            return False
        return True

    async def _unknown(self, table: str, mapped: Mapping[str, str]) -> list[str]:
        query = f"SELECT id FROM {table} ORDER BY id"  # noqa: S608 - a constant of ours
        known = {str(row.get("id")) for row in await self._records.query(query, f"list {table}")}
        return [name for name, id_ in mapped.items() if id_ not in known]
