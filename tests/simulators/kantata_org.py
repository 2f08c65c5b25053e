"""An account of the Kantata simulator for its tests: the API as a bare client sees it.

A test module takes the fixtures by importing `make_stack`, `make_control` and `make_org`.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from simulators.kantata import VENDOR
from simulators.kit import SimulatorStack
from simulators.kit.control import Control

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

    async def project(self, **fields: Any) -> Any:
        """Make a project in dollars where time and expenses need approval."""
        needs = {"require_time_approvals": True, "require_expense_approvals": True}
        return await self.workspace(**{"rate_card_id": "5", **needs, **fields})

    async def spend(self, workspace: Any, **fields: Any) -> Any:
        given = {"date": "2026-11-04", "amount_in_cents": 12_345, "category": "Travel", **fields}
        return await self.make("expenses", "expense", workspace_id=workspace["id"], **given)

    async def submit(self, *items: Any, kind: str = "timesheet", **fields: Any) -> Any:
        """Submit time entries, or expenses as `expense_report`."""
        ids = [item["id"] for item in items]
        given = {"workspace_id": items[0]["workspace_id"], "line_item_ids": ids, **fields}
        return await self.make(f"{kind}_submissions", f"{kind}_submission", **given)

    async def resolve(
        self, submission: Any, action: str, expect: int = 200, kind: str = "timesheet"
    ) -> Any:
        body = {"resolution": {"description": f"{action} it"}}
        path = f"{kind}_submissions/{submission['id']}/{action}"
        return await self.put(path, body, expect)

    async def approved(self, *items: Any, kind: str = "timesheet") -> Any:
        """Submit and have approved."""
        made = await self.submit(*items, kind=kind)
        return only(await self.resolve(made, "approve", kind=kind))

    async def as_user(self, user_id: str) -> None:
        """Let the token be of somebody with the permissions of this user."""
        (user,) = rows(await self.get("users", only=user_id))
        level = {"account_permission": user["account_permission"]}
        await self.control.patch_record(NAME, self.account, "users", "2", level)

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
