"""Sign-in: OAuth 1.0a headers and OAuth 2.0 client credentials (vendor page, section 3).

A signature's own times may fit real time or the account's clock, so that a test which moves the
clock need not move its client's; what expires, such as a bearer token, goes by the account's clock.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypedDict
from urllib.parse import quote, unquote

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import JsonValue

from simulators.kit import Account, Call, Reply, ReplyError, is_account_name, secret_for
from simulators.netsuite import errors

NAME = "netsuite"
TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"
CERTIFICATE = "oauth2Certificate"
"""Record type of a certificate mapped by a person; its id is the `kid`, `publicKey` is PEM."""

_TOKEN_SECONDS = 3600
_TOLERANCE_SECONDS = 300
_NONCES_MAX = 10_000
_RSA_BITS_MIN = 3072
_ALGORITHMS = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SCOPE = "rest_webservices"
_PREFIX = "dt-"
_PART = re.compile(r'(\w+)="([^"]*)"')


class Claims(TypedDict):
    """What an access token says."""

    account: str
    number: int
    expires: float


def credentials(account: str) -> dict[str, str]:
    """Return all that a client needs, both ways of signing in; it follows from the name alone."""
    return {
        **_signing(account),
        "client_id": f"{_PREFIX}{account}",
        "certificate_id": f"cert-{account}",
        "private_key": _private_pem(account),
        "token_path": TOKEN_PATH,
    }


def realm(account: str) -> str:
    """Return the account id as NetSuite writes it: digits, with the suffix of a test account."""
    number = int(secret_for(NAME, account, "realm")[:12], 16) % 9_000_000 + 1_000_000
    return f"{number}_SB1"


def authenticate(call: Call) -> str:
    """Return the account of a request.

    Raises:
        ReplyError: 401 INVALID_LOGIN.
    """
    scheme, _, rest = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "oauth":
        return _verify_signature(call, {k: unquote(v) for k, v in _PART.findall(rest)})
    if scheme.lower() == "bearer":
        return _verify_bearer(call, rest.strip())
    raise errors.invalid_login()


def account_of_assertion(call: Call) -> str:
    """Return the account which a token request names, unchecked; empty where it names none."""
    try:
        claims = jwt.decode(
            call.form.get("client_assertion", ""), options={"verify_signature": False}
        )
    except jwt.PyJWTError:
        return ""
    return str(claims.get("iss", "")).removeprefix(_PREFIX)


def void_tokens(call: Call) -> None:
    """Make the bearer token of a request worthless, as when it expires early."""
    _, _, token = call.headers.get("Authorization", "").partition(" ")
    claims = _claims(token)
    if claims is not None:
        call.account.extra["voided_up_to"] = claims["number"]


async def issue_token(call: Call) -> Reply:
    """Answer the token endpoint.

    Raises:
        ReplyError: `invalid_request`, `invalid_client` or `invalid_grant`.
    """
    form = call.form
    if form.get("grant_type") != "client_credentials":
        raise errors.oauth_error("unsupported_grant_type")
    if form.get("client_assertion_type") != _ASSERTION_TYPE or "client_assertion" not in form:
        raise errors.oauth_error("invalid_request")
    account = call.account
    _verify_assertion(call, account, form["client_assertion"])
    number = _next_number(account)
    claims: Claims = {
        "account": account.name,
        "number": number,
        "expires": account.clock.now().timestamp() + _TOKEN_SECONDS,
    }
    token = jwt.encode(dict(claims), secret_for(NAME, "tokens"), algorithm="HS256")
    body: dict[str, JsonValue] = {
        "access_token": token,
        "expires_in": _TOKEN_SECONDS,
        "token_type": "bearer",
    }
    return Reply(200, body, {"Cache-Control": "no-store"})


def _verify_signature(call: Call, sent: Mapping[str, str]) -> str:
    name = sent.get("oauth_consumer_key", "").removeprefix(_PREFIX)
    if not is_account_name(name):
        raise errors.invalid_login()
    account = call.open_account(name)
    known = _signing(name)
    fits = (
        sent.get("oauth_consumer_key") == known["consumer_key"]
        and sent.get("oauth_token") == known["token_id"]
        and sent.get("realm") == known["account"]
        and sent.get("oauth_signature_method") == "HMAC-SHA256"
        and sent.get("oauth_version", "1.0") == "1.0"
        and _is_recent(account, sent.get("oauth_timestamp", ""))
        and hmac.compare_digest(
            sent.get("oauth_signature", "").encode(), _signature(call, sent, known).encode()
        )
    )
    if not fits or not _take_once(
        account, "nonces", f"{sent['oauth_timestamp']}/{sent.get('oauth_nonce', '')}"
    ):
        raise _refused(name)
    return name


@lru_cache(maxsize=10_000)
def _signing(account: str) -> Mapping[str, str]:
    return {
        "account": realm(account),
        "consumer_key": f"{_PREFIX}{account}",
        "consumer_secret": secret_for(NAME, account, "consumer"),
        "token_id": f"{_PREFIX}{account}",
        "token_secret": secret_for(NAME, account, "token"),
    }


def _signature(call: Call, sent: Mapping[str, str], known: Mapping[str, str]) -> str:
    """Sign as RFC 5849 says; query parameters and a body hash in the header are part of it."""
    pairs = [(k, v) for k, v in sent.items() if k not in ("realm", "oauth_signature")]
    pairs += call.query_pairs
    encoded = sorted((_encode(name), _encode(value)) for name, value in pairs)
    joined = "&".join(f"{name}={value}" for name, value in encoded)
    url = call.origin.lower().removesuffix(":443") + call.raw_path
    base = "&".join((call.method.upper(), _encode(url), _encode(joined)))
    key = f"{_encode(known['consumer_secret'])}&{_encode(known['token_secret'])}"
    digest = hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _encode(text: str) -> str:
    return quote(text, safe="-._~")


def _is_recent(account: Account, stamp: str) -> bool:
    if not stamp.isdecimal():
        return False
    return any(abs(now - int(stamp)) <= _TOLERANCE_SECONDS for now in _nows(account))


def _nows(account: Account) -> tuple[float, float]:
    return datetime.now(UTC).timestamp(), account.clock.now().timestamp()


def _take_once(account: Account, kind: str, value: str) -> bool:
    """Whether this value was not used before; the oldest half is forgotten when there are many."""
    used = account.extra.setdefault(kind, {})
    if not isinstance(used, dict) or value in used:
        return False
    if len(used) >= _NONCES_MAX:
        for old in list(used)[: _NONCES_MAX // 2]:
            del used[old]
    used[value] = True
    return True


def _verify_bearer(call: Call, token: str) -> str:
    claims = _claims(token)
    if claims is None or not is_account_name(claims["account"]):
        raise errors.invalid_login()
    account = call.open_account(claims["account"])
    voided = account.extra.get("voided_up_to", 0)
    expired = account.clock.now().timestamp() >= claims["expires"]
    if expired or claims["number"] <= int(str(voided)):
        raise _refused(account.name)
    return account.name


def _claims(token: str) -> Claims | None:
    try:
        claims = jwt.decode(token, secret_for(NAME, "tokens"), algorithms=["HS256"])
    except jwt.PyJWTError:
        return None
    return {
        "account": str(claims["account"]),
        "number": int(claims["number"]),
        "expires": float(claims["expires"]),
    }


def _refused(account: str) -> ReplyError:
    return ReplyError(errors.invalid_login().reply, account)


def _verify_assertion(call: Call, account: Account, assertion: str) -> None:
    try:
        header = jwt.get_unverified_header(assertion)
    except jwt.PyJWTError as error:
        raise errors.oauth_error("invalid_request") from error
    key = _public_key(account, str(header.get("kid", "")))
    if key is None:
        raise errors.oauth_error("invalid_client")
    try:
        claims = jwt.decode(
            assertion,
            key,
            algorithms=_ALGORITHMS,
            audience=f"{call.origin}{TOKEN_PATH}",
            issuer=f"{_PREFIX}{account.name}",
            options={
                "require": ["iss", "aud", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError as error:
        raise errors.oauth_error("invalid_grant") from error
    issued, expires, scope = claims["iat"], claims["exp"], claims.get("scope", [])
    in_time = any(issued - _TOLERANCE_SECONDS <= now < expires for now in _nows(account))
    scopes = scope.replace(",", " ").split() if isinstance(scope, str) else scope
    if not in_time or expires - issued > _TOKEN_SECONDS or _SCOPE not in scopes:
        raise errors.oauth_error("invalid_grant")
    if "jti" in claims and not _take_once(account, "assertions", str(claims["jti"])):
        raise errors.oauth_error("invalid_grant")


def _public_key(account: Account, kid: str) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey | None:
    if kid == f"cert-{account.name}":
        return _private_key(account.name).public_key()
    record = account.store.get(CERTIFICATE, kid)
    pem = record.fields.get("publicKey") if record is not None else None
    if not isinstance(pem, str):
        return None
    key = serialization.load_pem_public_key(pem.encode())
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size >= _RSA_BITS_MIN else None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


@lru_cache(maxsize=1000)
def _private_key(account: str) -> ec.EllipticCurvePrivateKey:
    number = int(secret_for(NAME, account, "certificate"), 16) >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


@lru_cache(maxsize=1000)
def _private_pem(account: str) -> str:
    return (
        _private_key(account)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _next_number(account: Account) -> int:
    number = int(str(account.extra.get("token_number", 0))) + 1
    account.extra["token_number"] = number
    return number
