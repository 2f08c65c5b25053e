"""Records and collections as NetSuite writes them (vendor page, section 4 and 4.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.schema import Field, Kind, Sublist
from simulators.netsuite.state import Fields, text
from simulators.netsuite.sublists import line_key

RECORD_ROOT = "/services/rest/record/v1"
LIMIT_MAX = 1000


@dataclass(frozen=True)
class Page:
    """Which rows of a collection are asked for."""

    limit: int
    offset: int


def read_page(query: Mapping[str, str]) -> Page:
    """Return `limit` (1 to 1000, default 1000) and `offset` (a multiple of it).

    Raises:
        ReplyError: one of them is out of bounds.
    """
    limit, offset = query.get("limit", str(LIMIT_MAX)), query.get("offset", "0")
    if not limit.isdecimal() or not 1 <= int(limit) <= LIMIT_MAX:
        raise errors.invalid_parameter("The limit must be between 1 and 1000.", "limit")
    if not offset.isdecimal() or int(offset) % int(limit):
        raise errors.invalid_parameter("The offset must be a multiple of the limit.", "offset")
    return Page(int(limit), int(offset))


def collection(
    url: str, query: Mapping[str, str], page: Page, items: Sequence[JsonValue], total: int
) -> Fields:
    """Return the envelope of a list; `items` are those of the page."""
    last = max(0, (total - 1) // page.limit * page.limit)
    more = page.offset + len(items) < total
    links: list[JsonValue] = []

    def link(rel: str, offset: int) -> None:
        parts = [f"{k}={v}" for k, v in query.items() if k not in ("limit", "offset")]
        parts += [f"limit={page.limit}", f"offset={offset}"]
        links.append({"rel": rel, "href": f"{url}?{'&'.join(parts)}"})

    if page.offset:
        link("first", 0)
        link("prev", page.offset - page.limit)
    if more:
        link("next", page.offset + page.limit)
        link("last", last)
    link("self", page.offset)
    return {
        "links": links,
        "count": len(items),
        "hasMore": more,
        "items": list(items),
        "offset": page.offset,
        "totalResults": total,
    }


def moment(value: datetime) -> str:
    """Return a date-time in ISO 8601 UTC."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reference_name(account: Account, record: Record) -> str:
    """Return what NetSuite shows for a reference; hierarchies as "Parent : Child"."""
    own = _own_name(record)
    parent = state.ref_id(record.fields, "parent")
    kind = RECORD_TYPES[record.type].fields.get("parent")
    above = state.find_reference(account, kind.targets, parent) if kind and parent else None
    if above is None or above is record:
        return own
    return f"{reference_name(account, above)} : {own}"


def _own_name(record: Record) -> str:
    fields = record.fields
    number = text(fields, "entityId")
    if record.type in ("customer", "job"):
        person = " ".join(filter(None, (text(fields, "firstName"), text(fields, "lastName"))))
        name = text(fields, "companyName") or person
        return name if number == name else f"{number} {name}"
    for name in ("name", "title", "periodName", "itemId", "entityId"):
        if text(fields, name):
            return text(fields, name)
    if record.type == "invoice":
        return f"Invoice #{text(fields, 'tranId')}"
    return record.id


