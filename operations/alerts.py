"""Channels from the configuration: chats and mailboxes, reached through Apprise (decision 0017).

The address of a channel holds its secrets, and in chats the host part may be one: none of it is
ever shown, only its scheme.
"""

import asyncio
import importlib
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from pydantic import SecretStr

from activities.alerting import AlertActivities, Channel, NotSent
from canonical.alerts import Telling
from operations.config import ChannelConfig, Config
from operations.config_errors import variable
from operations.mistakes import Mistake
from operations.people import ADMIN, FINANCE, OPERATOR, check_role
from operations.sagas import deep_link
from policies.alert_texts import plain
from policies.alerting import Taker
from policies.bundle import Bundle
from store import Store

if TYPE_CHECKING:
    from apprise import NotifyBase

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0
SEND_SECONDS: Final = 30.0
"""One message, with all that Apprise does for it."""
SECRET_LENGTH_MIN: Final = 4
"""Shorter parts of an address, such as a port, hide nothing."""
SILENCE_MAX: Final = timedelta(days=30)
SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
MAY_SILENCE: Final = {OPERATOR, FINANCE, ADMIN}
REASON_MAX: Final = 300

# Apprise logs addresses with their secrets: its lines go nowhere but to `_said`.
_LOGGER: Final = logging.getLogger("apprise")
_LOGGER.propagate = False
_LOGGER.addHandler(logging.NullHandler())


_log = structlog.get_logger("dealthread.alerts")


class ChannelInvalid(Mistake):
    """The address of a channel can't be used; the message says why and never shows it."""


@dataclass(frozen=True)
class AppriseChannel:
    """One channel."""

    name: str
    url: SecretStr
    taker: Taker
    scheme: str
    """What kind of address it is: `slack`, `mailtos`."""

    async def send(self, telling: Telling) -> None:
        """Send one message within `SEND_SECONDS`.

        Raises:
            NotSent: it was not taken, or nobody knows.
        """
        try:
            await asyncio.wait_for(asyncio.to_thread(self._send, telling), SEND_SECONDS)
        except TimeoutError:
            raise NotSent(f"{self.scheme}: no answer within {SEND_SECONDS:g} seconds") from None

    def _send(self, telling: Telling) -> None:
        try:
            plugin = _plugin(self.name, self.url)
        except ChannelInvalid as error:
            raise NotSent(str(error)) from None
        with _said() as said:
            sent = plugin.notify(body=telling.body, title=telling.title)
        if sent is not True:
            why = _masked(" ".join(said), self.url) or "it was refused"
            raise NotSent(f"{self.scheme}: {why}")


def channel_of(name: str, config: ChannelConfig) -> AppriseChannel:
    """Return a channel; its address is looked at when it sends."""
    _apprise()  # here rather than in a thread: to load it changes what the process warns of
    taker = Taker(config.kinds, config.entities, config.severity)
    scheme = urlsplit(config.secret_url.get_secret_value()).scheme
    return AppriseChannel(name, config.secret_url, taker, scheme)


def alerting_of(config: Config, store: Store, bundle: Callable[[str], Bundle]) -> AlertActivities:
    """Return what judges service levels and tells people.

    A channel whose address can't be used stops no worker: its messages wait, and it is said.
    """
    ui, namespace = config.ui.base_url, config.temporal.namespace
    channels: dict[str, Channel] = {}
    for name, each in config.alerts.channels.items():
        channels[name] = channel_of(name, each)
        try:
            _plugin(name, each.secret_url)
        except ChannelInvalid as error:
            _log.error("channel_invalid", channel=name, why=str(error))
    return AlertActivities(store, bundle, channels, lambda id_: deep_link(ui, namespace, id_))


async def send_test(config: Config, name: str) -> str:
    """Send a test message to a channel; return its scheme.

    Raises:
        Mistake: there is no such channel, its address can't be used, or it took nothing.
    """
    known = config.alerts.channels
    if name not in known:
        named = ", ".join(sorted(known)) or "none: add [alerts.channels.NAME] to dealthread.toml"
        raise Mistake(f"There is no channel {plain(name, 80)!r}; there are {named}.")
    channel = channel_of(name, known[name])
    _plugin(name, channel.url)
    body = "This is a test by `starter.py alerts test`: alerts of Dealthread arrive here."
    try:
        await channel.send(Telling(title="Test of Dealthread's alerts", body=body))
    except NotSent as error:
        raise Mistake(
            f"{name} took nothing: {error}. Check the address in {_source(name, known[name])}, "
            "and whether this machine reaches it."
        ) from None
    return channel.scheme


