"""What the gateway needs of the rest of Dealthread: the calendar of billing, the PSAs' feeds."""

from collections.abc import Sequence
from datetime import timedelta

from canonical.ids import Role
from gateway.pollers import Polled
from gateway.psa_feed import Bills, PsaFeed
from gateway.serve import Extensions
from operations.composition import connect_ports, load_policies, period_opener
from operations.config import Config
from operations.people import Refused
from store import Store


def extensions(config: Config) -> Extensions:
    """Return the open period by the entities' calendars, and one feed per PSA.

    Raises:
        BundleInvalid, SettingsInvalid: something in the configuration is wrong.
    """
    bundle = load_policies(config)
    ports, _ = connect_ports(config)

    def polled(store: Store) -> Sequence[Polled]:
        return [_polled(name, store) for name in config.role(Role.PSA)]

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
        open_period=lambda store: period_opener(store, lambda _psa: bundle), polled=polled
    )
