"""The shape of `dealthread.toml`: one strict model per section, with defaults and units.

`operations.config` loads it. A path in it counts from the folder of the file being loaded.
"""

from contextvars import ContextVar
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from canonical.alerts import Severity, TellingKind
from canonical.ids import Role
from operations.config_errors import PREFIX, ConfigInvalid

config_folder: ContextVar[Path] = ContextVar("config_folder")
"""The folder of the file that is being loaded."""


def _anchored(path: Path) -> Path:
    """Count a relative path from the folder of the file that is being loaded."""
    return config_folder.get(Path()) / path.expanduser()


def _plain_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://host.example")
    if parts.username or parts.password:
        raise ValueError("must not carry a user or password: secrets come from the environment")
    return url.rstrip("/")


ConfigPath = Annotated[Path, AfterValidator(_anchored)]
HttpAddress = Annotated[str, AfterValidator(_plain_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
ConnectionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")]
"""Small letters, digits and single underscores: it is part of variable and queue names."""


class Vendor(StrEnum):
    """The vendors there is an adapter for."""

    SALESFORCE = "salesforce"
    KANTATA = "kantata"
    NETSUITE = "netsuite"
    WORKDAY = "workday"
    STRIPE = "stripe"


class PersonRole(StrEnum):
    """What a person may do.

    `operator` resolves, `finance` decides on money within limits, `controller` beyond them,
    `viewer` looks.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    FINANCE = "finance"
    CONTROLLER = "controller"
    ADMIN = "admin"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TemporalTls(_Section):
    """TLS towards Temporal; an empty table means TLS with the system's trust."""

    server_name: str | None = None
    ca_file: ConfigPath | None = None
    cert_file: ConfigPath | None = None
    """Client certificate (mutual TLS), PEM; goes with `key_file`."""
    key_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class TemporalConfig(_Section):
    """Where Temporal is."""

    address: Annotated[str, StringConstraints(pattern=r"^[^\s:/]+:\d{1,5}$")] = "127.0.0.1:7233"
    """host:port of the frontend."""
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=255)] = "default"
    tls: TemporalTls | None = None
    api_key: SecretStr | None = None
    """Environment only, or `api_key_file`."""
    api_key_file: ConfigPath | None = None


class StoreConfig(_Section):
    """Where PostgreSQL is."""

    url: SecretStr | None = None
    """Environment only, or `url_file`; always set once loaded."""
    url_file: ConfigPath | None = None
    pool_size: int = Field(default=5, ge=1, le=100)

    @property
    def secret_url(self) -> SecretStr:
        """The URL, which `load_config` made sure of."""
        if self.url is None:
            raise ConfigInvalid(f"The store has no URL: set {PREFIX}STORE__URL.")
        return self.url


class HttpTimeouts(_Section):
    """Time limits of one vendor call, in seconds."""

    connect_seconds: Seconds = 5
    read_seconds: Seconds = 30
    write_seconds: Seconds = 30
    pool_seconds: Seconds = 30
    total_seconds: Seconds = 60
    """The whole call, however slowly the answer drips in."""


class EventsKind(StrEnum):
    """How a connection sends its events to the gateway."""

    STRIPE = "stripe"
    """Signed webhooks."""
    SALESFORCE_OUTBOUND = "salesforce_outbound"
    """Outbound messages: SOAP, not signed."""
    CLOUDEVENTS = "cloudevents"
    """CloudEvents 1.0 with our signature (docs/howto/send-events.md)."""