async def silence(
    config: Config,
    store: Store,
    bundle: Bundle,
    rule: str,
    entity: str,
    span: str,
    *,
    by: str,
    because: str,
) -> datetime:
    """Let nobody be told of a rule for a while; return until when.

    Raises:
        Refused: the person may not.
        Mistake: there is no such rule or legal entity, or the time makes no sense.
    """
    check_role(config.people_roles(), by, MAY_SILENCE, "silencing alerts")
    rules, entities = bundle.policies.alerts.rules, bundle.policies.legal_entities
    if rule not in rules:
        named = ", ".join(sorted(rules))
        raise Mistake(f"There is no rule {plain(rule, 80)!r}; there are {named}.")
    if entity and entity not in entities:
        named = ", ".join(sorted(entities))
        raise Mistake(f"There is no legal entity {plain(entity, 80)!r}; there are {named}.")
    if not because.strip():
        raise Mistake('A silence needs a reason: add --because "…".')
    until = datetime.now(UTC) + span_of(span)
    await store.alerts.silence(rule, entity, until=until, by=by, because=because)
    return until


def span_of(text: str) -> timedelta:
    """Return a span of time such as 30m, 4h or 2d.

    Raises:
        Mistake: it is none, or longer than 30 days.
    """
    found = SPAN.fullmatch(text.strip())
    if found is None:
        raise Mistake(f"{plain(text, 40)!r} is no span of time: write 30m, 4h or 2d.")
    span = timedelta(**{UNITS[found.group(2)]: int(found.group(1))})
    if span > SILENCE_MAX:
        raise Mistake(f"A silence lasts {SILENCE_MAX.days} days at most.")
    return span


def _plugin(name: str, url: SecretStr) -> "NotifyBase":
    apprise = _apprise()
    asset = apprise.AppriseAsset(app_id="Dealthread", app_desc="Dealthread", async_mode=False)
    with _said() as said:
        plugin: NotifyBase | None = apprise.Apprise.instantiate(url.get_secret_value(), asset=asset)
    if plugin is None:
        why = _masked(" ".join(said), url)
        raise ChannelInvalid(
            f"alerts.channels.{name}.url is no address that Apprise knows"
            f"{f' ({why})' if why else ''}: see docs/howto/alerts.md."
        )
    plugin.socket_connect_timeout = CONNECT_SECONDS
    plugin.socket_read_timeout = READ_SECONDS
    return plugin


@cache
def _apprise() -> ModuleType:
    """Return Apprise: loaded when first needed, since it brings some 180 plugins."""
    with warnings.catch_warnings():
        # Its e-mail plugin imports what Python 3.13 drops, with a substitute of its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise = importlib.import_module("apprise")
        apprise.Apprise.instantiate("json://localhost")
    return apprise


def _source(name: str, config: ChannelConfig) -> str:
    return str(config.url_file or variable(("alerts", "channels", name, "url")))


class _Lines(logging.Handler):
    """Keeps the warnings of one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


@contextmanager
def _said() -> Iterator[list[str]]:
    """Give what Apprise warns of within the block: it returns no reasons."""
    handler = _Lines()
    _LOGGER.addHandler(handler)
    try:
        yield handler.lines
    finally:
        _LOGGER.removeHandler(handler)


def _masked(text: str, url: SecretStr) -> str:
    """Return a text without any part of an address."""
    whole = url.get_secret_value()
    for part in sorted(_parts(whole), key=len, reverse=True):
        text = text.replace(part, "…")
    return plain(text, REASON_MAX)


def _parts(whole: str) -> set[str]:
    rest = whole.partition("://")[2]
    pieces = {whole, rest, *re.split(r"[/:@?&=,]", rest)}
    pieces |= {value for _, value in parse_qsl(urlsplit(whole).query)}
    pieces |= {unquote(piece) for piece in pieces}
    return {piece for piece in pieces if len(piece) >= SECRET_LENGTH_MIN}