@dataclass
class Renderer:
    """Writes records for one request: `expand` and `plain_choices` are its query parameters."""

    account: Account
    origin: str
    expand: bool = False
    plain_choices: bool = False

    def url(self, record: Record) -> str:
        """Return the address of a record."""
        return f"{self.origin}{RECORD_ROOT}/{record.type}/{record.id}"

    def stub(self, record: Record) -> Fields:
        """Return a record as a list shows it: its address and id alone."""
        return {"links": _self(self.url(record)), "id": record.id}

    def record(self, record: Record, only: Sequence[str] | None = None) -> Fields:
        """Return a record, or the fields asked for."""
        kind = RECORD_TYPES[record.type]
        full = self._head(record) | self._fields(kind.fields, record.fields, self.url(record))
        if record.type == "customerSubsidiaryRelationship":
            full |= self._relationship(record)
        for name, spec in kind.sublists.items():
            full[name] = self.sublist(record, name, spec)
        if only is None:
            return full
        return {k: v for k, v in full.items() if k in ("links", "id") or k in only}

    def sublist(self, record: Record, name: str, spec: Sublist) -> Fields:
        """Return a sublist: its address, and its lines where they are asked for."""
        url = f"{self.url(record)}/{name}"
        if not self.expand:
            return {"links": _self(url)}
        rows: list[JsonValue] = []
        for line in state.lines(record.fields, name):
            rows.append(self.line(url, spec, line))
        return {
            "links": _self(url),
            "count": len(rows),
            "hasMore": False,
            "items": rows,
            "offset": 0,
            "totalResults": len(rows),
        }

    def line(self, url: str, spec: Sublist, line: Fields) -> Fields:
        """Return one line of a sublist."""
        own = f"{url}/{line_key(spec, line)}"
        shown: Fields = {"links": _self(own)}
        if spec.key not in spec.fields:
            number = line_key(spec, line)
            shown[spec.key] = int(number) if number.isdecimal() else number
        return shown | self._fields(spec.fields, line, own)

    def _head(self, record: Record) -> Fields:
        head: Fields = {"links": _self(self.url(record)), "id": record.id}
        if record.key is not None:
            head["externalId"] = record.key
        specs = RECORD_TYPES[record.type].fields
        if "dateCreated" in specs:
            head["dateCreated"] = moment(record.created_at)
        if "lastModifiedDate" in specs:
            head["lastModifiedDate"] = moment(record.modified_at)
        if record.type == "customer":
            head |= {"balance": 0.0, "overdueBalance": 0.0}
        return head

    def _relationship(self, record: Record) -> Fields:
        customer = self.account.store.get(
            "customer", state.ref_id(record.fields, "entity") or "", dead=True
        )
        if customer is None:
            return {}
        currency = RECORD_TYPES["customer"].fields["currency"]
        return {
            "name": reference_name(self.account, customer),
            "primaryCurrency": self._reference(currency, customer.fields.get("currency")),
            "balance": 0.0,
        }

    def _fields(self, specs: Mapping[str, Field], values: Fields, url: str) -> Fields:
        shown: Fields = {}
        for name, spec in specs.items():
            value = values.get(name)
            if value is not None:
                shown[name] = self._value(spec, value, f"{url}/{name}")
        return shown

    def _value(self, spec: Field, value: JsonValue, url: str) -> JsonValue:
        match spec.kind:
            case Kind.REFERENCE:
                return self._reference(spec, value)
            case Kind.CHOICE:
                chosen = str(value.get("id")) if isinstance(value, dict) else ""
                if self.plain_choices:
                    return chosen
                return {"id": chosen, "refName": spec.options[chosen]}
            case Kind.MULTISELECT:
                items: list[JsonValue] = []
                for item in state.lines({"x": value}, "x"):
                    items.append(self._reference(spec, item))
                full: Fields = {"links": _self(url)}
                if self.expand:
                    full |= {"items": items, "totalResults": len(items)}
                return full
            case Kind.SUBRECORD:
                inner = value if isinstance(value, dict) else {}
                return {"links": _self(url)} | self._fields(spec.fields, inner, url)
            case _:
                return value

    def _reference(self, spec: Field, value: JsonValue) -> JsonValue:
        wanted = str(value.get("id")) if isinstance(value, dict) else ""
        found = state.find_reference(self.account, spec.targets, wanted)
        if found is None:
            return {"id": wanted}
        name = reference_name(self.account, found)
        return {"links": _self(self.url(found)), "id": found.id, "refName": name}


def _self(url: str) -> list[JsonValue]:
    return [{"rel": "self", "href": url}]
