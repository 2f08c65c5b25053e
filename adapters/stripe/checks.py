"""The connection check of Stripe: each step reads, none writes."""

from typing import Final

from adapters.errors import ContractBroken, Invalid, NotFound
from adapters.ports import Check
from adapters.stripe.changes import EVENTS, INVOICES
from adapters.stripe.config import StripeConfig
from adapters.stripe.customers import CUSTOMERS
from adapters.stripe.mapping import KEY
from adapters.stripe.objects import Objects, path_of, rows_of
from adapters.stripe.settlement import CREDITS, DISPUTES, PAYMENTS, REFUNDS

READ: Final = (
    INVOICES,
    "/v1/invoiceitems",
    CREDITS,
    "/v1/subscriptions",
    PAYMENTS,
    REFUNDS,
    DISPUTES,
    EVENTS,
)


class ConnectionCheck:
    """The steps of the check, for one account."""

    def __init__(self, objects: Objects, config: StripeConfig) -> None:
        """Use the account's objects."""
        self._objects = objects
        self._config = config

    def steps(self) -> tuple[Check, ...]:
        """Return the steps in order; each assumes the earlier ones."""
        return (
            Check("reach", self.reach, "Check base_url: https://api.stripe.com."),
            Check(
                "sign in",
                self.sign_in,
                "Put a secret or restricted key of the account, in the right mode, into the secret "
                "api_key.",
            ),
            Check(
                "permission",
                self.permission,
                "Give the restricted key Write on customers, invoices (with invoice items) and "
                "credit notes, and Read on subscriptions, products, tax rates, charges (with "
                "refunds), disputes and events.",
            ),
            Check("search", self.search, "Set settings.search to false where there is none."),
            Check("mappings", self.mappings, "Correct settings.product or settings.tax_rates."),
        )

    async def reach(self) -> str:
        """Ask without a key: Stripe refuses that in its own words (section 3)."""
        answer = await self._objects.http.request(
            "GET",
            CUSTOMERS,
            operation="reach Stripe",
            write=False,
            authenticated=False,
            expect=range(200, 500),
        )
        error = answer.json.get("error") if isinstance(answer.json, dict) else None
        if not isinstance(error, dict) or "type" not in error:
            raise ContractBroken("Something else than Stripe answers here.", raw=answer.text)
        return "reached"

    async def sign_in(self) -> str:
        """Ask for one customer; the key decides on the mode (section 1)."""
        rows = rows_of(await self._objects.read(CUSTOMERS, "sign in", {"limit": 1}))
        modes = {row.get("livemode") for row in rows}
        key = self._config.auth.api_key.get_secret_value()
        live = True in modes if rows else "_live_" in key
        return f"signed in, {'live' if live else 'test'} mode"

    async def permission(self) -> str:
        """Ask for one row of everything that is read."""
        for path in READ:
            await self._objects.has_any(path, f"read {path.rpartition('/')[2]}", {})
        return "all that is needed can be read"

    async def search(self) -> str:
        """Search a customer that cannot exist."""
        if not self._config.search:
            return "not used: all customers are listed"
        await self._objects.search(CUSTOMERS, "search clients", f"metadata['{KEY}']:'none'")
        return "customers can be searched"

    async def mappings(self) -> str:
        """Read the configured product and tax rates (their paths: unverified)."""
        rates = sorted({id_ for ids in self._config.tax_rates.values() for id_ in ids})
        products = [self._config.product] if self._config.product else []
        wanted = [*(("products", id_) for id_ in products), *(("tax_rates", id_) for id_ in rates)]
        for collection, id_ in wanted:
            try:
                row = await self._objects.read(path_of(collection, id_), f"read {collection}")
            except NotFound as error:
                raise Invalid(f"There is no {id_} in {collection}.", field=collection) from error
            if row.get("active") is False:
                raise Invalid(f"{id_} in {collection} is archived.", field=collection)
        return f"{len(products)} products and {len(rates)} tax rates exist"
