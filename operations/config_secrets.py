"""Secrets of the configuration: refused in the toml, read from the files that it names."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue, SecretStr

from operations.config_errors import PREFIX, ConfigInvalid, Location, variable
from operations.config_models import (
    AlertsConfig,
    ChannelConfig,
    Config,
    ConnectionConfig,
    EventsConfig,
    EventsKind,
    PersonConfig,
)

SECRET_BYTES_MAX: Final = 64 * 1024
"""Beyond it a secret file is surely the wrong file."""
SECRET_NAME: Final = re.compile(
    r"(?i)(secret|password|passphrase|token|credential|(api|private|signing)_?key)s?$"
)
"""Names of keys that hold a secret; `token_url`, `token_id` and `client_secret_file` do not."""

TOKEN: Final = re.compile(r"[\x21-\x7e]{32,512}")
"""Of a person: nothing that can be guessed, and nothing that a header can't carry."""
EVENT_SECRETS: Final = (("events", "secret"), ("events", "previous_secret"))
PLAIN_SECRETS: Final = (
    ("temporal", "api_key"),
    ("worker", "codec_key"),
    ("telemetry", "otlp_headers"),
)
"""Each goes with a key of its name and `_file`."""


def secrets_in_toml(content: Mapping[str, JsonValue], path: Path) -> Iterator[str]:
    """Say which keys of a file hold a secret, and where each belongs."""
    for keys in _leaves(content):
        remedy = _remedy(keys)
        if remedy:
            yield f"{path}: {'.'.join(keys)}: a secret has no place in this file: {remedy}."


def with_secrets(config: Config, path: Path) -> Config:
    """Return the configuration with every secret file read.

    Raises:
        ConfigInvalid: a file can't be read, or the store has no URL.
    """
    reader = _Reader(path)
    temporal, store, worker = config.temporal, config.store, config.worker
    api_key = reader.one(temporal.api_key, temporal.api_key_file, "temporal.api_key_file")
    url = reader.one(store.url, store.url_file, "store.url_file")
    codec_key = reader.one(worker.codec_key, worker.codec_key_file, "worker.codec_key_file")
    telemetry = config.telemetry
    otlp_headers = reader.one(
        telemetry.otlp_headers, telemetry.otlp_headers_file, "telemetry.otlp_headers_file"
    )
    connections = {
        name: connection.model_copy(
            update={
                "secrets": reader.connection(name, connection),
                "events": reader.events(name, connection.events),
            }
        )
        for name, connection in config.connections.items()
    }
    people = {name: reader.person(name, person) for name, person in config.people.items()}
    reader.check_tokens(people)
    channels = {name: reader.channel(name, each) for name, each in config.alerts.channels.items()}
    if url is None and store.url_file is None:
        reader.problems.append(
            f"{path}: store.url is missing: set {PREFIX}STORE__URL to PostgreSQL's URL, "
            "or name a file in store.url_file."
        )
    if reader.problems:
        raise ConfigInvalid("\n".join(reader.problems))
    return config.model_copy(
        update={
            "temporal": temporal.model_copy(update={"api_key": api_key}),
            "store": store.model_copy(update={"url": url}),
            "worker": worker.model_copy(update={"codec_key": codec_key}),
            "connections": connections,
            "people": people,
            "alerts": AlertsConfig(channels=channels),
            "telemetry": telemetry.model_copy(update={"otlp_headers": otlp_headers}),
        }
    )


