"""Configuration: one `dealthread.toml` plus the environment (DESIGN 12).

The same file format serves the embedded stack and production. The environment wins over the file:
`DEALTHREAD_<SECTION>__<KEY>`, deeper tables joined with `__`. Secrets come only from the
environment or from files named in the toml; relative paths count from the toml's folder.
`load_config` gives checked values with the secrets read, or one `ConfigInvalid`.
"""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import JsonValue, ValidationError
from pydantic_settings import SettingsError

from operations.config_errors import PREFIX, ConfigInvalid, not_json, sentences, unknown_sections
from operations.config_models import (
    ChannelConfig,
    Config,
    ConnectionConfig,
    EventsConfig,
    EventsKind,
    GatewayConfig,
    HttpTimeouts,
    PersonConfig,
    PersonRole,
    TemporalConfig,
    Vendor,
    WorkerConfig,
    config_folder,
)
from operations.config_secrets import secrets_in_toml, with_secrets
from policies.queue_case import ENGINE

__all__ = [
    "ChannelConfig",
    "Config",
    "ConfigInvalid",
    "ConnectionConfig",
    "EventsConfig",
    "EventsKind",
    "GatewayConfig",
    "HttpTimeouts",
    "PersonConfig",
    "PersonRole",
    "TemporalConfig",
    "Vendor",
    "WorkerConfig",
    "find_config",
    "load_config",
]

CONFIG_NAME: Final = "dealthread.toml"
EMBEDDED_DIRECTORY: Final = Path(".dealthread")
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"


def find_config(explicit: str | Path | None = None) -> Path:
    """Return the file to load.

    The one given, else that of DEALTHREAD_CONFIG, else `./dealthread.toml`, else the embedded
    stack's `.dealthread/dealthread.toml`.

    Raises:
        ConfigInvalid: there is none.
    """
    named = explicit or os.environ.get(CONFIG_VARIABLE)
    if named:
        path = Path(named).expanduser()
        if path.is_file():
            return path
        where = "--config" if explicit else CONFIG_VARIABLE
        raise ConfigInvalid(f"{path}: there is no such file; {where} names it.")
    for path in (Path(CONFIG_NAME), EMBEDDED_DIRECTORY / CONFIG_NAME):
        if path.is_file():
            return path
    raise ConfigInvalid(
        f"There is no configuration: name a file with --config or {CONFIG_VARIABLE}, "
        f"put a {CONFIG_NAME} here, or start the embedded stack with `starter.py up`."
    )


def load_config(path: Path) -> Config:
    """Load a file with the environment over it, and read the secret files that it names.

    Raises:
        ConfigInvalid: with the problems found, each naming the file or variable and the key.
    """
    content = _toml(path)
    problems = [
        *unknown_sections(content, tuple(Config.model_fields), path),
        *secrets_in_toml(content, path),
    ]
    if problems:
        raise ConfigInvalid("\n".join(problems))
    token = config_folder.set(path.resolve().parent)
    try:
        config = Config(**content)  # type: ignore[arg-type]  # checking the types is its job
    except ValidationError as error:
        raise ConfigInvalid("\n".join(sentences(error, path))) from None
    except SettingsError as error:
        raise ConfigInvalid(not_json(error)) from None
    finally:
        config_folder.reset(token)
    problems = [f"{path}: {problem}" for problem in _contradictions(config)]
    if problems:
        raise ConfigInvalid("\n".join(problems))
    return with_secrets(config, path)


def _toml(path: Path) -> dict[str, JsonValue]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{path}: this is not TOML: {error}.") from None
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path}: this is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigInvalid(f"{path}: it can't be read: {error.strerror}.") from None


_RELEASING: Final = frozenset({PersonRole.FINANCE, PersonRole.CONTROLLER, PersonRole.ADMIN})


def _contradictions(config: Config) -> Iterator[str]:
    """Say what is right key by key, yet wrong together."""
    for name, connection in config.connections.items():
        total, grace = connection.http.total_seconds, config.worker.grace_seconds
        if grace <= total:
            # A shorter grace cancels a write in flight when the worker stops (DESIGN 11).
            yield (
                f"worker.grace_seconds: it must be longer than "
                f"connections.{name}.http.total_seconds ({total:g}), not {grace:g}."
            )
    if ENGINE in config.people:
        yield f"people.{ENGINE}: this is what Dealthread calls itself: no person can have the name."
    for name, person in config.people.items():
        if not person.email and person.roles & _RELEASING:
            yield (
                f"people.{name}.email: it is missing. Who may release invoices needs one, since "
                "other systems say by e-mail who approved what: nobody releases their own."
            )
    known = {"sagas", *(f"vendor.{name}" for name in config.connections)}
    for queue in config.worker.queues:
        if queue not in known:
            yield f"worker.queues: there is no queue {queue!r}; there are {_listed(known)}."


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
