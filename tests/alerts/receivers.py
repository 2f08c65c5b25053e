"""A mail server and a chat's webhook on this machine, which keep what they are told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import Any

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

SECRET = "hook-Zx81token"
PASSWORD = "pw-Geheim77"


@dataclass
class Hook:
    """What a chat got."""

    port: int = 0
    status: int = 200
    got: list[dict[str, Any]] = field(default_factory=list)
    tries: int = 0

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.got]


@asynccontextmanager
async def hook() -> AsyncIterator[Hook]:
    """Run a webhook; its `status` is what it answers."""
    kept = Hook()

    async def take(request: web.Request) -> web.Response:
        kept.tries += 1
        if kept.status == 200:
            assert request.path == f"/{SECRET}"
            kept.got.append(json.loads(await request.text()))
        return web.Response(status=kept.status)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kept.port = runner.addresses[0][1]
    try:
        yield kept
    finally:
        await runner.cleanup()


@dataclass
class Mailbox:
    """What a mail server got."""

    port: int = 0
    got: list[tuple[str, str, list[str]]] = field(default_factory=list)
    """Subject, text and recipients of each."""
    logins: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return (
            f"mailto://ops:{PASSWORD}@127.0.0.1:{self.port}/?smtp=127.0.0.1&mode=insecure"
            "&from=dealthread@example.com&to=ops@example.com"
        )

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail, as aiosmtpd calls it."""
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=default)
        body = mail.get_body(("plain", "html"))
        assert body is not None
        self.got.append((mail["subject"], body.get_content(), list(envelope.rcpt_tos)))
        return "250 OK"

    def log_in(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: object
    ) -> AuthResult:
        """Let one person in."""
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1] == ("ops", PASSWORD))


class _Controller(Controller):
    """Takes the port that the system gives."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd has no types there


@contextlib.contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Run a mail server that wants a login."""
    kept = Mailbox()
    controller = _Controller(
        kept,
        hostname="127.0.0.1",
        port=0,
        authenticator=kept.log_in,
        auth_require_tls=False,
    )
    controller.start()
    try:
        kept.port = controller.port
        yield kept
    finally:
        controller.stop()
