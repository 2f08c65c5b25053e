"""The API of the billing queue: who gets in, what acts come to, and what is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from canonical.draft_acts import AnyAct, DraftAnswer, HoldLines
from canonical.drafts import Draft, DraftState
from gateway.app import Parts, make_app
from gateway.callers import Callers
from gateway.queue_api import BODY_MAX, Desk, QueueParts
from gateway.temporal_link import TemporalLink
from operations.config import PersonConfig, PersonRole
from operations.people import Refused
from operations.queue import QueueDesk
from operations.servers import Unreachable
from store import Store
from tests.gateway.scene import Gateway, stripe, well
from tests.store.invoicing import billed, billed_contract, draft_of
from tests.support.invoicing import drafted, handed_over, in_state, invoices, queued
from tests.support.world import PEOPLE, World

VIEWER = "victor"


def token(name: str) -> str:
    return f"{name}-{'0123456789abcdef' * 2}"


def people() -> dict[str, PersonConfig]:
    """Return the people of the world, each with a token, and two that may not act."""
    roles = {name: frozenset(map(PersonRole, of)) for name, of in PEOPLE.items()}
    roles[VIEWER] = frozenset({PersonRole.VIEWER})
    known = {
        name: PersonConfig(roles=of, token=SecretStr(token(name))) for name, of in roles.items()
    }
    return {**known, "nora": PersonConfig(roles=frozenset({PersonRole.ADMIN}))}


def as_(name: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(name)}", **headers}


def path(draft: Draft | str) -> str:
    return f"/queue/{quote(draft if isinstance(draft, str) else draft.id)}"


@asynccontextmanager
async def opened(
    store: Store, desk: Callable[[], Awaitable[Desk]]
) -> AsyncIterator[httpx.AsyncClient]:
    queue = QueueParts(Callers(people()), store.drafts, desk)
    app = make_app(Parts(store.inbox, {}, {"store": well}, queue=queue))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", trust_env=False
    ) as http:
        yield http


async def nobody() -> Desk:
    raise Unreachable("Temporal does not answer at 127.0.0.1:9")


@pytest_asyncio.fixture
async def looking(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """The API on a fresh database, without Temporal."""
    async with opened(store, nobody) as http:
        yield http


@pytest_asyncio.fixture
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The API on the world's store and its real server."""

    async def desk() -> QueueDesk:
        return world.queue

    async with opened(world.store, desk) as http:
        yield http


async def three_drafts(store: Store) -> list[Draft]:
    await store.engagements.put(billed_contract())
    bills = await billed(store, "1", "2", "3")
    drafts = [
        draft_of([bill], number=number, state=state)
        for number, (bill, state) in enumerate(
            zip(
                bills,
                (DraftState.IN_REVIEW, DraftState.QUEUED, DraftState.QUEUED),
                strict=True,
            ),
            start=1,
        )
    ]
    assert len(await store.drafts.open(drafts)) == 3
    return [await store.drafts.get(draft.id) for draft in drafts]


# Who gets in.


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ("", "no_token"),
        ("Basic dmljdG9yOng=", "no_token"),
        ("Bearer ", "no_token"),
        (f"Bearer {token('nobody')}", "wrong_token"),
        (f"Bearer {token('fiona')}x", "wrong_token"),
        (f"Bearer {token('nora')}", "wrong_token"),
        ("Bearer \xff\xfe", "wrong_token"),
    ],
)
@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("GET", "/queue"),
        ("GET", path("x")),
        ("POST", f"{path('x')}/acts"),
        ("POST", "/queue/release"),
    ],
)
async def test_without_a_persons_token_nobody_gets_in(
    looking: httpx.AsyncClient, method: str, where: str, authorization: str, reason: str
) -> None:
    sent = {b"authorization": authorization.encode("latin-1")} if authorization else {}
    answer = await looking.request(method, where, headers=sent)
    assert (answer.status_code, answer.json()["reason"]) == (401, reason)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_viewer_looks_and_may_not_act(looking: httpx.AsyncClient, store: Store) -> None:
    (draft, *_) = await three_drafts(store)
    assert (await looking.get(path(draft), headers=as_(VIEWER))).is_success
    for where, body in ((f"{path(draft)}/acts", {"act": "review"}), ("/queue/release", [])):
        answer = await looking.post(where, json=body, headers=as_(VIEWER))
        assert (answer.status_code, answer.json()["reason"]) == (403, "only_looks")


# Looking.


async def test_the_list_filters_and_pages(looking: httpx.AsyncClient, store: Store) -> None:
    drafts = await three_drafts(store)

    async def ids(query: str) -> list[str]:
        answer = await looking.get(f"/queue{query}", headers=as_(VIEWER))
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["drafts"]]

    everything = await ids("")
    assert sorted(everything) == sorted(draft.id for draft in drafts)
    assert await ids("?state=in_review") == [drafts[0].id]
    assert len(await ids("?state=in_review&state=queued")) == 3
    assert await ids("?state=invoiced") == []
    assert len(await ids(f"?entity={drafts[0].legal_entity}")) == 3
    assert await ids("?entity=nowhere") == []
    assert await ids("?client=nobody") == []
    first = (await looking.get("/queue?limit=2", headers=as_(VIEWER))).json()
    second = (await looking.get("/queue?limit=2&offset=2", headers=as_(VIEWER))).json()
    assert (first["more"], second["more"]) == (True, False)
    assert (first["next"], second["next"]) == (2, None)
    assert [each["id"] for each in first["drafts"] + second["drafts"]] == everything
    for wrong in (
        "?limit=0",
        "?limit=201",
        "?state=lost",
        "?offset=-1",
        "?sate=queued",
        "?entity=%00",
    ):
        assert (await looking.get(f"/queue{wrong}", headers=as_(VIEWER))).status_code == 422


