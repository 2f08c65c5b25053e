"""Desks from the configuration, for all who put them together: the CLI's office, the gateway."""

from functools import cache

from temporalio.client import Client

from adapters.registry import full_record_id
from canonical.ids import Role
from operations.config import Config, ConfigInvalid
from operations.sagas import SagaDesk, deep_link
from operations.worklist import Worklist
from policies.bundle import load_bundle
from policies.stuck import StuckRules
from store import Store


def saga_desk(config: Config, client: Client, store: Store) -> SagaDesk:
    """Return the desk of the sagas.

    Raises:
        ConfigInvalid: no CRM is connected.
    """
    crms = list(config.role(Role.CRM))
    if not crms:
        raise ConfigInvalid("There is no CRM among the connections of dealthread.toml.")
    return SagaDesk(
        client=client,
        store=store,
        people=config.people_roles(),
        ui_base_url=config.ui.base_url,
        crm=crms[0],
        full_id=lambda crm, id_: full_record_id(config.connections[crm].vendor, id_),
        crms=frozenset(crms),
    )


def worklist_of(config: Config, store: Store) -> Worklist:
    """Return the worklist; the policy bundle is loaded when it is first needed."""

    @cache
    def rules() -> StuckRules:
        return load_bundle(config.policies.bundle).policies.stuck

    ui, namespace = config.ui.base_url, config.temporal.namespace
    return Worklist(store, config.people_roles(), lambda id_: deep_link(ui, namespace, id_), rules)
