"""The key pair of each account's connected app, computed from the account's name.

All accounts share two primes and differ in the exponent, so a pair costs nothing to make. That is
no secret worth keeping: whoever has one pair has them all, and all are computable from this file.
"""

import hashlib
import math
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_STEPS_TO_PRIME = {"p": 135, "q": 463}
"""How many odd numbers lie between each seed and the first prime after it; found once."""


@lru_cache(maxsize=4096)
def private_key_pem(account: str) -> str:
    """Return the key with which a client signs its assertions, as PKCS 8."""
    p, q = _prime("p"), _prime("q")
    order = math.lcm(p - 1, q - 1)
    public = _public_numbers(account)
    d = pow(public.e, -1, order)
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=public,
    )
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@lru_cache(maxsize=4096)
def public_key(account: str) -> rsa.RSAPublicKey:
    """Return the key that is registered with the account's connected app."""
    return _public_numbers(account).public_key()


def _public_numbers(account: str) -> rsa.RSAPublicNumbers:
    p, q = _prime("p"), _prime("q")
    seed = hashlib.sha256(f"dealthread-simulators/salesforce/exponent/{account}".encode())
    exponent = int.from_bytes(seed.digest()[:4], "big") | 0x80000001
    while math.gcd(exponent, (p - 1) * (q - 1)) != 1:
        exponent += 2
    return rsa.RSAPublicNumbers(exponent, p * q)


@lru_cache(maxsize=2)
def _prime(label: str) -> int:
    seed = f"dealthread-simulators/salesforce/rsa/{label}"
    raw = b"".join(hashlib.sha256(f"{seed}/{part}".encode()).digest() for part in range(4))
    first = int.from_bytes(raw, "big") | (3 << 1022) | 1
    return first + 2 * _STEPS_TO_PRIME[label]