async def test_a_draft_is_shown_with_the_hash_that_a_release_names(
    looking: httpx.AsyncClient, store: Store
) -> None:
    (draft, *_) = await three_drafts(store)
    told = (await looking.get(path(draft), headers=as_(VIEWER))).json()
    assert told["content_hash"] == draft.content_hash
    assert told["net"] == {"amount": str(draft.net.amount), "currency": draft.currency}
    assert len(told["lines"]) == 1
    for unknown in ("invoice-draft/none", "x%00y"):
        answer = await looking.get(f"/queue/{unknown}", headers=as_(VIEWER))
        assert (answer.status_code, answer.json()["reason"]) == (404, "no_such_draft")


# What is not an act.


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"act": "review"', 400),
        (b'{"act": "review", "by": "ada"}', 422),
        (b'{"act": "review", "becuase": "x"}', 422),
        (b'{"act": "returned", "posting": 1}', 422),
        (b'{"act": "burn"}', 422),
        (b'{"act": "hold", "lines": ["1"]}', 422),
        (b'{"act": "reject", "because": "\\u0000"}', 422),
        (
            b'{"act": "write_down", "line": 1, "amount": {"amount": "1.001", "currency": "USD"}}',
            422,
        ),
        (b'{"act": "review", "because": "' + b"x" * BODY_MAX + b'"}', 413),
    ],
)
async def test_what_is_no_act_is_refused_at_the_door(
    looking: httpx.AsyncClient, body: bytes, status: int
) -> None:
    answer = await looking.post(f"{path('x')}/acts", content=body, headers=as_("ada"))
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b"[]", 422),
        (b"[", 400),
        (b'[], "x": 1', 400),
        (b'[{"draft": "x"}]', 422),
        (b'[{"draft": "x", "content_hash": "short"}]', 422),
        (b"[" + b",".join([b'{"draft":"x","content_hash":"' + b"0" * 64 + b'"}'] * 2) + b"]", 422),
        (
            b"["
            + b",".join(b'{"draft":"%d","content_hash":"%064d"}' % (n, n) for n in range(501))
            + b"]",
            422,
        ),
    ],
)
async def test_what_is_no_list_of_releases_is_refused(
    looking: httpx.AsyncClient, body: bytes, status: int
) -> None:
    answer = await looking.post("/queue/release", content=body, headers=as_("ada"))
    assert answer.status_code == status, answer.text


# Temporal is away.


