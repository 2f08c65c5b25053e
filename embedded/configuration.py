"""Writes the stack's `dealthread.toml`: production's format, the connections to the simulators."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from embedded.errors import StackError
from embedded.files import StackFiles, write_secret, write_whole
from embedded.ports import HOST, Ports

Table = tuple[str, Mapping[str, object]]
Vendors = Mapping[str, tuple[str, Mapping[str, str]]]
"""Base URL and credentials of each simulator, by vendor."""

WORKER_GRACE_SECONDS: Final = 25
POLL_SECONDS: Final = 1
INVOICE_POLL_SECONDS: Final = 5
ACCOUNT: Final = "demo"
"""The account at every simulator which the stack's connections sign in to."""
EVENTS_FILE: Final = "kantata_events"
"""File of the secret that signs CloudEvents to the connection `kantata`; kept over restarts."""
SECRET_BYTES: Final = 32
PEOPLE: Final = {
    "olivia": ("operator",),
    "frank": ("finance", "operator"),
    "fiona": ("finance", "operator"),
    "ada": ("admin",),
    "victor": ("viewer",),
}
"""Two people of finance, since nobody approves what he proposed."""

HEAD: Final = """\
# The embedded stack's configuration, in the same format as production's (dealthread.example.toml).
# Written anew at each start: change a copy, and name it with --config.
"""


@dataclass(frozen=True)
class SignIn:
    """How the adapter of a vendor signs in to its simulator."""

    role: str
    settings: Mapping[str, str]
    """Keys of the vendor's `auth` table; `{name}` is one of the simulator's credentials."""
    secrets: Mapping[str, str]
    """Secret of the connection -> name of the simulator's credential."""
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Other settings, by table below `settings` (empty: itself), for what the simulator has."""


SIGN_INS: Final = {
    "salesforce": SignIn(
        role="crm",
        settings={"kind": "client_credentials", "client_id": "{client_id}"},
        secrets={"client_secret": "client_secret"},
    ),
    "kantata": SignIn(
        role="psa",
        settings={},
        secrets={"token": "token"},
        more={"": {"finance_field": "34"}},
    ),
    "netsuite": SignIn(
        role="erp",
        settings={
            "kind": "client_credentials",
            "client_id": "{client_id}",
            "certificate_id": "{certificate_id}",
            "algorithm": "ES256",
        },
        secrets={"private_key": "private_key"},
        more={"delivery": {"field": "custbody_psg_ei_status"}},
    ),
    "workday": SignIn(
        role="hcm",
        settings={"tenant": "{tenant}", "client_id": "{client_id}"},
        secrets={"client_secret": "client_secret", "refresh_token": "refresh_token"},
    ),
    "stripe": SignIn(role="billing_engine", settings={}, secrets={"api_key": "api_key"}),
}


def write_configuration(
    files: StackFiles, ports: Ports, store_url: SecretStr | None, vendors: Vendors
) -> None:
    """Write the file and the secrets it names."""
    tables: list[Table] = [
        ("temporal", {"address": f"{HOST}:{ports.temporal}", "namespace": "default"}),
        ("worker", {"health_port": ports.worker, "grace_seconds": WORKER_GRACE_SECONDS}),
        (
            "gateway",
            {
                "port": ports.gateway,
                "poll_seconds": POLL_SECONDS,
                "invoice_poll_seconds": INVOICE_POLL_SECONDS,
            },
        ),
        ("ui", {"base_url": f"http://{HOST}:{ports.temporal_ui}"}),
        *(
            (f"people.{name}", {"roles": list(roles), "email": f"{name}@example.com"})
            for name, roles in PEOPLE.items()
        ),
    ]
    if store_url is not None:
        write_secret(files.secrets / "store_url", store_url.get_secret_value())
        tables.append(("store", {"url_file": "secrets/store_url"}))
    for vendor, (base_url, credentials) in vendors.items():
        sign_in = SIGN_INS[vendor]
        missing = sorted(set(sign_in.secrets.values()) - set(credentials))
        if missing:
            raise StackError(
                f"The {vendor} simulator gives no {', '.join(missing)} to sign in with."
            )
        tables += _connection(vendor, base_url, sign_in, credentials)
        tables += _events(files, vendor, credentials)
        folder = files.secrets / vendor
        folder.mkdir(mode=0o700, exist_ok=True)
        for key, name in sign_in.secrets.items():
            write_secret(folder / key, credentials[name])
    write_whole(files.config, HEAD + "".join(_written(name, keys) for name, keys in tables))


def _connection(
    vendor: str, base_url: str, sign_in: SignIn, credentials: Mapping[str, str]
) -> list[Table]:
    place = f"connections.{vendor}"
    secrets_dir = f"secrets/{vendor}"
    auth = {key: value.format_map(credentials) for key, value in sign_in.settings.items()}
    return [
        (
            place,
            {
                "vendor": vendor,
                "role": sign_in.role,
                "base_url": base_url,
                "secrets_dir": secrets_dir,
            },
        ),
        (f"{place}.http", {"read_seconds": 10, "total_seconds": 20}),
        *(
            (".".join(filter(None, (f"{place}.settings", table))), dict(keys))
            for table, keys in sign_in.more.items()
        ),
        *([(f"{place}.settings.auth", auth)] if auth else []),
    ]


def _events(files: StackFiles, vendor: str, credentials: Mapping[str, str]) -> list[Table]:
    """Say what the vendor's connection may send to the gateway, for those that send."""
    place = f"connections.{vendor}.events"
    if vendor == "salesforce":
        organization = credentials["organization_id"]
        return [(place, {"kind": "salesforce_outbound", "organization_id": organization})]
    if vendor == "kantata":
        # It tells nothing by itself; this is the way for whoever tells in its place.
        secret = files.secrets / EVENTS_FILE
        if not secret.exists():
            write_secret(secret, secrets.token_urlsafe(SECRET_BYTES))
        return [(place, {"kind": "cloudevents", "secret_file": f"secrets/{EVENTS_FILE}"})]
    return []


def _written(name: str, keys: Mapping[str, object]) -> str:
    # A JSON value of these types is a TOML value too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join(["", f"[{name}]", *lines, ""])
