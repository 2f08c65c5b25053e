"""Kantata OX against its vendor page: the feed of events, as it is and as it can arrive."""

from typing import Any

import pytest

from simulators.kit.control import ControlRefused
from tests.simulators.kantata_org import (
    NAME,
    Org,
    make_control,
    make_org,
    make_stack,
    only,
    problem,
    rows,
)

FIXTURES = (make_stack, make_control, make_org)
"""Pytest finds them by their being here."""

DAY = 86_400


async def feed(org: Org, **params: Any) -> list[Any]:
    return rows(await org.get("subscribed_events", **{"order": "created_at:asc", **params}))


async def types(org: Org, **params: Any) -> list[str]:
    return [row["event_type"] for row in await feed(org, **params)]


async def emit(org: Org, **ways: Any) -> Any:
    return await org.control.emit(NAME, org.account, {"what": "feed", **ways})


async def test_every_change_is_in_the_feed_once(org: Org) -> None:
    made = await org.project()
    story = await org.story(made)
    await org.put(f"stories/{story['id']}", {"story": {"state": "completed"}})
    entry = await org.log_time(made, story_id=story["id"])
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"time_in_minutes": 5}})
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"time_in_minutes": 5}})
    sheet = await org.approved(entry)
    expense = await org.spend(made)
    await org.approved(expense, kind="expense_report")
    invoice = await org.invoice(made, time_entry_ids=[entry["id"]])
    await org.put(f"invoices/{invoice['id']}", {"invoice": {"message": "x"}})
    await org.delete(f"invoices/{invoice['id']}")
    await org.resolve(sheet, "reject")
    await org.delete(f"time_entries/{entry['id']}")
    assert await types(org) == [
        *("workspace:created", "story:created", "story:updated", "story:status_selected"),
        *("time_entry:created", "time_entry:updated", "timesheet:created", "timesheet:updated"),
        *("expense:created", "expense_report:created", "expense_report:updated"),
        *("invoice:created", "invoice:updated", "invoice:deleted"),
        *("timesheet:updated", "time_entry:deleted"),
    ]


async def test_a_row_has_its_subject_and_on_request_what_changed(org: Org) -> None:
    entry = await org.log_time(await org.project())
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"time_in_minutes": 5}})
    (row,) = await feed(org, event_types="time_entry:updated")
    assert set(row) == {
        *("id", "event_type", "subject_id", "subject_type", "subject_changed_at", "user_id"),
        *("account_id", "created_at", "updated_at", "subject_ref"),
    }
    assert row["subject_ref"] == {"key": "time_entries", "id": entry["id"]}
    assert (row["subject_type"], row["user_id"]) == ("TimeEntry", "2")
    payloads = "previous_payload,current_payload,payload_changes"
    (row,) = await feed(org, event_types="time_entry:updated", optional_fields=payloads)
    assert row["payload_changes"] == {"time_in_minutes": [90, 5]}
    assert row["previous_payload"]["time_in_minutes"] == 90
    assert row["current_payload"]["time_in_minutes"] == 5
    answer = await org.get("subscribed_events", include="subject")
    assert answer["time_entries"][entry["id"]]["time_in_minutes"] == 5
    assert set(answer["workspaces"]) == {entry["workspace_id"]}


async def test_filters_and_pages(org: Org) -> None:
    await org.control.clock(org.account, freeze=True)
    made = await org.project()
    await org.control.clock(org.account, advance_seconds=60)
    entries = [await org.log_time(made) for _ in range(3)]
    first = (await feed(org))[0]
    later = await types(org, created_after=first["created_at"])
    assert later == ["time_entry:created"] * 3
    assert await types(org, created_before=entries[0]["created_at"]) == ["workspace:created"]
    wanted = {"event_types": "time_entry:created,workspace:deleted"}
    assert len(await feed(org, **wanted)) == 3
    about = {"subject_type": "TimeEntry", "subject_id": entries[1]["id"]}
    assert [row["subject_id"] for row in await feed(org, **about)] == [entries[1]["id"]]
    page = await org.get("subscribed_events", order="created_at:asc", per_page=3, page=2)
    assert (page["count"], page["meta"]["page_count"], len(page["results"])) == (4, 2, 1)
    await org.put(f"time_entries/{entries[0]['id']}", {"time_entry": {"notes": "x"}})
    assert len(await feed(org, most_recent="true")) == 4
    assert len(await feed(org, most_recent_by_event_type="true")) == 5
    assert problem(await org.get("subscribed_events", 400, created_after="soon"))[0] == "syntax"