async def test_without_temporal_acts_wait_and_all_else_goes_on(
    gateway: Gateway, looking: httpx.AsyncClient, store: Store
) -> None:
    (draft, *_) = await three_drafts(store)
    answer = await looking.post(f"{path(draft)}/acts", json={"act": "review"}, headers=as_("ada"))
    assert (answer.status_code, answer.json()["reason"]) == (503, "temporal_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    asked = [{"draft": draft.id, "content_hash": draft.content_hash}]
    released = await looking.post("/queue/release", json=asked, headers=as_("ada"))
    assert released.status_code == 207
    assert released.json()["results"][0]["problem"]["reason"] == "temporal_unavailable"
    assert (await looking.get("/queue", headers=as_(VIEWER))).is_success
    assert (await gateway.send(stripe())).is_success
    assert (await store.drafts.get(draft.id)).version == draft.version


async def test_an_act_that_nobody_answers_may_still_be_taken(store: Store) -> None:
    class Silent:
        async def act(self, draft: str, act: AnyAct, act_id: str = "") -> DraftAnswer:
            raise Refused(f"No worker took {act.act} {act_id} of {draft} in time.")

    async def desk() -> Desk:
        return Silent()

    (draft, *_) = await three_drafts(store)
    async with opened(store, desk) as http:
        answer = await http.post(f"{path(draft)}/acts", json={"act": "review"}, headers=as_("ada"))
    assert (answer.status_code, answer.json()["reason"]) == (503, "no_answer")


async def test_temporal_is_connected_once_and_tried_again_after_a_failure(world: World) -> None:
    tries: list[int] = []
    away = asyncio.Event()

    async def connect() -> object:
        tries.append(1)
        await asyncio.sleep(0)
        if not away.is_set():
            raise Unreachable("away")
        return world.env.client

    link = TemporalLink(connect)  # type: ignore[arg-type]  # the client of a test
    found = await asyncio.gather(*(link.client() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, Unreachable) for each in found)
    assert len(tries) == 1
    away.set()
    assert await asyncio.gather(*(link.client() for _ in range(5))) == [world.env.client] * 5
    assert await link.client() is world.env.client
    assert len(tries) == 2


# Acts, on the real server.


async def test_a_draft_is_reviewed_and_released_by_two_people(
    world: World, api: httpx.AsyncClient
) -> None:
    account = await handed_over(world)
    (draft,) = await drafted(world, account)
    reviewed = await api.post(f"{path(draft)}/acts", json={"act": "review"}, headers=as_("olivia"))
    assert (reviewed.status_code, reviewed.json()["state"]) == (200, "queued")
    asked = {"act": "release", "content_hash": reviewed.json()["content_hash"]}
    released = await api.post(f"{path(draft)}/acts", json=asked, headers=as_("cara"))
    assert (released.status_code, released.json()["taken"]) == (200, True), released.text
    assert released.json()["draft"] == draft.id
    ended = await in_state(world, draft.id, DraftState.INVOICED)
    assert ended.released_by == "cara"


async def test_who_prepared_a_draft_is_refused_and_that_is_in_the_trail(
    world: World, api: httpx.AsyncClient
) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    edit = {"act": "edit", "line": 1, "narrative": "Advice"}
    edited = await api.post(f"{path(draft)}/acts", json=edit, headers=as_("cara"))
    assert edited.status_code == 200, edited.text
    asked = {"act": "release", "content_hash": edited.json()["content_hash"]}
    refused = await api.post(f"{path(draft)}/acts", json=asked, headers=as_("cara"))
    assert refused.status_code == 409
    assert any("prepared it" in reason for reason in refused.json()["reasons"])
    last = (await world.store.audit.trail(draft.id))[-1]
    assert (last.actor, last.act) == ("cara", "release_refused")
    assert await invoices(world, account) == []
    operator = await api.post(f"{path(draft)}/acts", json=asked, headers=as_("olivia"))
    assert operator.status_code == 409
    assert any("has not the role" in reason for reason in operator.json()["reasons"])


async def test_the_same_request_with_the_same_key_is_answered_the_same_and_done_once(
    world: World, api: httpx.AsyncClient
) -> None:
    account = await handed_over(world)
    (draft,) = await drafted(world, account)
    key = as_("olivia", **{"Idempotency-Key": "k-1"})
    where, review = f"{path(draft)}/acts", {"act": "review"}
    first, again = await asyncio.gather(*(api.post(where, json=review, headers=key) for _ in "ab"))
    later = await api.post(where, json=review, headers=key)
    assert first.status_code == 200, first.text
    assert first.json() == again.json() == later.json()
    # Somebody else's key, and another act under the same one, are no repetition.
    other = await api.post(where, json=review, headers=as_("ada", **{"Idempotency-Key": "k-1"}))
    assert other.status_code == 409
    hold = {"act": "hold", "lines": [1], "because": "the client asks"}
    assert (await api.post(where, json=hold, headers=key)).json()["content_hash"] != (
        first.json()["content_hash"]
    )
    trail = [each.act for each in await world.store.audit.trail(draft.id)]
    assert trail.count("review") == 1
    wrong = as_("olivia", **{"Idempotency-Key": "k" * 65})
    assert (await api.post(where, json=review, headers=wrong)).status_code == 400


async def test_what_cannot_be_judged_is_refused_with_the_reason(
    world: World, api: httpx.AsyncClient
) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    merge = {"act": "merge", "other": "invoice-draft/none"}
    refused = await api.post(f"{path(draft)}/acts", json=merge, headers=as_("fiona"))
    assert refused.status_code == 409, refused.text
    assert "invoice-draft/none" in refused.json()["reasons"][0]
    unknown = await api.post(f"{path('none')}/acts", json=merge, headers=as_("fiona"))
    assert unknown.status_code == 404


async def test_one_bad_draft_holds_up_none_of_the_others(
    world: World, api: httpx.AsyncClient
) -> None:
    accounts = await asyncio.gather(*(handed_over(world) for _ in range(4)))
    drafts = [await queued(world, account) for account in accounts]
    asked = [{"draft": each.id, "content_hash": each.content_hash} for each in drafts]
    # The second was changed since it was looked at.
    hold = HoldLines(by="olivia", lines=(1,), because="the client asks")
    assert (await world.queue.act(drafts[1].id, hold)).taken
    asked.insert(2, {"draft": "invoice-draft/none", "content_hash": "0" * 64})
    key = as_("cara", **{"Idempotency-Key": "month-end"})
    answer = await api.post("/queue/release", json=asked, headers=key)
    assert answer.status_code == 207, answer.text
    results = answer.json()["results"]
    assert [each["draft"] for each in results] == [each["draft"] for each in asked]
    assert [each["status"] for each in results] == [200, 409, 404, 200, 200]
    assert any("changed since" in reason for reason in results[1]["answer"]["reasons"])
    again = await api.post("/queue/release", json=asked, headers=key)
    assert again.json() == answer.json()
    for place in (0, 2, 3):
        await in_state(world, drafts[place].id, DraftState.INVOICED)
        assert len(await invoices(world, accounts[place])) == 1
    assert await invoices(world, accounts[1]) == []
