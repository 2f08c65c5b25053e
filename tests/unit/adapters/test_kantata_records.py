"""Kantata ignores filters that it does not know, without a word: what follows from that."""

from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from adapters.auth import BearerToken
from adapters.errors import ContractBroken, MissingMapping, OutcomeUnknown
from adapters.governor import LocalGovernor
from adapters.http import VendorHttp
from adapters.kantata.client import classify, id_of
from adapters.kantata.config import AccessToken, KantataConfig
from adapters.kantata.records import Records
from canonical.records import RecordRef

TOKEN = SecretStr("t")
PROJECT = RecordRef(system="kantata", type="project", id="10")


def records(body: dict[str, Any]) -> Records:
    """Return the records of an account that answers everything alike."""
    config = KantataConfig(base_url="http://kantata.example", auth=AccessToken(token=TOKEN))
    http = VendorHttp(
        vendor="kantata",
        connection="kantata",
        base_url=config.base_url,
        auth=BearerToken(TOKEN),
        classify=classify,
        governor=LocalGovernor(1),
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body)),
    )
    return Records("kantata", config, http)


def body(
    collection: str, rows: list[dict[str, Any]], *, count: int | None = None
) -> dict[str, Any]:
    return {
        "count": len(rows) if count is None else count,
        "results": [{"key": collection, "id": row["id"]} for row in rows],
        collection: {row["id"]: row for row in rows},
    }


def carrying(*refs: tuple[str, str, str], count: int | None = None) -> dict[str, Any]:
    """Return projects with references: (project, service, ref)."""
    rows = [{"id": id_} for id_, _, _ in refs]
    references = {
        str(number): {"subject_id": id_, "service_name": service, "service_model_ref": ref}
        for number, (id_, service, ref) in enumerate(refs)
    }
    return {**body("workspaces", rows, count=count), "external_references": references}


async def test_what_does_not_carry_our_key_is_left_out() -> None:
    everything = carrying(
        ("1", "dealthread-saga", "dt-other"),
        ("2", "another-service", "dt-1"),
        ("3", "dealthread-saga", "dt-1"),
        ("4", "dealthread-saga", "dt-10"),
    )

    found = await records(everything).find("workspaces", ["dt-1"])

    assert [id_of(row) for row in found.rows] == ["3"]


async def test_objects_come_in_the_order_of_the_references_then_oldest_first() -> None:
    service = "dealthread-saga"
    listed = carrying(("7", service, "b"), ("8", service, "a"), ("9", service, "b"))

    found = await records(listed).find("workspaces", ["a", "b"])

    assert [id_of(row) for row in found.rows] == ["8", "7", "9"]


async def test_more_rows_than_come_on_a_page_never_read_as_absent() -> None:
    first_page = carrying(("1", "dealthread-saga", "dt-other"), count=201)

    with pytest.raises(ContractBroken, match="ignored the filter"):
        await records(first_page).find("workspaces", ["dt-1"])


async def test_a_manager_on_a_later_page_is_not_called_missing() -> None:
    users = [{"id": "2", "email_address": "someone@example.com"}]

    with pytest.raises(ContractBroken):
        await records(body("users", users, count=201)).user_id("maya@example.com")
    with pytest.raises(MissingMapping):
        await records(body("users", users)).user_id("maya@example.com")


async def test_references_of_other_projects_are_no_note_of_ours() -> None:
    others = [{"id": "1", "service_name": "dealthread-erp", "subject_id": "11"}]
    service = "dealthread-erp"

    assert await records(body("external_references", others)).references(PROJECT, service) == ()
    with pytest.raises(ContractBroken):
        await records(body("external_references", others, count=2)).references(PROJECT, service)


@pytest.mark.parametrize("answer", [{}, {"results": []}, {"errors": [{"message": "x"}]}])
async def test_a_create_with_an_unusable_answer_may_have_taken_effect(
    answer: dict[str, Any],
) -> None:
    with pytest.raises(OutcomeUnknown):
        await records(answer).create("workspaces", {"workspace": {}}, "create the project")