class EventsConfig(_Section):
    """What arrives at `POST /events/<connection>`."""

    kind: EventsKind
    secret: SecretStr | None = None
    """Environment only, or `secret_file`: signs the events. Of Salesforce, which signs nothing,
    the `key` in the address that its administrator enters."""
    secret_file: ConfigPath | None = None
    previous_secret: SecretStr | None = None
    """Accepted too, while a secret is being replaced; or `previous_secret_file`."""
    previous_secret_file: ConfigPath | None = None
    tolerance_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    """How old a signature may be, and how far ahead our clock may be behind."""
    organization_id: Annotated[str, StringConstraints(pattern=r"^00D[A-Za-z0-9]{12,15}$")] = ""
    """Salesforce: the organisation that the messages must name."""
    actions: frozenset[str] = frozenset()
    """Salesforce: ids of the outbound messages that are taken; empty takes all."""
    body_limit_bytes: int = Field(default=1_048_576, ge=1024, le=4_194_304)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        needs_organization = self.kind is EventsKind.SALESFORCE_OUTBOUND
        if needs_organization != bool(self.organization_id):
            raise ValueError("organization_id goes with kind salesforce_outbound, and is needed")
        return self


class ConnectionConfig(_Section):
    """One account at one vendor; its task queue is `vendor.<name>`."""

    vendor: Vendor
    role: Role
    base_url: HttpAddress
    slots: int = Field(default=20, ge=1, le=1000)
    """Activities of this connection that one worker runs at once."""
    rate_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Started activities a second over all workers; None leaves it to the vendor's refusals."""
    concurrency: int = Field(default=5, ge=1, le=1000)
    """Requests under way over all workers (DESIGN 3.13)."""
    ca_file: ConfigPath | None = None
    """CA bundle to trust instead of the system's, PEM."""
    http: HttpTimeouts = HttpTimeouts()
    settings: dict[str, JsonValue] = {}
    """The vendor's own keys, checked by the adapter's config model."""
    secrets: dict[str, SecretStr] = {}
    """Environment first, then `secret_files`, then `secrets_dir`."""
    secrets_dir: ConfigPath | None = None
    """A folder in which each file is a secret, named like its key."""
    secret_files: dict[str, ConfigPath] = {}
    """Single files, by the key of the secret."""
    events: EventsConfig | None = None
    """What it sends by itself; None: nothing."""


class PoliciesConfig(_Section):
    """Which policy bundle decides."""

    bundle: ConfigPath | None = None
    """Folder of YAML files; None takes the bundle that Dealthread brings along."""


class WorkerConfig(_Section):
    """What one worker process serves, and how it stops."""

    queues: tuple[str, ...] = ()
    """Task queues by name (`sagas`, `vendor.<connection>`); empty means all."""
    workflow_slots: int = Field(default=100, ge=2, le=10_000)
    activity_slots: int = Field(default=50, ge=1, le=10_000)
    """Of the queue `sagas`; vendor queues have the `slots` of their connection."""
    grace_seconds: Seconds = 90
    """How long a stop waits for writes under way; longer than any `total_seconds`."""
    start_seconds: float = Field(default=30, ge=0, le=3600)
    """How long a start waits for Temporal and PostgreSQL before it gives up."""
    health_host: str = "127.0.0.1"
    health_port: Port = 7241
    """Serves `/healthz` and `/metrics`."""
    codec_key: SecretStr | None = None
    """AES-GCM key of the payload codec, base64; environment only, or `codec_key_file`."""
    codec_key_file: ConfigPath | None = None
    deployment_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,100}$")] = ""
    """Worker Versioning's name of this installation, the same for all builds; goes with `build_id`.
    Empty: every worker takes every workflow."""
    build_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{0,100}$")] = ""
    """Which build this worker runs, such as a version and a commit."""

    @model_validator(mode="after")
    def _versioned(self) -> Self:
        if bool(self.deployment_name) != bool(self.build_id):
            raise ValueError("deployment_name and build_id go together")
        return self