class _Reader:
    def __init__(self, path: Path) -> None:
        self.problems: list[str] = []
        self._path = path

    def one(self, given: SecretStr | None, file: Path | None, key: str) -> SecretStr | None:
        if given is not None or file is None:
            return given
        try:
            return SecretStr(_text(file))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.problems.append(f"{self._path}: {key}: {file} can't be used: {reason}.")
            return None

    def connection(self, name: str, connection: ConnectionConfig) -> dict[str, SecretStr]:
        place = f"connections.{name}"
        files = {
            file.name: (file, f"{place}.secrets_dir")
            for file in self._listed(connection.secrets_dir, f"{place}.secrets_dir")
        }
        for key, file in connection.secret_files.items():
            files[key] = (file, f"{place}.secret_files.{key}")
        found = dict(connection.secrets)
        for key, (file, where) in files.items():
            secret = self.one(found.get(key), file, where)
            if secret is not None:
                found[key] = secret
        return found

    def events(self, name: str, events: EventsConfig | None) -> EventsConfig | None:
        if events is None:
            return None
        place = f"connections.{name}.events"
        secret = self.one(events.secret, events.secret_file, f"{place}.secret_file")
        previous = self.one(
            events.previous_secret, events.previous_secret_file, f"{place}.previous_secret_file"
        )
        signed = events.kind is not EventsKind.SALESFORCE_OUTBOUND
        if signed and secret is None and events.secret_file is None:
            keys = ("connections", name, "events", "secret")
            self.problems.append(
                f"{self._path}: {place}.secret is missing: set {variable(keys)}, "
                "or name a file in secret_file."
            )
        return events.model_copy(update={"secret": secret, "previous_secret": previous})

    def channel(self, name: str, channel: ChannelConfig) -> ChannelConfig:
        place = f"alerts.channels.{name}"
        url = self.one(channel.url, channel.url_file, f"{place}.url_file")
        if url is None and channel.url_file is None:
            self.problems.append(
                f"{self._path}: {place}.url is missing: set "
                f"{variable(('alerts', 'channels', name, 'url'))}, or name a file in url_file."
            )
        return channel.model_copy(update={"url": url})

    def person(self, name: str, person: PersonConfig) -> PersonConfig:
        token = self.one(person.token, person.token_file, f"people.{name}.token_file")
        return person.model_copy(update={"token": token})

    def check_tokens(self, people: Mapping[str, PersonConfig]) -> None:
        """Refuse tokens that can be guessed, and one that is two people's: who would it be?"""
        owners: dict[str, str] = {}
        for name, person in people.items():
            if person.token is None:
                continue
            token = person.token.get_secret_value()
            if not TOKEN.fullmatch(token):
                self.problems.append(
                    f"{self._path}: people.{name}.token: it must be 32 to 512 printable "
                    "characters without spaces: make one with `openssl rand -hex 32`."
                )
            elif token in owners:
                self.problems.append(
                    f"{self._path}: people.{name}.token is also that of {owners[token]}: "
                    "everybody needs a token of their own."
                )
            owners.setdefault(token, name)

    def _listed(self, folder: Path | None, key: str) -> list[Path]:
        if folder is None:
            return []
        try:
            # Mounted secrets come with hidden folders of their own (`..data` in Kubernetes).
            files = [file for file in folder.iterdir() if not file.name.startswith(".")]
        except OSError as error:
            self.problems.append(f"{self._path}: {key}: {folder} can't be used: {error.strerror}.")
            return []
        return sorted(file for file in files if file.is_file())


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        raw = opened.read(SECRET_BYTES_MAX + 1)
    if len(raw) > SECRET_BYTES_MAX:
        raise ValueError("it is larger than any secret")
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    if not text:
        raise ValueError("it is empty")
    return text


def _remedy(keys: Location) -> str | None:
    if keys == ("store", "url"):
        return f"set {variable(keys)}, or name a file in store.url_file"
    if keys in PLAIN_SECRETS:
        return f"set {variable(keys)}, or name a file in {'.'.join(keys)}_file"
    if keys[:2] == ("alerts", "channels") and keys[3:] == ("url",):
        return f"set {variable(keys)}, or name a file in alerts.channels.{keys[2]}.url_file"
    is_token = keys[0] == "people" and keys[2:] == ("token",)
    if is_token or (keys[0] == "connections" and keys[2:] in EVENT_SECRETS):
        return f"set {variable(keys)}, or name a file in {'.'.join(keys)}_file"
    if keys[0] != "connections" or len(keys) < 4:
        return None
    if keys[2] == "secrets" or (keys[2] == "settings" and SECRET_NAME.search(keys[-1])):
        name = variable((*keys[:2], "secrets", keys[-1]))
        return f"set {name}, or name files with secrets_dir or secret_files"
    return None


def _leaves(value: JsonValue | Mapping[str, JsonValue], above: Location = ()) -> Iterator[Location]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _leaves(below, (*above, key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from _leaves(item, above)
    else:
        yield above
