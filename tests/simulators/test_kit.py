"""The simulators' shared base, on a vendor of three routes which is defined here."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from simulators.kit import (
    Account,
    Call,
    Clock,
    Fault,
    FaultKind,
    RecordStore,
    Reply,
    ReplyError,
    Route,
    SimulatorStack,
    Vendor,
    secret_for,
)
from simulators.kit.calls import CallLog
from simulators.kit.control import Control, ControlRefused

NAME = "demo"


def number_id(_kind: str, number: int) -> str:
    return str(number)


class DemoVendor(Vendor):
    """Things with an external id, behind a bearer token that a token endpoint hands out."""

    name = NAME

    def routes(self) -> Sequence[Route]:
        return (
            Route("POST", "/token", self.token, public=True),
            Route("POST", "/things", self.create),
            Route("GET", "/things", self.query),
            Route("PATCH", "/things/key/{key}", self.upsert),
            Route("POST", "/batch", self.batch),
            Route("GET", "/defect", self.defect),
        )

    def new_account(self, name: str, clock: Clock) -> Account:
        return Account(name, clock, lambda kind, number: f"{kind}-{number:03}")

    def authenticate(self, call: Call) -> str:
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        name, _, secret = token.partition("!")
        if scheme != "Bearer" or secret != secret_for(NAME, name, "token"):
            raise ReplyError(Reply(401, {"code": "BAD_TOKEN"}))
        voided = call.open_account(name).extra.get("voided", False)
        if voided:
            raise ReplyError(Reply(401, {"code": "OLD_TOKEN"}), account=name)
        return name

    def account_of(self, call: Call) -> str:
        return call.form.get("client_id", "").removeprefix("dt-")

    def credentials(self, account: str) -> dict[str, str]:
        return {
            "client_id": f"dt-{account}",
            "token": f"{account}!{secret_for(NAME, account, 'token')}",
        }

    def request_key(self, call: Call) -> str | None:
        if "key" in call.params:
            return call.params["key"]
        body = call.json if call.method == "POST" and call.path == "/things" else None
        key = body.get("key") if isinstance(body, dict) else None
        return key if isinstance(key, str) else None

    def is_search(self, call: Call) -> bool:
        return call.method == "GET"

    def concurrency_limit(self, account: Account) -> int | None:
        limit = account.extra.get("limit")
        return limit if isinstance(limit, int) else None

    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        status = {"reject": 422, "rate_limit": 429, "expire_auth": 401}.get(kind.value, 503)
        headers = {"Retry-After": str(fault.spec.retry_after)} if fault.spec.retry_after else {}
        return Reply(status, {"code": kind.value, "for": call.path}, headers)

    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        if scenario != "things":
            raise ValueError(f"no scenario {scenario!r}: there is things")
        made: list[JsonValue] = [
            account.store.insert("thing", {"n": n}, f"s{seed}-{n}").id for n in range(count)
        ]
        return {"ids": made}

    async def token(self, call: Call) -> Reply:
        call.account.extra["voided"] = False
        return Reply(200, {"access_token": self.credentials(call.account.name)["token"]})

    async def create(self, call: Call) -> Reply:
        body = call.json
        assert isinstance(body, dict)
        key = self.request_key(call)
        record = call.account.store.insert("thing", body, key)
        call.effected("create", key, "thing", record.id)
        return Reply(201, {"id": record.id}, {"Location": f"{call.origin}/things/{record.id}"})

    async def upsert(self, call: Call) -> Reply:
        key = call.params["key"]
        record = call.account.store.by_key("thing", key)
        if record is None:
            record = call.account.store.insert("thing", {}, key)
            call.effected("create", key, "thing", record.id)
        else:
            call.effected("update", key, "thing", record.id)
        return Reply(200, {"id": record.id, "key": key})

    async def query(self, call: Call) -> Reply:
        found: list[JsonValue] = [r.id for r in call.account.store.list("thing", search=True)]
        return Reply(200, found)

    async def batch(self, call: Call) -> Reply:
        keys = call.json
        assert isinstance(keys, list)
        with call.account.store.atomic():
            for key in keys:
                if key is None:
                    raise ReplyError(Reply(400, {"code": "ALL_OR_NONE"}))
                call.account.store.insert("thing", {}, str(key))
        return Reply(204)

    async def defect(self, call: Call) -> Reply:
        raise KeyError("forgotten")


@pytest.fixture(name="stack")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[DemoVendor()]) as stack:
        yield stack


@pytest.fixture(name="control")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        yield control


@pytest.fixture(name="client")
async def make_client(stack: SimulatorStack) -> AsyncIterator[httpx.AsyncClient]:
    async with sign_in(stack, "default") as client:
        yield client


def sign_in(stack: SimulatorStack, account: str, timeout: float = 10) -> httpx.AsyncClient:
    token = DemoVendor().credentials(account)["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Correlation-Id": f"c-{account}"}
    return httpx.AsyncClient(base_url=stack.urls[NAME], headers=headers, timeout=timeout)


async def live_keys(control: Control, account: str = "default") -> list[str | None]:
    return [row["key"] for row in await control.records(NAME, account) if row["live"]]


class TestRequests:
    async def test_a_create_is_stored_and_logged_with_its_effect(
        self, stack: SimulatorStack, control: Control, client: httpx.AsyncClient
    ) -> None:
        answer = await client.post("/things?dry=no", json={"key": "k1"})
        assert (answer.status_code, answer.json()) == (201, {"id": "thing-001"})
        assert answer.headers["Location"] == f"{stack.urls[NAME]}/things/thing-001"
        (call,) = await control.calls(NAME)
        assert call["n"] == 1
        assert (call["method"], call["path"], call["query"]) == ("POST", "/things", "dry=no")
        assert (call["status"], call["effect"], call["key"]) == (201, "create", "k1")
        assert call["correlation_id"] == "c-default"
        assert call["finished"]
        assert await control.calls(NAME, since=1) == []

    async def test_a_key_with_slashes_survives_the_path(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        answer = await client.patch("/things/key/deal%2Fsf%2F006%2F1%3Aproject%3A2")
        assert answer.json()["key"] == "deal/sf/006/1:project:2"
        assert await live_keys(control) == ["deal/sf/006/1:project:2"]

    async def test_wrong_credentials_get_the_vendors_own_401(
        self, control: Control, stack: SimulatorStack
    ) -> None:
        async with httpx.AsyncClient(base_url=stack.urls[NAME]) as stranger:
            answer = await stranger.get("/things")
        assert (answer.status_code, answer.json()) == (401, {"code": "BAD_TOKEN"})
        assert [call["status"] for call in await control.calls(NAME)] == [401]

    async def test_an_unknown_path_and_a_malformed_body_are_answered_in_json(
        self, client: httpx.AsyncClient
    ) -> None:
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.put("/things")).status_code == 404
        assert (await client.post("/things", content=b"{")).status_code == 400

    async def test_a_defect_of_a_handler_is_answered_in_words(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.get("/defect")
        assert answer.status_code == 500
        assert "forgotten" in answer.json()["error"]

    async def test_a_failing_composite_leaves_nothing(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        assert (await client.post("/batch", json=["a", "b", None])).status_code == 400
        assert await live_keys(control) == []
        assert (await client.post("/batch", json=["a", "b"])).status_code == 204
        assert await live_keys(control) == ["a", "b"]

    async def test_accounts_share_nothing(
        self, stack: SimulatorStack, control: Control, client: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "other", {}, "reject")
        await control.clock("other", set="2030-01-01T00:00:00Z", freeze=True)
        async with sign_in(stack, "other") as other:
            assert (await client.post("/things", json={"key": "k"})).status_code == 201
            assert (await other.post("/things", json={"key": "k"})).status_code == 422
        assert (await live_keys(control), await live_keys(control, "other")) == (["k"], [])
        assert [call["at"][:4] for call in await control.calls(NAME, "other")] == ["2030"]
        assert await control.reset("other") == 1
        assert await control.calls(NAME, "other") == []
        assert await live_keys(control) == ["k"]

    async def test_more_requests_at_once_than_allowed_are_rate_limited(
        self, stack: SimulatorStack, control: Control, client: httpx.AsyncClient
    ) -> None:
        stack.world.account(NAME, "default").extra["limit"] = 1
        fault = await control.add_fault(NAME, "default", {}, "hold")
        first = asyncio.create_task(client.post("/things", json={"key": "k1"}))
        await control.wait_for_fault(NAME, "default", fault)
        assert (await client.post("/things", json={"key": "k2"})).status_code == 429
        await control.release(NAME)
        assert (await first).status_code == 201
        assert (await client.post("/things", json={"key": "k3"})).status_code == 201

    async def test_latency_delays_every_request(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        await control.set_latency(30, vendor=NAME)
        await client.get("/things")
        (call,) = await control.calls(NAME)
        assert call["seconds"] >= 0.029


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "status", "kept"),
        [
            ("reject", 422, []),
            ("fail_before", 503, []),
            ("fail_after", 503, ["k1"]),
            ("rate_limit", 429, []),
            ("expire_auth", 401, []),
        ],
    )
    async def test_an_answered_fault_has_the_right_status_and_effect(
        self, control: Control, client: httpx.AsyncClient, kind: str, status: int, kept: list[str]
    ) -> None:
        await control.add_fault(NAME, "default", {"path": "^/things$"}, kind, retry_after=7)
        answer = await client.post("/things", json={"key": "k1"})
        assert (answer.status_code, answer.json()["code"]) == (status, kind)
        assert answer.headers["Retry-After"] == "7"
        assert await live_keys(control) == kept
        (call,) = await control.calls(NAME)
        assert (call["fault"], call["effect"]) == (kind, "create" if kept else "none")
        assert (await client.post("/things", json={"key": "k2"})).status_code == 201
        (fault,) = await control.faults(NAME)
        assert (fault["hits"], fault["calls"], fault["seen"], fault["done"]) == (1, [1], 2, True)

    @pytest.mark.parametrize(("kind", "kept"), [("drop_before", []), ("drop_after", ["k1"])])
    async def test_a_dropped_connection_has_the_right_effect(
        self, control: Control, client: httpx.AsyncClient, kind: str, kept: list[str]
    ) -> None:
        await control.add_fault(NAME, "default", {"method": "post"}, kind)
        with pytest.raises(httpx.TransportError):
            await client.post("/things", json={"key": "k1"})
        assert await live_keys(control) == kept
        (call,) = await control.calls(NAME)
        assert (call["status"], call["fault"], call["finished"]) == (None, kind, True)

    @pytest.mark.parametrize(("effect", "at_once"), [("before", ["k1"]), ("after", [])])
    async def test_a_held_request_takes_effect_when_said(
        self, control: Control, client: httpx.AsyncClient, effect: str, at_once: list[str]
    ) -> None:
        fault = await control.add_fault(NAME, "default", {}, "hold", effect=effect)
        sent = asyncio.create_task(client.post("/things", json={"key": "k1"}))
        view = await control.wait_for_fault(NAME, "default", fault)
        assert (view["held"], await live_keys(control)) == (1, at_once)
        assert not sent.done()
        assert await control.release(NAME, id=fault) == 1
        assert (await sent).status_code == 201
        assert await live_keys(control) == ["k1"]

    async def test_a_held_write_lands_late_after_its_client_went_away(
        self, stack: SimulatorStack, control: Control
    ) -> None:
        fault = await control.add_fault(NAME, "late", {"key": "k1"}, "hold", effect="after")
        async with sign_in(stack, "late") as client:
            sent = asyncio.create_task(client.post("/things", json={"key": "k1"}))
            await control.wait_for_fault(NAME, "late", fault)
            sent.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sent
        # A second connection, served after the first was closed: the client was seen to leave.
        async with sign_in(stack, "late") as client:
            assert (await client.get("/things")).json() == []
        assert (await control.faults(NAME, "late"))[0]["held"] == 1
        await control.release(NAME, "late")
        async with asyncio.timeout(5):
            while await live_keys(control, "late") != ["k1"]:
                pass  # each look is a request, so the loop is not starved
        assert (await control.calls(NAME, "late"))[0]["effect"] == "create"

    async def test_a_hold_can_end_by_itself_and_a_reset_drops_it(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {}, "hold", release_after_seconds=0.01)
        assert (await client.post("/things", json={"key": "k1"})).status_code == 201
        fault = await control.add_fault(NAME, "default", {}, "hold")
        sent = asyncio.create_task(client.post("/things", json={"key": "k2"}))
        await control.wait_for_fault(NAME, "default", fault)
        await control.reset()
        with pytest.raises(httpx.TransportError):
            await sent
        assert await control.records(NAME) == []

    async def test_a_stale_search_misses_what_came_after_it_until_released(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        await client.post("/things", json={"key": "k0"})
        fault = await control.add_fault(NAME, "default", {}, "stale_search", key="k1", type="thing")
        await client.patch("/things/key/k1")
        await client.patch("/things/key/k2")
        assert (await client.get("/things")).json() == ["thing-001", "thing-003"]
        # Only searches are stale: the upsert by key found the record.
        assert (await client.patch("/things/key/k1")).json()["id"] == "thing-002"
        (view,) = await control.faults(NAME)
        assert (view["hits"], view["calls"]) == (1, [4])
        assert await control.release(NAME, id=fault) == 1
        assert len((await client.get("/things")).json()) == 3

    async def test_slow_delays_and_adds_to_another_fault(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {}, "reject")
        await control.add_fault(NAME, "default", {}, "slow", seconds=0.03, times=-1)
        assert (await client.get("/things")).status_code == 422
        assert (await client.get("/things")).status_code == 200
        assert all(call["seconds"] >= 0.029 for call in await control.calls(NAME))

    async def test_the_nth_match_is_struck_as_often_as_asked(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {"key": "k[0-9]", "nth": 2}, "reject", times=2)
        keys = ["k1", "other", "k12", "k2", "k3", "k4"]
        statuses = [(await client.patch(f"/things/key/{key}")).status_code for key in keys]
        assert statuses == [200, 200, 200, 422, 422, 200]

    async def test_for_ever_lasts_until_cleared(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        fault = await control.add_fault(NAME, "default", {}, "reject", times=-1)
        assert {(await client.get("/things")).status_code for _ in range(5)} == {422}
        assert await control.clear_faults(NAME, id=fault) == 1
        assert (await client.get("/things")).status_code == 200

    async def test_the_query_can_be_matched(
        self, control: Control, client: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {"path": r"/things\?page=2$"}, "reject")
        assert (await client.get("/things?page=1")).status_code == 200
        assert (await client.get("/things?page=2")).status_code == 422

    async def test_token_endpoints_meet_faults_of_their_account(
        self, stack: SimulatorStack, control: Control
    ) -> None:
        await control.add_fault(NAME, "tokens", {"path": "/token"}, "drop_before")
        async with httpx.AsyncClient(base_url=stack.urls[NAME]) as client:
            form = {"client_id": "dt-tokens"}
            with pytest.raises(httpx.TransportError):
                await client.post("/token", data=form)
            answer = await client.post("/token", data=form)
            assert answer.json() == {"access_token": DemoVendor().credentials("tokens")["token"]}
            assert (await client.post("/token", data={"client_id": "../.."})).status_code == 200
        assert len(await control.calls(NAME, "tokens")) == 2


class TestControl:
    async def test_a_person_in_the_vendors_screen_meets_no_fault_and_is_not_logged(
        self, control: Control
    ) -> None:
        await control.add_fault(NAME, "default", {}, "reject", times=-1)
        made = await control.put_record(NAME, "default", "thing", {"a": 1, "b": 2}, key="k")
        changed = await control.patch_record(NAME, "default", "thing", made["id"], {"b": 3})
        assert changed["fields"] == {"a": 1, "b": 3}
        assert not (await control.delete_record(NAME, "default", "thing", made["id"]))["live"]
        (row,) = await control.records(NAME, key="k", type="thing")
        assert not row["live"]
        assert await control.records(NAME, key="other") == []
        assert await control.calls(NAME) == []

    async def test_seeds_vendors_and_credentials(
        self, stack: SimulatorStack, control: Control
    ) -> None:
        assert await control.vendors() == {NAME: stack.urls[NAME]}
        assert (await control.credentials(NAME, "x"))["client_id"] == "dt-x"
        assert await control.seed("things", 2, seed=5) == {
            NAME: {"ids": ["thing-001", "thing-002"]}
        }
        assert await live_keys(control) == ["s5-0", "s5-1"]

    async def test_the_clock_is_set_frozen_advanced_and_thawed(self, control: Control) -> None:
        at = await control.clock(set="2031-05-01T10:00:00+02:00", freeze=True)
        assert at == "2031-05-01T08:00:00+00:00"
        assert await control.clock(advance_seconds=90) == "2031-05-01T08:01:30+00:00"
        record = await control.put_record(NAME, "default", "thing", {})
        assert record["created_at"] == "2031-05-01T08:01:30+00:00"
        assert (await control.clock(freeze=False)).startswith("2031-05-01T08:01:3")
        assert await control.clock() != await control.clock()

    @pytest.mark.parametrize(
        ("method", "path", "body", "status", "words"),
        [
            ("GET", "/nobody/records", None, 404, "no vendor 'nobody': there are demo"),
            ("GET", "/nothing", None, 404, "nothing at GET /nothing"),
            ("GET", "/demo/records?account=a/b", None, 400, "no account name"),
            ("GET", "/demo/calls?since=x", None, 400, "since must be a whole number"),
            ("POST", "/demo/faults", {"kind": "explode"}, 400, "kind: Input should be 'reject'"),
            ("POST", "/demo/faults", {"kind": "reject", "time": 2}, 400, "time: Extra inputs"),
            ("POST", "/demo/faults", {"kind": "reject", "times": 0}, 400, "times 0"),
            ("POST", "/demo/faults", {"kind": "slow", "match": {"path": "("}}, 400, "match.path"),
            ("DELETE", "/demo/faults/f9", None, 404, "no fault 'f9'"),
            ("PATCH", "/demo/records/thing/1", {"fields": {}}, 404, "no live record thing 1"),
            ("POST", "/seed", {"scenario": "moon"}, 400, "no scenario 'moon': there is things"),
            ("POST", "/clock", {"set": "2030-01-01T00:00:00"}, 400, "set needs a time zone"),
            ("POST", "/demo/emit", {"what": "news"}, 400, "demo notifies nobody"),
        ],
    )
    async def test_a_senseless_request_is_told_what_to_change(
        self, control: Control, stack: SimulatorStack, method: str, path: str,
        body: dict[str, JsonValue] | None, status: int, words: str,
    ) -> None:  # fmt: skip
        async with httpx.AsyncClient(base_url=stack.control_url) as http:
            answer = await http.request(method, path, json=body)
        assert answer.status_code == status
        assert words in answer.json()["error"]

    async def test_the_client_raises_with_the_origins_words(self, control: Control) -> None:
        with pytest.raises(ControlRefused, match=re.escape("kind: Input should be")):
            await control.add_fault(NAME, "default", {}, "explode")
        fault = await control.add_fault(NAME, "default", {}, "reject")
        with pytest.raises(TimeoutError, match="met 0 times, not 1"):
            await control.wait_for_fault(NAME, "default", fault, timeout_seconds=0)


class TestState:
    async def test_records_ids_clock_and_tokens_survive_a_restart(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        async with (
            SimulatorStack(vendors=[DemoVendor()], state_file=file) as stack,
            Control(stack.control_url) as control,
        ):
            gone = await control.put_record(NAME, "a", "thing", {"x": [1, {"y": None}]}, "k1")
            await control.delete_record(NAME, "a", "thing", gone["id"])
            await control.put_record(NAME, "a", "thing", {}, "k2")
            await control.clock("a", set="2040-01-01T00:00:00Z", freeze=True)
            stack.world.account(NAME, "a").extra["cursor"] = 7
            before = await control.records(NAME, "a")
        async with SimulatorStack(vendors=[], state_file=file):
            pass  # a start without the vendor must not lose what it had
        async with (
            SimulatorStack(vendors=[DemoVendor()], state_file=file) as stack,
            Control(stack.control_url) as control,
        ):
            assert await control.records(NAME, "a") == before
            assert await control.clock("a") == "2040-01-01T00:00:00+00:00"
            assert stack.world.account(NAME, "a").extra == {"cursor": 7}
            made = await control.put_record(NAME, "a", "thing", {})
            assert (made["id"], made["seq"]) == ("thing-003", 3)

    async def test_the_command_serves_until_it_is_told_to_stop(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "simulators", "--state-file", str(file),
            cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            urls = json.loads(line)
            async with Control(urls.pop("control")) as control:
                assert await control.vendors() == urls
        finally:
            os.kill(process.pid, signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert set(json.loads(file.read_text())) == {"clocks", "vendors"}


class TestRecordStore:
    def test_restore_takes_back_inserts_changes_keys_and_deletions(self) -> None:
        store = RecordStore(Clock(), number_id)
        old = store.insert("t", {"a": 1}, "k-old")
        snapshot = store.snapshot()
        inner = store.snapshot()
        store.update(old, {"a": 2, "b": 3})
        store.restore(inner)
        assert old.fields == {"a": 1}
        new = store.insert("t", {}, "k-new")
        store.set_key(old, "k-other")
        store.delete(old)
        assert (store.by_key("t", "k-old"), store.get("t", old.id)) == (None, None)
        store.restore(snapshot)
        assert store.list("t") == [old]
        assert store.by_key("t", "k-old") is old
        assert (store.by_key("t", "k-new"), store.get("t", new.id, dead=True)) == (None, None)

    def test_a_taken_id_is_skipped_or_refused(self) -> None:
        store = RecordStore(Clock(), number_id)
        store.delete(store.insert("t", {}, id="1"))
        assert store.insert("t", {}).id == "2"
        with pytest.raises(ValueError, match="t 1 exists already"):
            store.insert("t", {}, id="1")

    def test_the_call_log_forgets_the_oldest(self) -> None:
        log = CallLog(length_max=2)
        call = Call(
            method="GET", path="/", raw_path="/", query_string="a=1&a=2",
            query_pairs=[("a", "1"), ("a", "2")], headers={}, body=b"", params={}, origin="",
        )  # fmt: skip
        for _ in range(3):
            log.open(call, Clock().now(), search=False)
        assert [entry.n for entry in log.since()] == [2, 3]
        assert call.query == {"a": "1"}

    def test_an_index_follows_every_change_and_its_undoing(self) -> None:
        store = RecordStore(Clock(), number_id)
        first = store.insert("t", {"owner": "a"})
        store.add_index("t", "owner", lambda fields: [str(fields["owner"])])
        second = store.insert("t", {"owner": "a"})
        snapshot = store.snapshot()
        store.update(first, {"owner": "b"})
        store.delete(second)
        third = store.insert("t", {"owner": "b"})
        assert store.indexed("t", "owner", "a") == []
        assert store.indexed("t", "owner", "b") == [first, third]
        store.restore(snapshot)
        assert store.indexed("t", "owner", "a") == [first, second]
        assert store.indexed("t", "owner", "b") == []
        store.load(store.dump())
        assert [row.id for row in store.indexed("t", "owner", "a")] == [first.id, second.id]
