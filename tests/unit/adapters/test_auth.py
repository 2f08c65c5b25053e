import asyncio
import re
from urllib.parse import unquote

import pytest
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256, Client
from pydantic import SecretStr

from adapters.auth import BearerToken, NoAuth, OAuth1Signer, OAuth2Token, RequestFacts, Token
from adapters.errors import Invalid, Transient

FACTS = RequestFacts("GET", "https://vendor.example/x")


class Endpoint:
    """Gives out tokens t1, t2, ... and yields while it does."""

    def __init__(self, life: float | None = 3600.0) -> None:
        self.life = life
        self.asked = 0
        self.down = False

    async def __call__(self) -> Token:
        self.asked += 1
        number = self.asked
        await asyncio.sleep(0)
        if self.down:
            raise Transient("token endpoint is down")
        return Token(SecretStr(f"t{number}"), self.life)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_fixed_proofs_cannot_be_renewed() -> None:
    fixed = BearerToken(SecretStr("abc"))

    assert await fixed.headers(FACTS) == bearer("abc")
    assert not await fixed.refresh(bearer("abc"))
    assert await NoAuth().headers(FACTS) == {}
    assert not await NoAuth().refresh({})


async def test_calls_that_come_together_share_one_token() -> None:
    endpoint = Endpoint()
    auth = OAuth2Token(endpoint)

    seen = await asyncio.gather(*(auth.headers(FACTS) for _ in range(10)))

    assert seen == [bearer("t1")] * 10
    assert endpoint.asked == 1


async def test_calls_refused_together_renew_once() -> None:
    endpoint = Endpoint()
    auth = OAuth2Token(endpoint)
    old = await auth.headers(FACTS)

    assert all(await asyncio.gather(*(auth.refresh(old) for _ in range(10))))
    assert endpoint.asked == 2
    assert await auth.refresh(old)  # late, after another call has renewed it
    assert endpoint.asked == 2
    assert await auth.headers(FACTS) == bearer("t2")


@pytest.mark.parametrize(
    ("life", "at", "token"),
    [
        (3600.0, 3539, "t1"),
        (3600.0, 3540, "t2"),  # the margin
        (60.0, 29, "t1"),  # a short life serves for half of it
        (60.0, 30, "t2"),
        (None, 1e9, "t1"),  # not told: until it is refused
    ],
)
async def test_a_token_is_renewed_before_it_expires(
    life: float | None, at: float, token: str
) -> None:
    clock = Clock()
    auth = OAuth2Token(Endpoint(life), clock=clock)
    await auth.headers(FACTS)
    clock.seconds = at

    assert await auth.headers(FACTS) == bearer(token)


async def test_a_failed_fetch_is_told_and_the_next_call_tries_again() -> None:
    endpoint = Endpoint()
    auth = OAuth2Token(endpoint)
    endpoint.down = True
    with pytest.raises(Transient):
        await auth.headers(FACTS)
    endpoint.down = False

    assert await auth.headers(FACTS) == bearer("t2")


async def test_a_cancelled_fetch_does_not_block_the_next() -> None:
    endpoint = Endpoint()
    auth = OAuth2Token(endpoint)
    first = asyncio.create_task(auth.headers(FACTS))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    assert await asyncio.wait_for(auth.headers(FACTS), 1) == bearer("t2")


def signer() -> OAuth1Signer:
    return OAuth1Signer(
        realm="1234567_SB1",
        consumer_key=SecretStr("ck"),
        consumer_secret=SecretStr("cs"),
        token_id=SecretStr("tk"),
        token_secret=SecretStr("ts"),
    )


def again(header: str, url: str, *, realm: str | None) -> str:
    """Return the signature over `url` with the nonce and timestamp of `header`."""
    part = dict(re.findall(r'(\w+)="([^"]*)"', header))
    client = Client(
        "ck", client_secret="cs", resource_owner_key="tk", resource_owner_secret="ts",
        signature_method=SIGNATURE_HMAC_SHA256, realm=realm,
        nonce=part["oauth_nonce"], timestamp=part["oauth_timestamp"],
    )  # fmt: skip
    signed = client.sign(url, http_method="POST")[1]["Authorization"]
    return str(dict(re.findall(r'(\w+)="([^"]*)"', signed))["oauth_signature"])


async def test_oauth1_signs_the_query_and_neither_realm_nor_json_body() -> None:
    url = "https://1234567-sb1.example/record/v1/customer?q=a%20IS%20%22b%22&limit=5"
    headers = await signer().headers(RequestFacts("POST", url, b'{"a": 1}'))
    header = headers["Authorization"]
    signature = re.findall(r'oauth_signature="([^"]*)"', header)[0]

    assert header.startswith("OAuth ")
    assert 'realm="1234567_SB1"' in header
    assert 'oauth_signature_method="HMAC-SHA256"' in header
    assert signature == again(header, url, realm=None)
    assert signature != again(header, url.replace("limit=5", "limit=6"), realm=None)
    assert unquote(signature).endswith("=")
    assert not await signer().refresh(headers)


async def test_oauth1_never_uses_a_nonce_twice() -> None:
    first, second = [await signer().headers(FACTS) for _ in range(2)]

    assert first != second


async def test_an_url_that_cannot_be_signed_is_invalid() -> None:
    with pytest.raises(Invalid):
        await signer().headers(RequestFacts("GET", "https://vendor.example/?q=[1]"))


async def test_secrets_are_in_no_repr() -> None:
    auth = OAuth2Token(Endpoint())
    await auth.headers(FACTS)

    assert "t1" not in f"{auth!r} {vars(auth)!r}"
    assert "cs" not in re.sub("0x[0-9a-f]+", "", f"{vars(signer())!r}").replace("secret", "")
    assert "abc" not in f"{vars(BearerToken(SecretStr('abc')))!r} {Token(SecretStr('abc'))!r}"
