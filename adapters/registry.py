"""Which vendors there are, and how a connection of `dealthread.toml` becomes an adapter."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from adapters.governor import Governor
from adapters.kantata import KantataConfig, build_kantata
from adapters.netsuite import NetSuiteConfig, build_netsuite
from adapters.ports import Connected
from adapters.salesforce import SalesforceConfig, build_salesforce
from adapters.salesforce.mapping import full_id
from adapters.stripe import StripeConfig, build_stripe
from adapters.workday import WorkdayConfig, build_workday

VENDORS: dict[str, tuple[type[BaseModel], Callable[..., Connected]]] = {
    "salesforce": (SalesforceConfig, build_salesforce),
    "kantata": (KantataConfig, build_kantata),
    "netsuite": (NetSuiteConfig, build_netsuite),
    "workday": (WorkdayConfig, build_workday),
    "stripe": (StripeConfig, build_stripe),
}


FULL_IDS: dict[str, Callable[[str], str]] = {"salesforce": full_id}
"""Vendors that know several forms of one id, and how to tell the full one."""


def full_record_id(vendor: str, id_: str) -> str:
    """Return the one form of an id that workflow ids are made of."""
    return FULL_IDS.get(vendor, str)(id_)


class SettingsInvalid(Exception):
    """The settings of a connection do not fit its vendor; names connection and key."""


def build_adapter(
    vendor: str,
    connection: str,
    *,
    base_url: str,
    settings: Mapping[str, JsonValue],
    secrets: Mapping[str, SecretStr],
    timeouts: Mapping[str, float],
    ca_file: Path | None,
    governor: Governor,
) -> Connected:
    """Return the adapter of a connection; nothing is sent.

    The connection's secrets join its `auth` table, so that no secret stands in the toml.

    Raises:
        SettingsInvalid: naming the connection and each key that is wrong.
    """
    model, build = VENDORS[vendor]
    auth = settings.get("auth")
    try:
        config = model.model_validate(
            {
                **settings,
                "base_url": base_url,
                "auth": {**(auth if isinstance(auth, dict) else {}), **secrets},
                "timeouts": dict(timeouts),
                "ca_file": ca_file,
            }
        )
    except ValidationError as error:
        wrong = "\n".join(
            f"connections.{connection}.settings.{'.'.join(map(str, each['loc']))}: {each['msg']}."
            for each in error.errors(include_input=False)
        )
        raise SettingsInvalid(wrong) from None
    return build(connection, config, governor)
