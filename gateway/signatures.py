"""Signatures over a timestamp and the content: Stripe's scheme, which ours follows.

`t=<unix seconds>,v1=<hex>[,v1=<hex>…]`, where v1 is the HMAC-SHA256 of `<t>.<content>`
(vendor page stripe_billing, 6). Several v1 are there while a secret is being replaced.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from gateway.deliveries import Refusal

HEADER_MAX: Final = 2_000
SIGNATURES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Verifier:
    """Knows the secrets of one sender."""

    secrets: tuple[SecretStr, ...]
    """The current one, and the one before while it is being replaced."""
    tolerance_seconds: float
    clock: Callable[[], float]
    """Unix seconds."""

    def check(self, header: str, content: bytes) -> None:
        """Make sure that a holder of the secret signed this content a short while ago.

        Raises:
            Refusal: 401, and whether the signature or its age is wrong.
        """
        stamp, given = _parts(header)
        expected = [sign(secret, stamp, content) for secret in self.secrets]
        # Every pair is compared, so that the time taken tells nothing.
        if not sum(hmac.compare_digest(mine, each) for mine in expected for each in given):
            raise Refusal(401, "wrong_signature", "The signature is not that of the content.")
        if abs(self.clock() - int(stamp)) > self.tolerance_seconds:
            raise Refusal(401, "stale_signature", "The signature is too old, or from the future.")


def sign(secret: SecretStr, stamp: str, content: bytes) -> str:
    """Return the v1 of a content."""
    key = secret.get_secret_value().encode()
    return hmac.digest(key, stamp.encode() + b"." + content, "sha256").hex()


def header_of(secret: SecretStr, stamp: int, content: bytes) -> str:
    """Return the whole header, as a sender makes it."""
    return f"t={stamp},v1={sign(secret, str(stamp), content)}"


def _parts(header: str) -> tuple[str, Sequence[str]]:
    stamp, given = "", []
    if header.isascii() and len(header) <= HEADER_MAX:
        for part in header.split(","):
            name, _, value = part.strip().partition("=")
            if name == "t":
                stamp = value
            elif name == "v1":
                given.append(value)
    if not (stamp.isdecimal() and len(stamp) <= 15 and 0 < len(given) <= SIGNATURES_MAX):
        raise Refusal(401, "no_signature", "There is no signature of the form t=…,v1=….")
    return stamp, given
