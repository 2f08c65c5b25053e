"""Who calls the API: people of `dealthread.toml`, known by bearer tokens of their own."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.deliveries import Refusal
from operations.config import PersonConfig, PersonRole

SCHEME: Final = "bearer"
NOBODY: Final = Refusal(401, "no_token", "Send your token: Authorization: Bearer <token>.")
STRANGER: Final = Refusal(401, "wrong_token", "This token is nobody's: ask your administrator.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved to be a person of the configuration."""

    name: str
    roles: frozenset[PersonRole]

    def may_act(self) -> bool:
        """Return whether they have a role beside looking; what they may, is judged elsewhere."""
        return bool(self.roles - {PersonRole.VIEWER})


class Callers:
    """Tells people apart by their tokens, of which it keeps the SHA-256 alone."""

    def __init__(self, people: Mapping[str, PersonConfig]) -> None:
        """Know everybody who has a token."""
        self._known = [
            (_digest(person.token.get_secret_value()), Caller(name, person.roles))
            for name, person in people.items()
            if person.token is not None
        ]

    def of(self, authorization: str) -> Caller:
        """Return whose token the header `Authorization` has.

        Raises:
            Refusal: 401; there is none, or it is nobody's.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != SCHEME or not token:
            raise NOBODY
        given = _digest(token)
        # Every digest is compared, so that the time taken tells nothing.
        found = [who for digest, who in self._known if hmac.compare_digest(digest, given)]
        if not found:
            raise STRANGER
        return found[0]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