async def test_rows_are_kept_for_nine_days(org: Org) -> None:
    made = await org.project()
    await org.control.clock(org.account, advance_seconds=5 * DAY)
    await org.log_time(made)
    assert len(await feed(org)) == 2
    await org.control.clock(org.account, advance_seconds=4 * DAY + 60)
    assert await types(org) == ["time_entry:created"]
    await org.control.clock(org.account, advance_seconds=5 * DAY)
    assert await feed(org) == []


async def test_account_administrators_alone_see_it(org: Org) -> None:
    await org.project()
    listed = await org.get("subscribed_events/event_types")
    assert {"timesheet:updated", "story:status_selected", "line_item_lock:created"} <= set(listed)
    await org.as_user("3")
    assert problem(await org.get("subscribed_events", 403))[0] == "system"
    await org.get("subscribed_events/event_types", 403)


async def test_people_are_told_from_the_integration(org: Org) -> None:
    made = await org.project()
    entry = await org.log_time(made, user_id="4")
    sheet = await org.submit(entry)
    await org.control.patch_record(
        NAME, org.account, "timesheet_submissions", sheet["id"], {"status": "approved"}
    )
    fields: Any = {
        "workspace_id": made["id"],
        "payment_schedule": 30,
        "time_entry_ids": [entry["id"]],
        "acting_user_id": "7",
    }
    await org.control.put_record(NAME, org.account, "invoices", fields)
    found = {row["event_type"]: row["user_id"] for row in await feed(org, user_ids="3,7")}
    assert found == {"timesheet:updated": "3", "invoice:created": "7"}
    assert "timesheet:created" in await types(org, user_ids="2")


async def test_a_refused_or_failed_write_leaves_no_row(org: Org) -> None:
    made = await org.project()
    body = {"workspace_id": made["id"], "date_performed": "2026-11-04"}
    await org.post("time_entries", {"time_entries": [{**body, "time_in_minutes": 5}, body]}, 422)
    with pytest.raises(ControlRefused):
        await org.control.put_record(NAME, org.account, "time_entries", {**body})
    assert await types(org) == ["workspace:created"]


async def test_rows_come_twice_out_of_order_and_late(org: Org) -> None:
    await org.control.clock(org.account, freeze=True)
    assert await emit(org, duplicate=1, shuffle=True) == {
        "duplicate": 1,
        "shuffle": True,
        "delay_seconds": 0,
        "lost": False,
    }
    made = await org.project()
    for _ in range(9):
        await org.log_time(made)
    answer = await org.get("subscribed_events", order="created_at:asc", per_page=200)
    ids = [result["id"] for result in answer["results"]]
    assert (len(ids), len(set(ids)), answer["count"]) == (20, 10, 20)
    assert ids != sorted(ids, key=int)
    paged = [
        result["id"]
        for page in (1, 2, 3)
        for result in (await org.get("subscribed_events", per_page=8, page=page))["results"]
    ]
    assert sorted(paged) == sorted(ids)

    await emit(org, delay_seconds=90)
    before = len(await feed(org))
    late = await org.log_time(made)
    assert len(await feed(org)) == before == 10
    await org.control.clock(org.account, advance_seconds=91)
    (row,) = await feed(org, subject_id=late["id"])
    assert row["created_at"] == late["created_at"]  # it is older than when it came
    refused: list[Any] = [{"what": "mail"}, {"what": "feed", "duplicate": -1}]
    for wrong in (*refused, {"what": "feed", "x": 1}):
        with pytest.raises(ControlRefused):
            await org.control.emit(NAME, org.account, wrong)


async def test_seeded_sheets_are_in_the_feed_as_approved_by_people(org: Org) -> None:
    await org.control.seed("time-small", count=2, account=org.account, vendor=NAME)
    found = await feed(org, event_types="timesheet:updated", per_page=200)
    assert {row["user_id"] for row in found} == {"3"}
    answer = await org.get("timesheet_submissions", only=found[0]["subject_id"])
    assert only(answer)["status"] == "approved"
