"""What the gateway needs of the rest of Dealthread: the billing calendar, and what it polls."""

from collections.abc import Sequence
from datetime import timedelta

from adapters.registry import full_record_id
from canonical.ids import Role
from gateway.client_holds import ClientHoldDesk
from gateway.invoice_feed import MEMORY, InvoiceFeed
from gateway.pollers import Polled
from gateway.psa_feed import Bills, PsaFeed
from gateway.serve import Extensions
from operations.budgets import shares_of_budgets
from operations.composition import connect_ports, load_policies, period_opener
from operations.config import Config
from operations.people import Refused
from store import Store


def extensions(config: Config) -> Extensions:
    """Return the open period by the entities' calendars, and what is polled.

    That is a feed for each PSA, and one for each issuing system that sends no events.

    Raises:
        BundleInvalid, SettingsInvalid: something in the configuration is wrong.
    """
    bundle = load_policies(config)
    ports, governors = connect_ports(config)
    issuers = config.role(Role.ERP) | config.role(Role.BILLING_ENGINE)
    silent = [name for name, issuer in issuers.items() if issuer.events is None]
    asked = {*config.role(Role.PSA), *config.role(Role.CRM), *silent}

    def polled(store: Store) -> Sequence[Polled]:
        return [
            *(_polled(name, store) for name in config.role(Role.PSA)),
            *(_issued(name, store) for name in silent),
        ]

    def _issued(name: str, store: Store) -> Polled:
        feed = InvoiceFeed(name, ports.issuer(name), store.inbox.put)
        every = timedelta(seconds=config.gateway.invoice_poll_seconds)
        return Polled(connection=name, feed=feed, gap=feed.catch_up, every=every, memory=MEMORY)

    def _polled(name: str, store: Store) -> Polled:
        feed = PsaFeed(name, ports.psa(name), store, bills(name, store))
        every = timedelta(seconds=config.gateway.poll_seconds)
        return Polled(connection=name, feed=feed, gap=feed.compare, every=every)

    def bills(name: str, store: Store) -> Bills:
        opened = period_opener(store, lambda _psa: bundle)

        async def bills_project(project: str) -> bool:
            try:
                await opened(name, project)
            except Refused:
                return False
            return True

        return bills_project

    return Extensions(
        open_period=lambda store: period_opener(store, lambda _psa: bundle),
        polled=polled,
        holds=lambda store: ClientHoldDesk(
            store, ports.crm, lambda crm, id_: full_record_id(config.connections[crm].vendor, id_)
        ),
        budgets=lambda store: shares_of_budgets(
            config, store.budgets, {name: governors[name] for name in asked}, most=1
        ),
    )
