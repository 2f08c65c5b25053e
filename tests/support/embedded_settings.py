"""How a connection signs in to a simulator: the embedded stack's mapping, and the other ways."""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from embedded.configuration import SIGN_INS, SignIn

KINDS: Final[Mapping[tuple[str, str], SignIn]] = {
    **{(vendor, sign_in.settings.get("kind", "")): sign_in for vendor, sign_in in SIGN_INS.items()},
    ("salesforce", "jwt_bearer"): SignIn(
        role="crm",
        settings={
            "kind": "jwt_bearer",
            "consumer_key": "{client_id}",
            "username": "{username}",
            "audience": "{audience}",
        },
        secrets={"private_key": "private_key"},
    ),
    ("netsuite", "token_based"): SignIn(
        role="erp",
        settings={"kind": "token_based", "account": "{account}"},
        secrets={
            name: name for name in ("consumer_key", "consumer_secret", "token_id", "token_secret")
        },
    ),
    ("workday", ""): SignIn(
        role="hcm",
        settings={"tenant": "{tenant}", "client_id": "{client_id}"},
        secrets={"client_secret": "client_secret", "refresh_token": "refresh_token"},
    ),
    ("stripe", "restricted"): SignIn(
        role="billing_engine", settings={}, secrets={"api_key": "restricted_key"}
    ),
}
"""By vendor and kind of sign-in; a vendor with one kind only has the empty one."""

DEFAULTS: Final = {"salesforce": "client_credentials", "netsuite": "token_based"}


def connection_settings(
    vendor: str, credentials: Mapping[str, str], kind: str = ""
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """Return settings (without secrets) and secrets of a connection to a simulator."""
    sign_in = KINDS[vendor, kind or DEFAULTS.get(vendor, "")]
    auth: dict[str, JsonValue] = {
        key: value.format_map(credentials) for key, value in sign_in.settings.items()
    }
    secrets = {key: credentials[name] for key, name in sign_in.secrets.items()}
    more: dict[str, JsonValue] = {}
    own = KINDS[vendor, DEFAULTS.get(vendor, "")].more or SIGN_INS[vendor].more
    for table, keys in own.items():
        more |= {table: dict(keys)} if table else dict(keys)
    return {**more, "auth": auth}, secrets
