"""Opens what tells threads, from the configuration: it needs the store and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.registry import full_record_id
from canonical.ids import Role
from operations.codec import record_cipher
from operations.config import Config, find_config, load_config
from operations.servers import check_store
from operations.trace.thread import Tracer
from store import Store, make_store


def tracer_of(config: Config, store: Store) -> Tracer:
    """Return what tells the threads of a store; deals are known by every form of their ids."""
    crms = config.role(Role.CRM)
    vendors = {connection.vendor for connection in crms.values()}

    def full_ids(id_: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((id_, *(full_record_id(vendor, id_) for vendor in vendors))))

    return Tracer(store, full_ids, tuple(crms))


@asynccontextmanager
async def open_tracer(config_path: str | None) -> AsyncIterator[Tracer]:
    """Connect to the store for one command.

    Raises:
        ConfigInvalid: something in the configuration is wrong.
        Unreachable: PostgreSQL does not answer.
    """
    config = load_config(find_config(config_path))
    store = make_store(config.store.secret_url, 2, record_cipher(config.worker.codec_key))
    try:
        await check_store(store, config)
        yield tracer_of(config, store)
    finally:
        await store.aclose()
