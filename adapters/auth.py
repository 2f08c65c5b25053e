"""Proof of who is calling: what goes into the headers of a request, and how it is renewed.

Grant-specific requests (a signed assertion, a token endpoint) are built by the vendor packages;
here is what they share. Secrets are `SecretStr`, and in no `repr`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client
from pydantic import SecretStr

from adapters.errors import Invalid

EXPIRY_MARGIN_SECONDS: Final = 60.0

Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True)
class RequestFacts:
    """What a signature covers: the request exactly as it goes out."""

    method: Method
    url: str
    body: bytes = b""


class Authenticator(Protocol):
    """Makes the headers that prove who is calling."""

    async def headers(self, request: RequestFacts) -> dict[str, str]:
        """Return the headers to add; raises an `AdapterError` where no proof can be had."""
        ...

    async def refresh(self, rejected: Mapping[str, str]) -> bool:
        """Renew what the vendor refused; False where there is nothing to renew.

        `rejected` are the headers that were refused: when another call has renewed them
        meanwhile, this returns True at once.
        """
        ...


class NoAuth:
    """Adds nothing: for token endpoints that authenticate in the body."""

    async def headers(self, request: RequestFacts) -> dict[str, str]:  # noqa: ARG002 (protocol)
        """Return no headers."""
        return {}

    async def refresh(self, rejected: Mapping[str, str]) -> bool:  # noqa: ARG002 (protocol)
        """Return False: there is nothing to renew."""
        return False


class BearerToken:
    """A fixed token, such as a Stripe key or a Kantata access token."""

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def headers(self, request: RequestFacts) -> dict[str, str]:  # noqa: ARG002 (protocol)
        """Return the Authorization header."""
        return _bearer(self._token)

    async def refresh(self, rejected: Mapping[str, str]) -> bool:  # noqa: ARG002 (protocol)
        """Return False: only a person can replace the token."""
        return False


@dataclass(frozen=True)
class Token:
    """An access token as its endpoint gave it; `expires_in_seconds` None where it is not told."""

    value: SecretStr
    expires_in_seconds: float | None = None


class OAuth2Token:
    """An access token, fetched when first needed and again when it expires or is refused.

    `fetch` makes the vendor's grant and raises an `AdapterError` where that fails; it runs once
    at a time, and calls that wait for it share its result. It must not take a slot of the same
    governor, nor authenticate: see `VendorHttp.request(authenticated=False)`.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Token]],
        *,
        margin_seconds: float = EXPIRY_MARGIN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._margin_seconds = margin_seconds
        self._clock = clock
        self._token: SecretStr | None = None
        self._good_until = float("-inf")
        self._fetching = asyncio.Lock()

    async def headers(self, request: RequestFacts) -> dict[str, str]:  # noqa: ARG002 (protocol)
        """Return the Authorization header with a token that is not about to expire."""
        async with self._fetching:
            if self._token is None or self._clock() >= self._good_until:
                return _bearer(await self._renew())
            return _bearer(self._token)

    async def refresh(self, rejected: Mapping[str, str]) -> bool:
        """Fetch a new token, unless the refused one was replaced already."""
        async with self._fetching:
            if self._token is None or _bearer(self._token).items() <= rejected.items():
                await self._renew()
        return True

    async def _renew(self) -> SecretStr:
        # The life counts from before the request, since the vendor's clock starts during it.
        asked_at = self._clock()
        self._token = None
        token = await self._fetch()
        life = token.expires_in_seconds
        # A life shorter than the margin still serves for half of it.
        margin = 0.0 if life is None else min(self._margin_seconds, life / 2)
        self._good_until = float("inf") if life is None else asked_at + life - margin
        self._token = token.value
        return token.value


class OAuth1Signer:
    """NetSuite token-based authentication: each request is signed (OAuth 1.0a, HMAC-SHA256).

    Query parameters are part of the signature, a JSON body and the realm (the account id, upper
    case, `_` before the sandbox number) are not. Source: RFC 5849 3.4.1.3 for the base string;
    the realm as in NetSuite's help "The Authorization Headers" (unverified).
    """

    def __init__(
        self,
        *,
        realm: str,
        consumer_key: SecretStr,
        consumer_secret: SecretStr,
        token_id: SecretStr,
        token_secret: SecretStr,
    ) -> None:
        self._realm = realm
        self._consumer_key = consumer_key
        self._consumer_secret = consumer_secret
        self._token_id = token_id
        self._token_secret = token_secret

    async def headers(self, request: RequestFacts) -> dict[str, str]:
        """Return the Authorization header, with a fresh nonce and timestamp."""
        client = Client(
            self._consumer_key.get_secret_value(),
            client_secret=self._consumer_secret.get_secret_value(),
            resource_owner_key=self._token_id.get_secret_value(),
            resource_owner_secret=self._token_secret.get_secret_value(),
            signature_method=SIGNATURE_HMAC_SHA256,
            realm=self._realm,
        )
        try:
            _, headers, _ = client.sign(request.url, http_method=request.method)
        except ValueError as error:
            raise Invalid(f"The request cannot be signed: {error}") from error
        return {"Authorization": headers["Authorization"]}

    async def refresh(self, rejected: Mapping[str, str]) -> bool:  # noqa: ARG002 (protocol)
        """Return False: the next signature would be made with the same keys."""
        return False


def _bearer(token: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.get_secret_value()}"}
