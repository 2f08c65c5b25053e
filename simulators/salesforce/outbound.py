"""Outbound messages: SOAP notifications with retries until they are acknowledged (page 12.4)."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from simulators.kit import Account, Record
from simulators.salesforce.ids import PREFIXES, full_id, organization_id, with_checksum
from simulators.salesforce.objects import CATALOG
from simulators.salesforce.values import read_value

NOTIFICATIONS_MAX = 100
"""In one message."""
_USUAL: Mapping[str, Sequence[str]] = {
    "Opportunity": ("StageName", "Name"),
    "Account": ("Name",),
    "Case": ("CaseNumber", "Status"),
}
"""Types that messages are sent about -> the fields in them where nothing else is wished."""
_ACK = re.compile(r"<(?:\w+:)?Ack>\s*true\s*</")
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns:xsd="http://www.w3.org/2001/XMLSchema" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body>
<notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>{organization}</OrganizationId>
<ActionId>{action}</ActionId>
<SessionId xsi:nil="true"/>
<EnterpriseUrl>{origin}/services/Soap/c/67.0/{organization}</EnterpriseUrl>
<PartnerUrl>{origin}/services/Soap/u/67.0/{organization}</PartnerUrl>
{notifications}</notifications>
</soapenv:Body>
</soapenv:Envelope>"""
_NOTIFICATION = """<Notification>
<Id>{id}</Id>
<sObject xsi:type="sf:{type}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
{fields}</sObject>
</Notification>
"""


class Wish(BaseModel):
    """What to send: records by id, all of one type, where to, and how badly.

    `fields` are those of the message, a few usual ones where they are left out.

    `times` sends the same notifications again, `separately` makes a message of each, `reverse`
    turns their order. What is not acknowledged is sent again, `attempts_max` times in all.
    """

    model_config = ConfigDict(extra="forbid")

    url: str
    ids: list[str] = Field(min_length=1)
    fields: list[str] | None = None
    times: int = Field(default=1, ge=1)
    separately: bool = False
    reverse: bool = False
    delay_seconds: float = Field(default=0, ge=0)
    retry_seconds: float = Field(default=0.2, ge=0)
    attempts_max: int = Field(default=3, ge=1)


async def send(account: Account, what: dict[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Send now and tell what came of it, or later when a delay is wished.

    Raises:
        ValueError: the wish makes no sense, or there is no such record.
    """
    wish = Wish.model_validate(what)
    rows = [_record(account, given) for given in wish.ids]
    if len({row.type for row in rows}) > 1:
        raise ValueError("an outbound message is about records of one type")
    ids = [_notification_id(account) for _ in rows]
    pairs = list(zip(ids, rows, strict=True))
    if wish.reverse:
        pairs.reverse()
    size = 1 if wish.separately else NOTIFICATIONS_MAX
    batches = [pairs[at : at + size] for at in range(0, len(pairs), size)] * wish.times
    notification_ids: list[JsonValue] = list(ids)
    if wish.delay_seconds:
        account.spawn(_later(account, wish, batches))
        return {"scheduled": len(batches), "notification_ids": notification_ids}
    attempts = [await _deliver(account, wish, batch) for batch in batches]
    return {
        "messages": len(batches),
        "acknowledged": sum(attempt is not None for attempt in attempts),
        "attempts": sum(attempt or wish.attempts_max for attempt in attempts),
        "notification_ids": notification_ids,
    }


async def _later(
    account: Account, wish: Wish, batches: Sequence[Sequence[tuple[str, Record]]]
) -> None:
    await asyncio.sleep(wish.delay_seconds)
    for batch in batches:
        await _deliver(account, wish, batch)


async def _deliver(account: Account, wish: Wish, batch: Sequence[tuple[str, Record]]) -> int | None:
    """Return the number of the attempt that was acknowledged, None when none was."""
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
        for attempt in range(1, wish.attempts_max + 1):
            if attempt > 1:
                await asyncio.sleep(wish.retry_seconds)
            # The state at the time of sending, not of the trigger.
            envelope = _envelope(account, wish.fields, batch)
            try:
                async with session.post(wish.url, data=envelope.encode()) as response:
                    text = await response.text()
                    if response.status == 200 and _ACK.search(text):
                        return attempt
            except (aiohttp.ClientError, TimeoutError):
                continue
    return None


def _envelope(
    account: Account, fields: Sequence[str] | None, batch: Sequence[tuple[str, Record]]
) -> str:
    shown = [
        _NOTIFICATION.format(
            id=name,
            type=record.type,
            fields=_fields(record, _USUAL[record.type] if fields is None else fields),
        )
        for name, record in batch
    ]
    return _ENVELOPE.format(
        organization=organization_id(account.name),
        action=with_checksum("04kDT0000000001"),
        origin="https://dealthread.my.salesforce.com",
        notifications="".join(shown),
    )


def _fields(record: Record, names: Sequence[str]) -> str:
    kind = CATALOG[record.type]
    lines = [f"<sf:Id>{record.id}</sf:Id>\n"]
    for name in names:
        column = kind.field(name)
        if column is None:
            raise ValueError(f"{record.type} has no field {name}")
        value = read_value(record, column)
        if value is not None and name != "Id":
            text = str(value).lower() if isinstance(value, bool) else str(value)
            lines.append(f"<sf:{column.name}>{escape(text)}</sf:{column.name}>\n")
    return "".join(lines)


def _record(account: Account, given: str) -> Record:
    id_ = full_id(given) or ""
    kind = next((name for name in _USUAL if id_.startswith(PREFIXES[name])), "Opportunity")
    record = account.store.get(kind, id_)
    if record is None:
        raise ValueError(f"no {kind.lower()} {given!r} in account {account.name}")
    return record


def _notification_id(account: Account) -> str:
    count = account.extra.get("notification_count")
    number = (count if isinstance(count, int) else 0) + 1
    account.extra["notification_count"] = number
    return with_checksum(f"04lDX{number:010d}")
