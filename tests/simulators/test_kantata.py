"""Kantata OX on the wire, against what its vendor page says."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from simulators.kantata import VENDOR
from simulators.kit import SimulatorStack
from simulators.kit.control import Control, ControlRefused

NAME = "kantata"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_numbers = itertools.count(1)


@dataclass
class Org:
    """One account: its API, and what a test may do beside it."""

    account: str
    http: httpx.AsyncClient
    control: Control
    credentials: dict[str, str]

    async def send(self, method: str, path: str, expect: int = 200, **kw: Any) -> Any:
        response = await self.http.request(method, f"/api/v1/{path}", **kw)
        assert response.status_code == expect, response.text
        assert response.headers["x-request-id"]
        if expect == 204:
            assert response.content == b""
            return None
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        return response.json()

    async def get(self, path: str, expect: int = 200, **params: Any) -> Any:
        return await self.send("GET", path, expect, params=params)

    async def post(self, path: str, body: Any, expect: int = 200, **params: Any) -> Any:
        return await self.send("POST", path, expect, json=body, params=params)

    async def put(self, path: str, body: Any, expect: int = 200) -> Any:
        return await self.send("PUT", path, expect, json=body)

    async def delete(self, path: str, expect: int = 204) -> Any:
        return await self.send("DELETE", path, expect)

    async def make(self, collection: str, singular: str, **fields: Any) -> Any:
        return only(await self.post(collection, {singular: fields}))

    async def workspace(self, **fields: Any) -> Any:
        return await self.make("workspaces", "workspace", **{"title": "Rollout", **fields})

    async def story(self, workspace: Any, **fields: Any) -> Any:
        given = {"title": "Task", "story_type": "task", "workspace_id": workspace["id"], **fields}
        return await self.make("stories", "story", **given)

    async def milestone(self, workspace: Any, **fields: Any) -> Any:
        given = {"title": "One", "amount_in_cents": 100, "workspace_id": workspace["id"], **fields}
        return await self.make("billing_milestones", "billing_milestone", **given)

    async def log_time(self, workspace: Any, **fields: Any) -> Any:
        given = {"date_performed": "2026-12-01", "time_in_minutes": 90, **fields}
        return await self.make("time_entries", "time_entry", workspace_id=workspace["id"], **given)

    async def invoice(self, workspace: Any, **fields: Any) -> Any:
        given = {"payment_schedule": 30, "workspace_id": workspace["id"], "draft": True, **fields}
        return await self.make("invoices", "invoice", **given)


@pytest.fixture(name="stack", scope="module")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as stack:
        yield stack


@pytest.fixture(name="control", scope="module")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        yield control


@pytest.fixture(name="org")
async def make_org(stack: SimulatorStack, control: Control) -> AsyncIterator[Org]:
    async with open_org(stack, control) as org:
        await control.seed("standard", account=org.account)
        yield org


@asynccontextmanager
async def open_org(stack: SimulatorStack, control: Control) -> AsyncIterator[Org]:
    account = f"k.{next(_numbers)}"
    credentials = await control.credentials(NAME, account)
    headers = {"Authorization": f"Bearer {credentials['token']}"}
    plain = httpx.AsyncHTTPTransport(verify=False)
    url = stack.urls[NAME]
    async with httpx.AsyncClient(base_url=url, headers=headers, transport=plain) as http:
        yield Org(account, http, control, credentials)


def rows(answer: Any) -> list[Any]:
    return [answer[result["key"]][result["id"]] for result in answer["results"]]


def only(answer: Any) -> Any:
    (row,) = rows(answer)
    return row


def titles(answer: Any) -> list[str]:
    return [row["title"] for row in rows(answer)]


def refs(ref: str, service: str = "dealthread-saga", **more: Any) -> dict[str, Any]:
    return {
        "service_name": service,
        "service_model": "project",
        "service_model_ref": ref,
        "status": "successful",
        **more,
    }


def problem(answer: Any) -> tuple[str, str | None]:
    (error,) = answer["errors"]
    return error["type"], error.get("field")


async def by_ref(org: Org, collection: str, ref: str, **more: Any) -> list[Any]:
    wanted = {
        "external_reference_service_name": "dealthread-saga",
        "external_reference_service_model_refs": ref,
    }
    return rows(await org.get(collection, **{**wanted, **more}))


# Sign-in.


async def test_a_missing_or_wrong_token_is_401_in_the_vendors_words(org: Org) -> None:
    body = {"errors": [{"type": "oauth", "message": "Invalid OAuth 2 Request"}]}
    for header in ("", "Bearer nonsense", "Bearer kp.x.0.abc", "Basic abc"):
        answer = await org.send("GET", "users/me", 401, headers={"Authorization": header})
        assert answer == body


async def test_the_personal_token_is_the_administrators(org: Org) -> None:
    me = only(await org.get("users/me"))
    assert (me["id"], me["email_address"]) == ("2", "integration@dealthread.example")
    await org.control.clock(org.account, advance_seconds=10 * 365 * 86400)
    await org.get("users/me")  # tokens never expire
    await org.control.patch_record(NAME, org.account, "users", "2", {"disabled": True})
    await org.get("users/me", 401)


async def test_a_code_is_exchanged_once_and_within_five_minutes(org: Org) -> None:
    client = {key: org.credentials[key] for key in ("client_id", "redirect_uri")}

    async def code() -> str:
        asked = {"response_type": "code", "state": "s1", **client}
        answer = await org.http.get("/oauth/authorize", params=asked)
        assert answer.status_code == 302
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        assert query["state"] == ["s1"]
        return query["code"][0]

    async def exchange(code: str, **changes: str) -> httpx.Response:
        secret = {"client_secret": org.credentials["client_secret"]}
        form = {"grant_type": "authorization_code", "code": code, **client, **secret, **changes}
        return await org.http.post("/oauth/token", data=form)

    fresh = await code()
    wrong = await exchange(fresh, client_secret="wrong")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    odd = await exchange(fresh, grant_type="password")
    assert (odd.status_code, odd.json()["error"]) == (400, "unsupported_grant_type")
    good = await exchange(fresh)
    assert good.json()["token_type"] == "bearer"
    again = await exchange(fresh)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    late = await code()
    await org.control.clock(org.account, advance_seconds=301)
    assert (await exchange(late)).json()["error"] == "invalid_grant"

    token = good.json()["access_token"]
    bearer = {"Authorization": f"bearer {token}"}
    assert only(await org.send("GET", "users/me", headers=bearer))["id"] == "2"
    form = {"token": token, "client_secret": org.credentials["client_secret"], **client}
    assert (await org.http.post("/oauth/revoke", data=form)).status_code == 200
    await org.send("GET", "users/me", 401, headers=bearer)


# The envelope.


async def test_results_keep_the_order_and_objects_are_keyed_by_string_id(org: Org) -> None:
    made = [await org.workspace(title=f"W{n}") for n in range(3)]
    answer = await org.get("workspaces.json", order="created_at:asc", include="primary_maven,nix")
    wanted = [{"key": "workspaces", "id": each["id"]} for each in made]
    assert (answer["count"], answer["results"]) == (3, wanted)
    assert answer["users"]["2"]["full_name"] == "Integration Admin"
    assert answer["meta"] == {"count": 3, "page_count": 1, "page_number": 1, "page_size": 20}
    shown = answer["workspaces"][made[0]["id"]]
    assert shown["id"] == made[0]["id"]
    assert shown["primary_maven_id"] == "2"
    assert "participant_ids" not in shown
    assert shown["created_at"].endswith("-07:00")


async def test_pages_limits_and_the_empty_list(org: Org) -> None:
    empty = await org.get("workspaces", include="participants")
    assert empty == {
        "count": 0,
        "results": [],
        "workspaces": {},
        "users": {},
        "meta": {"count": 0, "page_count": 0, "page_number": 0, "page_size": 20},
    }
    bulk = {"workspaces": [{"title": f"W{n}"} for n in range(7)]}
    assert titles(await org.post("workspaces", bulk)) == [f"W{n}" for n in range(7)]
    asked: dict[str, Any] = {"order": "title:asc"}
    page = await org.get("workspaces", page=2, per_page=3, **asked)
    assert titles(page) == ["W3", "W4", "W5"]
    assert page["meta"] == {"count": 7, "page_count": 3, "page_number": 2, "page_size": 3}
    beyond = await org.get("workspaces", page=9, per_page=3, **asked)
    assert (beyond["results"], beyond["count"]) == ([], 7)
    part = await org.get("workspaces", limit=2, offset=4, page=1, per_page=7, **asked)
    assert titles(part) == ["W4", "W5"]
    assert titles(await org.get("workspaces", limit=2, **asked)) == [f"W{n}" for n in range(7)]
    assert (await org.get("workspaces", per_page=5000))["meta"]["page_size"] == 200


async def test_only_drops_missing_ids_and_unknown_parameters_do_nothing(org: Org) -> None:
    first, second = await org.workspace(title="A"), await org.workspace(title="B")
    answer = await org.get("workspaces", only=f"{first['id']},999")
    assert titles(answer) == ["A"]
    await org.control.clock(org.account, advance_seconds=60)
    await org.put(f"workspaces/{first['id']}", {"workspace": {"description": "newer"}})
    unknown = await org.get("workspaces", frobnicate="1", order="nonsense:asc", include="moon")
    assert titles(unknown) == ["A", "B"]
    assert set(unknown) == {"count", "results", "workspaces", "meta"}
    assert titles(await org.get("workspaces", updated_after=second["created_at"])) == ["A"]
    assert titles(await org.get("workspaces", search="b")) == ["B"]
    bad = await org.get("workspaces", 400, created_after="soon")
    assert problem(bad) == ("syntax", None)


async def test_optional_fields_come_only_when_asked_for(org: Org) -> None:
    made = await org.workspace(budgeted=True, price=10)
    assert "budget_remaining" not in made
    path = f"workspaces/{made['id']}"
    shown = only(await org.get(path, optional_fields="budget_remaining"))
    assert shown["budget_remaining"] == "$10"


async def test_unknown_ids_paths_and_methods_are_404(org: Org) -> None:
    for path in ("workspaces/1", "workspaces/abc", "nothing", "users/me/shoes"):
        assert problem(await org.get(path, 404))[0] == "system"
    await org.post("users", {"user": {"full_name": "X"}}, 404)
    await org.post("rate_cards", {"rate_card": {}}, 404)
    assert (await org.http.get("/nowhere")).json()["errors"][0]["type"] == "system"


# Bodies.


async def test_malformed_bodies_and_missing_roots_are_400(org: Org) -> None:
    json_type = {"Content-Type": "application/json"}
    for content in ("{", "[1]", '{"title":"x"}', '{"workspace":1}', ""):
        answer = await org.send("POST", "workspaces", 400, content=content, headers=json_type)
        assert problem(answer)[0] == "syntax"
    text = {"Content-Type": "text/plain"}
    await org.send("POST", "workspaces", 400, content='{"workspace":{"title":"x"}}', headers=text)
    too_many = {"billing_milestones": [{"title": "x"}] * 101}
    await org.post("billing_milestones", too_many, 400)
    await org.post("workspace_groups", {"workspace_groups": [{"name": "no bulk here"}]}, 400)


async def test_rails_forms_are_read_with_nested_lists_and_typed_values(org: Org) -> None:
    form = (
        "workspace[title]=Acme+%26+Co&workspace[budgeted]=true&workspace[price]=1250.50"
        "&workspace[time_trackable]=0&workspace[approver_ids][]=2&workspace[approver_ids][]=3"
        "&workspace[custom_fields][][custom_field_id]=31&workspace[custom_fields][][value]=k-1"
        "&workspace[external_reference][service_name]=dealthread-saga"
        "&workspace[external_reference][service_model]=project"
        "&workspace[external_reference][service_model_ref]=k-1&workspace[due_date]="
    )
    made = only(await org.send("POST", "workspaces", content=form, headers=FORM))
    assert (made["title"], made["price_in_cents"]) == ("Acme & Co", 125050)
    assert (made["budgeted"], made["time_trackable"], made["due_date"]) == (True, False, None)
    (found,) = await by_ref(org, "workspaces", "k-1", include="approvers,custom_field_values")
    assert found["approver_ids"] == ["2", "3"]
    milestones = "&".join(
        f"billing_milestones[{n}][title]=M{n}&billing_milestones[{n}][amount_in_cents]={n}"
        f"&billing_milestones[{n}][workspace_id]={made['id']}"
        for n in range(3)
    )
    answer = await org.send("POST", "billing_milestones", content=milestones, headers=FORM)
    assert [row["amount_in_cents"] for row in rows(answer)] == [0, 1, 2]
    update = "workspace[title]=New"
    changed = await org.send("PUT", f"workspaces/{made['id']}", content=update, headers=FORM)
    assert only(changed)["title"] == "New"


async def test_the_same_field_twice_starts_the_next_object_of_a_form_list(org: Org) -> None:
    workspace = await org.workspace()
    form = (
        f"story[title]=P&story[story_type]=task&story[workspace_id]={workspace['id']}"
        "&story[sub_stories][][title]=A&story[sub_stories][][story_type]=task"
        "&story[sub_stories][][title]=B&story[sub_stories][][story_type]=issue"
    )
    params = {"include": "sub_stories"}
    answer = await org.send("POST", "stories", content=form, headers=FORM, params=params)
    parent = only(answer)
    below = [answer["stories"][id_] for id_ in parent["sub_story_ids"]]
    assert [(row["title"], row["state"]) for row in below] == [("A", "not started"), ("B", "new")]


# External references.


async def test_a_reference_inline_finds_its_subject_again(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    await org.workspace(title="Other", external_reference=refs("dt-2"))
    assert [row["id"] for row in await by_ref(org, "workspaces", "dt-1,dt-9")] == [made["id"]]
    assert await by_ref(org, "workspaces", "dt-9") == []
    await org.get("workspaces", 400, external_reference_service_model_ref="dt-1")
    many = ",".join(str(n) for n in range(201))
    await org.get("workspaces", 400, external_reference_service_model_refs=many)
    answer = await org.get(f"workspaces/{made['id']}", include="external_references")
    (reference,) = answer["external_references"].values()
    assert only(answer)["external_reference_ids"] == [reference["id"]]
    assert reference["subject_ref"] == {"key": "workspaces", "id": made["id"]}
    record = (await org.control.records(NAME, org.account, "workspaces", "dt-1"))[0]
    assert (record["id"], record["live"]) == (made["id"], True)


async def test_one_reference_per_subject_and_service(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    subject = {"subject_type": "Workspace", "subject_id": made["id"]}
    path = "external_references/create_or_update"
    erp = only(await org.post(path, {"external_reference": {**subject, **refs("P-1", "erp")}}))
    changed = only(await org.post(path, {"external_reference": {**subject, **refs("P-2", "erp")}}))
    assert (changed["id"], changed["service_model_ref"]) == (erp["id"], "P-2")
    listed = rows(await org.get("external_references", subject_type="Workspace"))
    assert sorted(row["service_model_ref"] for row in listed) == ["P-2", "dt-1"]
    # Not unique over subjects.
    await org.workspace(title="Twin", external_reference=refs("dt-1"))
    assert len(await by_ref(org, "workspaces", "dt-1")) == 2
    without: dict[str, Any] = {"without_external_reference_service_name": "erp"}
    assert titles(await org.get("workspaces", **without)) == ["Twin"]
    await org.delete(f"external_references/{erp['id']}")
    await org.delete(f"external_references/{erp['id']}", 404)
    assert len(rows(await org.get("workspaces", has_external_references="true"))) == 2
    await org.get("external_references", 400)
    await org.get("external_references", 400, subject_type="Moon")


async def test_a_reference_that_is_not_whole_creates_nothing(org: Org) -> None:
    body = {"workspace": {"title": "X", "external_reference": {"service_name": "s"}}}
    answer = await org.post("workspaces", body, 422)
    fields = {error["field"] for error in answer["errors"]}
    assert fields == {"external_reference.service_model", "external_reference.service_model_ref"}
    assert (await org.get("workspaces"))["count"] == 0
    unknown = {"external_reference": {"subject_type": "Story", "subject_id": "1", **refs("x")}}
    path = "external_references/create_or_update"
    assert problem(await org.post(path, unknown, 422)) == ("validation", "subject_id")


# Workspaces.


async def test_create_validates_and_names_every_field(org: Org) -> None:
    body = {
        "title": "",
        "budgeted": "perhaps",
        "start_date": "2026-02-30",
        "access_level": "secret",
        "rate_card_id": "99",
        "status_key": 1,
    }
    answer = await org.post("workspaces", {"workspace": body}, 422)
    assert {error["field"] for error in answer["errors"]} == set(body) - {"status_key"}
    assert {error["type"] for error in answer["errors"]} == {"validation"}
    for wrong in (
        {"budgeted": True},
        {"title": "x" * 256},
        {"price": "much"},
        {"status_key": 1},
        {"project_tracker_template_id": "1"},
        {"participations": [{"user_id": "77"}]},
    ):
        await org.post("workspaces", {"workspace": {"title": "T", **wrong}}, 422)
    assert (await org.get("workspaces"))["count"] == 0


async def test_the_rate_cards_currency_rules_and_yen_have_no_cents(org: Org) -> None:
    made = await org.workspace(
        budgeted=True, price="8000000", currency="USD", rate_card_id=8, primary_maven_id=3
    )
    assert (made["currency"], made["currency_base_unit"]) == ("JPY", 1)
    assert (made["price"], made["price_in_cents"]) == ("¥8,000,000", 8000000)
    assert (await org.workspace())["price"] == "TBD"
    path = f"workspaces/{made['id']}"
    answer = await org.get(path, include="participants")
    assert only(answer)["participant_ids"] == ["2", "3"]
    path = f"workspaces/{(await org.workspace(currency='EUR'))['id']}"
    assert only(await org.put(path, {"workspace": {"currency": "GBP"}}))["currency"] == "GBP"
    await org.milestone({"id": path.partition("/")[2]})
    refused = await org.put(path, {"workspace": {"currency": "EUR"}}, 422)
    assert problem(refused) == ("validation", "currency")


async def test_a_template_copies_its_stories_with_dates(org: Org) -> None:
    made = await org.workspace(
        project_tracker_template_id="77", project_template_start_date="2026-12-01"
    )
    found = rows(await org.get("stories", workspace_id=made["id"], order="created_at:asc"))
    assert len(found) == 8
    assert found[0]["title"] == "Discovery"
    assert (found[0]["start_date"], found[0]["due_date"]) == ("2026-12-01", "2026-12-22")
    assert {row["parent_id"] for row in found[1:3]} == {found[0]["id"]}
    again = {"workspace": {"project_tracker_template_id": "77"}}
    await org.put(f"workspaces/{made['id']}/apply_template", again)
    assert (await org.get("stories", workspace_id=made["id"]))["count"] == 16
    await org.put(f"workspaces/{made['id']}/apply_template", {"workspace": {}}, 422)


async def test_archived_workspaces_are_hidden_even_by_id(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    path = f"workspaces/{made['id']}"
    changed = only(await org.put(path, {"workspace": {"archived": True, "id": "5"}}))
    assert (changed["archived"], changed["id"]) == (True, made["id"])
    await org.get(path, 404)
    assert await by_ref(org, "workspaces", "dt-1") == []
    assert len(await by_ref(org, "workspaces", "dt-1", include_archived="true")) == 1
    assert only(await org.get(path, include_archived="true"))["archived"] is True
    assert (await org.get("workspaces", archived="true"))["count"] == 1
    await org.get("workspaces", 400, include_archived="perhaps")
    await org.put(path, {"workspace": {"archived": False}})
    await org.get(path)


@pytest.mark.parametrize("use", ["time", "expense", "invoice"])
async def test_a_used_workspace_is_not_deleted(org: Org, use: str) -> None:
    made = await org.workspace()
    if use == "time":
        row = ("time_entries", await org.log_time(made))
    elif use == "expense":
        given = {"date": "2026-12-01", "amount_in_cents": 5, "category": "Travel"}
        expense = await org.make("expenses", "expense", workspace_id=made["id"], **given)
        assert expense["is_billable"] is True
        row = ("expenses", expense)
    else:
        items = [{"notes": "x", "amount": "10.00"}]
        row = ("invoices", await org.invoice(made, additional_items=items))
    refused = await org.delete(f"workspaces/{made['id']}", 422)
    assert problem(refused)[0] == "validation"
    await org.delete(f"{row[0]}/{row[1]['id']}")
    await org.delete(f"workspaces/{made['id']}")


async def test_a_delete_takes_everything_below_with_it(org: Org) -> None:
    key = [{"custom_field_id": "31", "value": "dt-1"}]
    made = await org.workspace(
        project_tracker_template_id=78, external_reference=refs("dt-1"), custom_fields=key
    )
    await org.milestone(made)
    await org.delete(f"workspaces/{made['id']}")
    await org.delete(f"workspaces/{made['id']}", 404)
    left = [row for row in await org.control.records(NAME, org.account) if row["live"]]
    master = {
        *("rate_limits", "users", "custom_fields", "roles"),
        *("rate_card_sets", "rate_cards", "project_templates"),
    }
    assert {row["type"] for row in left} == master
    await org.workspace(custom_fields=key)  # the value is free again


# Custom fields.


async def test_a_unique_custom_field_refuses_a_second_subject(org: Org) -> None:
    key = [{"custom_field_id": 31, "value": "dt-1"}]
    made = await org.workspace(custom_fields=key)
    body = {"workspace": {"title": "Twin", "custom_fields": key}}
    assert problem(await org.post("workspaces", body, 422)) == ("validation", "value")
    assert (await org.get("workspaces"))["count"] == 1
    await org.put(f"workspaces/{made['id']}", {"workspace": {"archived": True}})
    await org.post("workspaces", body, 422)  # an archived one counts too
    wrong = {"workspace": {"title": "X", "custom_fields": [{"custom_field_id": 32, "value": "x"}]}}
    assert problem(await org.post("workspaces", wrong, 422)) == ("validation", "custom_field_id")


async def test_custom_field_values_by_type(org: Org) -> None:
    made = await org.workspace()
    subject = {"subject_type": "Workspace", "subject_id": made["id"]}

    async def field(value_type: str) -> Any:
        given = {"name": value_type, "subject_type": "Workspace", "value_type": value_type}
        return await org.make("custom_fields", "custom_field", **given)

    single = await field("single")
    choice = await org.make(
        "custom_field_choices", "custom_field_choice", label="High", custom_field_id=single["id"]
    )
    good: dict[str, Any] = {
        "date": ("2026-01-31", "2026-01-31"),
        "number": (2.5, "2.5"),
        "currency": ([12345, "USD"], "$123.45"),
        "single": ([choice["id"]], "High"),
        "string": ("abc", "abc"),
    }
    bad: dict[str, Any] = {
        "date": "soon",
        "number": "two",
        "currency": [1, "EUX"],
        "single": ["1"],
        "string": "",
    }
    path = "custom_field_values"
    for value_type, (value, shown) in good.items():
        id_ = single["id"] if value_type == "single" else (await field(value_type))["id"]
        body = {**subject, "custom_field_id": id_, "value": bad[value_type]}
        assert problem(await org.post(path, {"custom_field_value": body}, 422))[1] == "value"
        body["value"] = value
        row = only(await org.post(path, {"custom_field_value": body}))
        assert (row["value"], row["display_value"], row["type"]) == (value, shown, value_type)
        assert (row["account_id"], row["setter_id"]) == ("1", "2")
        again = await org.post(path, {"custom_field_value": body}, 422)
        assert problem(again)[1] == "custom_field_id"
    await org.get(path, 400)
    listed = await org.get(path, subject_type="Workspace", with_subject_id=made["id"])
    assert listed["count"] == 5
    await org.put(f"{path}/{row['id']}", {"custom_field_value": {"value": "new"}})
    await org.delete(f"{path}/{row['id']}")
    await org.get(f"{path}/{row['id']}", 404)


# Clients and people.


async def test_workspaces_outlive_their_group(org: Org) -> None:
    made = await org.make("workspace_groups", "workspace_group", name="Acme", company=True)
    await org.make("workspace_groups", "workspace_group", name="Acme")  # names may repeat
    project = await org.workspace(primary_workspace_group_id=made["id"])
    answer = await org.get("workspaces", primary_workspace_group=made["id"])
    assert only(answer)["id"] == project["id"]
    shown = only(await org.get(f"workspace_groups/{made['id']}", include="workspaces"))
    assert shown["workspace_ids"] == [project["id"]]
    other = await org.workspace(title="Other")
    add = {"workspace_group": {"add_workspace_ids": [other["id"]]}}
    await org.put(f"workspace_groups/{made['id']}", add)
    assert (await org.get("workspaces", workspace_groups=made["id"]))["count"] == 2
    await org.delete(f"workspace_groups/{made['id']}")
    left = only(await org.get(f"workspaces/{project['id']}", include="workspace_groups"))
    assert (left["primary_workspace_group_id"], left["workspace_group_ids"]) == (None, [])
    await org.post("workspace_groups", {"workspace_group": {"company": True}}, 422)


async def test_users_are_found_by_mail_and_join_projects_once(org: Org) -> None:
    maya = only(await org.get("users", by_email_address="Maya.Chen@example.com"))
    assert (maya["id"], maya["disabled"]) == ("3", False)
    assert rows(await org.get("users", by_email_address="nobody@example.com")) == []
    made = await org.workspace(participations=[{"user_id": "3", "access": "admin"}])
    members = rows(await org.get("participations", workspace_id=made["id"], order="id:asc"))
    assert [(row["user_id"], row["access_level"]) for row in members] == [
        ("2", "collaborator"),
        ("3", "admin"),
    ]
    body = {"participation": {"workspace_id": made["id"], "user_id": "3"}}
    assert problem(await org.post("participations", body, 422))[1] == "user_id"
    await org.put(f"participations/{members[1]['id']}", {"participation": {"rate_in_cents": 12000}})
    entry = await org.log_time(made, user_id="3")
    assert entry["rate_in_cents"] == 12000
    await org.delete(f"participations/{members[1]['id']}", 422)
    shown = only(await org.get(f"workspaces/{made['id']}"))
    assert (shown["budget_used_in_cents"], shown["budget_used"]) == (18000, "$180")


# Stories.


async def test_nested_stories_are_one_write(org: Org) -> None:
    made = await org.workspace()
    below = [
        {"title": f"L{n}", "story_type": "task", "external_reference": refs(f"dt-l{n}")}
        for n in range(2)
    ]
    parent = await org.story(made, sub_stories=below, external_reference=refs("dt-p"))
    (found,) = await by_ref(org, "stories", "dt-l1")
    assert (found["parent_id"], found["root_id"]) == (parent["id"], parent["id"])
    assert (await org.get("stories", parents_only="true"))["count"] == 1
    assert (await org.get("stories", with_parent_id=parent["id"]))["count"] == 2
    below.append({"title": "no type"})
    body = {"title": "P", "story_type": "task", "workspace_id": made["id"], "sub_stories": below}
    refused = await org.post("stories", {"story": body}, 422)
    assert problem(refused)[1] == "sub_stories.story_type"
    assert (await org.get("stories"))["count"] == 3
    call = (await org.control.calls(NAME, org.account))[1]
    assert [effect["key"] for effect in call["effects"]] == ["dt-p", "dt-l0", "dt-l1"]


async def test_story_rules(org: Org) -> None:
    made, other = await org.workspace(tasks_default_non_billable=True), await org.workspace()
    story = await org.story(made)
    assert (story["billable"], story["state"]) == (False, "not started")
    path = f"stories/{story['id']}"
    done = only(await org.put(path, {"story": {"percentage_complete": 100}}))
    assert done["state"] == "completed"
    assert rows(await org.get("stories", uncompleted="true")) == []
    assert problem(await org.put(path, {"story": {"state": "fixed"}}, 422))[1] == "state"
    assert problem(await org.put(path, {"story": {"parent_id": story["id"]}}, 422))[1]
    for wrong in (
        {"title": "x" * 201},
        {"story_type": "epic"},
        {"workspace_id": "1"},
        {"workspace_id": other["id"], "parent_id": story["id"]},
        {"budget_estimate_in_cents": 1.5},
    ):
        body = {"title": "T", "story_type": "task", "workspace_id": made["id"], **wrong}
        assert problem(await org.post("stories", {"story": body}, 422))[0] == "validation"
    await org.put(path, {"story": {"archived": True}})
    await org.get(path, 404)
    assert (await org.get("stories", show_archived="true"))["count"] == 1


async def test_story_deletion_is_soft_takes_children_and_stops_once_time_is_logged(
    org: Org,
) -> None:
    made = await org.workspace()
    below = [{"title": "Below", "story_type": "task"}]
    parent = await org.story(made, sub_stories=below, external_reference=refs("dt-p"))
    (child,) = rows(await org.get("stories", with_parent_id=parent["id"]))
    entry = await org.log_time(made, story_id=child["id"])
    assert problem(await org.delete(f"stories/{parent['id']}", 422))[0] == "validation"
    await org.delete(f"time_entries/{entry['id']}")
    await org.delete(f"stories/{parent['id']}")
    await org.get(f"stories/{parent['id']}", 404)
    assert await by_ref(org, "stories", "dt-p") == []
    gone = rows(await org.get("stories", workspace_id=made["id"], show_deleted="true"))
    assert len(gone) == 2
    assert all(row["deleted_at"] for row in gone)


# Milestones, time, invoices.


async def test_billing_milestones_in_bulk_are_all_or_nothing(org: Org) -> None:
    made = await org.workspace(rate_card_id="6")
    good = {"title": "M", "amount_in_cents": 7500000, "workspace_id": made["id"]}
    several = [
        good,
        {**good, "amount_in_cents": "1.5"},
        {**good, "billing_type": "upon_completion"},
    ]
    refused = await org.post("billing_milestones", {"billing_milestones": several}, 422)
    assert [(e["index"], e["field"]) for e in refused["errors"]] == [
        (1, "amount_in_cents"),
        (2, "story_id"),
    ]
    assert (await org.get("billing_milestones"))["count"] == 0
    several = [{**good, "title": f"M{n}", "external_reference": refs(f"m{n}")} for n in range(3)]
    answer = await org.post("billing_milestones", {"billing_milestones": several})
    assert titles(answer) == ["M0", "M1", "M2"]
    assert {row["currency"] for row in rows(answer)} == {"EUR"}
    found = await by_ref(org, "billing_milestones", "m0,m2", workspace_id=made["id"])
    assert len(found) == 2
    path = f"billing_milestones/{found[0]['id']}"
    body = {"amount_in_cents": -5, "workspace_id": "1"}
    changed = only(await org.put(path, {"billing_milestone": body}))
    assert (changed["amount_in_cents"], changed["workspace_id"]) == (-5, made["id"])


async def test_time_needs_a_workspace_open_for_it(org: Org) -> None:
    made = await org.workspace(time_trackable=False)
    body: Any = {"workspace_id": made["id"], "date_performed": "2026-12-01", "time_in_minutes": 60}
    refused = await org.post("time_entries", {"time_entry": body}, 422)
    assert problem(refused) == ("validation", "workspace_id")
    with pytest.raises(ControlRefused, match="time tracking"):
        await org.control.put_record(NAME, org.account, "time_entries", {**body, "user_id": "3"})
    await org.put(f"workspaces/{made['id']}", {"workspace": {"time_trackable": True}})
    answer = await org.post("time_entries", {"time_entries": [body, {**body, "user_id": "4"}]})
    assert [row["user_id"] for row in rows(answer)] == ["2", "4"]
    assert {row["approved"] for row in rows(answer)} == {True}
    await org.post("time_entries", {"time_entry": {**body, "time_in_minutes": 1.5}}, 422)
    await org.post("time_entries", {"time_entry": {**body, "story_id": "1"}}, 422)
    ids = ",".join(row["id"] for row in rows(answer))
    await org.delete(f"time_entries?ids={ids},1", 404)
    assert (await org.get("time_entries", workspace_id=made["id"]))["count"] == 2
    await org.delete(f"time_entries?ids={ids}")


async def test_time_filters(org: Org) -> None:
    made = await org.workspace(require_time_approvals=True)
    user: Any = {"full_name": "Client", "email_address": "c@example.com", "account_id": "77"}
    client = await org.control.put_record(NAME, org.account, "users", user)
    await org.log_time(made, user_id=client["id"], date_performed="2026-11-30")
    entry = await org.log_time(made)
    assert entry["approved"] is False
    assert [row["id"] for row in rows(await org.get("time_entries"))] == [entry["id"]]
    assert (await org.get("time_entries", on_my_account="false"))["count"] == 2
    assert (await org.get("time_entries", approved="false"))["count"] == 0  # fires on any value
    november: dict[str, Any] = {
        "date_performed_between": "2026-11-01:2026-11-30",
        "on_my_account": "false",
    }
    assert (await org.get("time_entries", **november))["count"] == 1
    await org.get("time_entries", 400, date_performed_between="november")
    await org.put(f"workspaces/{made['id']}", {"workspace": {"archived": True}})
    assert (await org.get("time_entries"))["count"] == 0
    assert (await org.get("time_entries", from_archived_workspaces="true"))["count"] == 1


async def test_invoices_claim_their_items_and_free_them(org: Org) -> None:
    made = await org.workspace()
    entry, milestone = await org.log_time(made, rate_in_cents=10000), await org.milestone(made)
    items = {"time_entry_ids": [entry["id"]], "billing_milestone_ids": [milestone["id"]]}
    draft = await org.invoice(made, **items, user_invoice_number=1042)
    assert (draft["title"], draft["status"]) == ("Draft Invoice #1042", "new")
    assert (draft["balance_in_cents"], draft["expense_ids"]) == (15100, [])
    assert (await org.get("invoices/next_invoice_number")) == {"next_invoice_number": 1043}
    body = {"workspace_id": made["id"], "payment_schedule": 30, **items}
    twice = await org.post("invoices", {"invoice": body}, 422)
    assert {e["field"] for e in twice["errors"]} == set(items)
    await org.delete(f"billing_milestones/{milestone['id']}", 422)
    await org.delete(f"time_entries/{entry['id']}", 422)
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"notes": "x"}}, 422)
    assert (await org.get("time_entries", uninvoiced="true"))["count"] == 0
    path = f"invoices/{draft['id']}"
    await org.put(f"{path}/cancel", {}, 422)
    await org.put(path, {"invoice": {"time_entry_ids": []}})  # a list replaces the old one
    assert (await org.get("time_entries", uninvoiced="true"))["count"] == 1
    issued = only(await org.put(path, {"invoice": {"draft": False}}))
    assert issued["title"] == "Invoice #1042"
    await org.delete(path, 422)
    assert only(await org.put(f"{path}/cancel", {}))["status"] == "cancelled"
    await org.put(f"{path}/cancel", {}, 422)
    shown = only(await org.get(f"billing_milestones/{milestone['id']}"))
    assert (shown["invoice_id"], shown["invoice_ids"]) == (None, [draft["id"]])
    await org.delete(f"billing_milestones/{milestone['id']}")
    empty = {"workspace_id": made["id"], "payment_schedule": 30}
    assert problem(await org.post("invoices", {"invoice": empty}, 422))[1] == "base"


# Faults, limits, accounts, seeds.


@pytest.mark.parametrize(
    ("kind", "status", "type_", "created"),
    [
        ("reject", 422, "validation", 0),
        ("fail_before", 503, "system", 0),
        ("fail_after", 500, "system", 1),
        ("rate_limit", 429, "system", 0),
        ("expire_auth", 401, "oauth", 0),
    ],
)
async def test_faults_in_the_vendors_form(
    org: Org, kind: str, status: int, type_: str, created: int
) -> None:
    match: Any = {"method": "POST", "path": "/workspaces$", "key": "dt-1"}
    await org.control.add_fault(NAME, org.account, match, kind, retry_after=7)
    await org.workspace(title="Not met", external_reference=refs("dt-0"))
    body = {"workspace": {"title": "Met", "external_reference": refs("dt-1")}}
    response = await org.http.post("/api/v1/workspaces", json=body)
    assert response.status_code == status
    assert response.json()["errors"][0]["type"] == type_
    assert not {name for name in response.headers if "retry" in name or "limit" in name}
    assert len(await by_ref(org, "workspaces", "dt-1")) == created
    (fault,) = await org.control.faults(NAME, org.account)
    assert fault["hits"] == 1


async def test_dropped_held_and_stale(org: Org) -> None:
    control, account = org.control, org.account
    body = {"workspace": {"title": "X", "external_reference": refs("dt-1")}}
    for kind, count in (("drop_before", 0), ("drop_after", 1)):
        await control.add_fault(NAME, account, {"method": "POST"}, kind)
        with pytest.raises(httpx.TransportError):
            await org.http.post("/api/v1/workspaces", json=body)
        assert len(await by_ref(org, "workspaces", "dt-1")) == count
    fault = await control.add_fault(NAME, account, {"key": "dt-2"}, "hold")
    body["workspace"]["external_reference"] = refs("dt-2")
    late = asyncio.create_task(org.post("workspaces", body))
    await control.wait_for_fault(NAME, account, fault)
    await control.clear_faults(NAME, account)
    assert only(await late)["title"] == "X"
    await control.add_fault(NAME, account, {"key": "dt-3"}, "stale_search")
    made = await org.workspace(external_reference=refs("dt-3"))
    assert await by_ref(org, "workspaces", "dt-3") == []
    assert only(await org.get(f"workspaces/{made['id']}"))["id"] == made["id"]
    await control.release(NAME, account)
    assert len(await by_ref(org, "workspaces", "dt-3")) == 1


async def test_a_fault_on_a_child_is_met_by_the_key_of_its_project(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    options: Any = {"options": {"message": "No", "field": "amount", "html": True}}
    match: Any = {"method": "POST", "key": "dt-1", "path": "billing_milestones"}
    await org.control.add_fault(NAME, org.account, match, "reject", **options)
    await org.control.add_fault(NAME, org.account, {"method": "DELETE"}, "fail_before", **options)
    body = {"title": "M", "amount_in_cents": 1, "workspace_id": made["id"]}
    answer = await org.post("billing_milestones", {"billing_milestone": body}, 422)
    assert answer["errors"] == [{"type": "validation", "message": "No", "field": "amount"}]
    page = await org.http.delete(f"/api/v1/workspaces/{made['id']}")
    assert (page.status_code, page.headers["content-type"][:9]) == (503, "text/html")
    await org.delete(f"workspaces/{made['id']}")
    call = (await org.control.calls(NAME, org.account))[-1]
    assert (call["effect"], call["key"], call["status"]) == ("delete", "dt-1", 204)
    await org.control.add_fault(NAME, org.account, {}, "expire_auth", options={"revoke": True})
    await org.get("users/me", 401)
    await org.get("users/me", 401)  # revoked for good


async def test_limits_are_429_without_headers_and_end_with_the_minute(org: Org) -> None:
    await org.control.clock(org.account, freeze=True)
    limits: Any = {"POST workspaces": 1, "general": 2}
    await org.control.patch_record(NAME, org.account, "rate_limits", "1", limits)
    await org.post("workspaces", {"workspaces": [{"title": "A"}, {"title": "B"}]})
    answer = await org.post("workspaces", {"workspace": {"title": "C"}}, 429)
    assert problem(answer)[0] == "system"
    assert (await org.get("workspaces"))["count"] == 2  # no limit of its own is set for GET
    await org.get("users")
    await org.get("users")
    await org.get("users", 429)
    await org.control.clock(org.account, advance_seconds=61)
    await org.workspace(title="C")


async def test_people_act_by_the_same_rules(org: Org) -> None:
    control, account = org.control, org.account
    made = await control.put_record(NAME, account, "workspaces", {"title": "Hand-made"}, "dt-9")
    assert made["key"] == "dt-9"
    assert len(await by_ref(org, "workspaces", "dt-9")) == 1
    time_entry: Any = {
        "workspace_id": made["id"],
        "user_id": "3",
        "date_performed": "2026-12-02",
        "time_in_minutes": 30,
    }
    entry = await control.put_record(NAME, account, "time_entries", time_entry)
    with pytest.raises(ControlRefused, match="time entries"):
        await control.delete_record(NAME, account, "workspaces", made["id"])
    await control.delete_record(NAME, account, "time_entries", entry["id"])
    await control.patch_record(NAME, account, "workspaces", made["id"], {"archived": True})
    await org.get(f"workspaces/{made['id']}", 404)
    with pytest.raises(ControlRefused, match="no collection"):
        await control.put_record(NAME, account, "moons", {})


async def test_accounts_see_nothing_of_each_other(org: Org, stack: SimulatorStack) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    async with open_org(stack, org.control) as other:
        assert (await other.get("workspaces"))["count"] == 0
        await other.get(f"workspaces/{made['id']}", 404)
        assert await by_ref(other, "workspaces", "dt-1") == []


async def test_the_seeds_have_the_firms_master_data(org: Org) -> None:
    people = rows(await org.get("users", order="id:asc"))
    assert [(row["id"], row["email_address"]) for row in people] == [
        ("2", "integration@dealthread.example"),
        ("3", "maya.chen@example.com"),
        ("4", "luca.rossi@example.com"),
    ]
    templates = rows(await org.get("project_templates", order="id:asc"))
    assert [(row["id"], row["title"]) for row in templates] == [
        ("77", "Implementation"),
        ("78", "Advisory"),
        ("79", "Managed service"),
    ]
    cards = rows(await org.get("rate_cards", order="id:asc"))
    assert {row["id"]: row["currency"] for row in cards} == {
        "5": "USD",
        "6": "EUR",
        "7": "GBP",
        "8": "JPY",
    }
    fields = rows(await org.get("custom_fields", order="id:asc"))
    assert [(f["id"], f["subject_type"], f["unique_constraint"]) for f in fields] == [
        ("31", "Workspace", True),
        ("32", "WorkspaceGroup", True),
        ("33", "Story", True),
    ]
    assert (await org.get("roles"))["count"] == 3
    started = time.monotonic()
    made: Any = await org.control.seed("bulk", count=1000, account=org.account)
    assert time.monotonic() - started < 1
    assert made[NAME]["templates"]["Advisory"] == "78"
    assert (await org.get("users"))["count"] == 3  # seeding twice adds nothing
    with pytest.raises(ControlRefused, match="standard, bulk, empty"):
        await org.control.seed("huge", account=org.account)