class GatewayConfig(_Section):
    """Where events arrive, and how they are sent on."""

    host: str = "127.0.0.1"
    port: Port = 7244
    """Serves `/events/<connection>`, `/queue`, `/openapi.json`, `/healthz` and `/metrics`."""
    drain_seconds: float = Field(default=0.25, gt=0, le=60)
    """Between two signals to the same workflow."""
    poll_seconds: float = Field(default=15, gt=0, le=3600)
    """Between two readings of a PSA's change feed."""
    invoice_poll_seconds: float = Field(default=60, gt=0, le=3600)
    """Between two readings of the changed invoices of a system that sends no webhooks."""
    attempts: int = Field(default=12, ge=1, le=100)
    """Tries of one event before it is a dead letter; a server that is away costs none."""
    keep_days: float = Field(default=90, ge=1, le=3650)
    """How long events that ended well are kept, and known as duplicates."""


class ChannelConfig(_Section):
    """A chat or a mailbox that is told of alerts: docs/howto/alerts.md."""

    url: SecretStr | None = None
    """Its address as Apprise writes them: holds secrets, so environment only, or `url_file`."""
    url_file: ConfigPath | None = None
    kinds: frozenset[TellingKind] = frozenset()
    """What it is told of; empty: everything."""
    entities: frozenset[Annotated[str, StringConstraints(min_length=1, max_length=32)]] = (
        frozenset()
    )
    """Legal entities; empty: all. What is of none reaches every channel."""
    severity: Severity = Severity.INFO
    """The least that it is told of."""

    @property
    def secret_url(self) -> SecretStr:
        """The address, which `load_config` made sure of."""
        if self.url is None:
            raise ConfigInvalid("A channel of alerts has no url.")
        return self.url


class AlertsConfig(_Section):
    """Who is told of what waits."""

    channels: dict[ConnectionName, ChannelConfig] = {}
    """By name; none: nobody is told, and the worklist has it all the same."""


class PersonConfig(_Section):
    """What one person may decide."""

    roles: Annotated[frozenset[PersonRole], Field(min_length=1)]
    email: str = Field(default="", max_length=320)
    """Their address in PSA and HCM: who approved time or a milestone never releases its invoice."""
    token: SecretStr | None = None
    """Environment only, or `token_file`: signs them in to the gateway's API; None: they can't."""
    token_file: ConfigPath | None = None


class UiConfig(_Section):
    """Where people look."""

    base_url: HttpAddress = "http://127.0.0.1:8233"
    """Temporal's Web UI, for links."""


class TelemetryConfig(_Section):
    """Where traces go; docs/howto/observe.md."""

    otlp_endpoint: HttpAddress | None = None
    """Base address of an OpenTelemetry collector (OTLP over HTTP); None: no traces are made."""
    otlp_headers: SecretStr | None = None
    """`name=value,name=value`, values percent-encoded; environment only, or `otlp_headers_file`."""
    otlp_headers_file: ConfigPath | None = None
    otlp_ca_file: ConfigPath | None = None
    """CA bundle to trust instead of the system's, PEM."""
    sampling_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that are exported, each whole or not at all."""
    service_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")] = (
        "dealthread"
    )
    """What this installation is called; each process appends its own name."""


class Config(BaseSettings):
    """All of `dealthread.toml`, with the environment over it. Made by `load_config` only."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    temporal: TemporalConfig = TemporalConfig()
    store: StoreConfig = StoreConfig()
    connections: dict[ConnectionName, ConnectionConfig] = {}
    policies: PoliciesConfig = PoliciesConfig()
    worker: WorkerConfig = WorkerConfig()
    gateway: GatewayConfig = GatewayConfig()
    alerts: AlertsConfig = AlertsConfig()
    people: dict[str, PersonConfig] = {}
    ui: UiConfig = UiConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over what is given, which is the file's content."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    def role(self, role: Role) -> dict[str, ConnectionConfig]:
        """Return the connections that play a role, by name."""
        return {name: found for name, found in self.connections.items() if found.role is role}

    def people_roles(self) -> dict[str, frozenset[str]]:
        """Return the roles of each person, by name."""
        return {
            name: frozenset(role.value for role in person.roles)
            for name, person in self.people.items()
        }
