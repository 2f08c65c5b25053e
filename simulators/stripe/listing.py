"""Lists with cursors, and searches in a lagging index (vendor page, 4)."""

import operator
import re
from collections.abc import Callable, Sequence
from datetime import timedelta

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.stripe.errors import invalid, missing
from simulators.stripe.forms import Form, read
from simulators.stripe.state import Act, Fields, settings
from simulators.stripe.views import line_view, view

LIMIT = 10
LIMIT_MAX = 100
SEARCHED: dict[str, frozenset[str]] = {
    "customer": frozenset({"created", "email", "name", "phone"}),
    "invoice": frozenset(
        {"created", "currency", "customer", "number", "status", "subscription", "total"}
    ),
    "price": frozenset({"active", "currency", "lookup_key", "product", "type"}),
    "product": frozenset({"active", "description", "name", "url"}),
    "subscription": frozenset({"created", "status", "customer"}),
}
"""What may be asked of each type that can be searched, besides `metadata`."""
_RANGES: dict[str, Callable[[int, int], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_CLAUSE = re.compile(
    r"""\s*(?P<not>-)?(?P<field>\w+)(?:\[(?P<q>["'])(?P<key>.+?)(?P=q)\])?\s*"""
    r"""(?P<sign>:|~|>=|<=|>|<)\s*(?:(?P<s>["'])(?P<text>(?:\\.|(?!(?P=s)).)*)(?P=s)|(?P<bare>\w+))"""
    r"""\s*(?:(?P<join>AND|OR)\b|$)""",
    re.IGNORECASE,
)


class Page(Form):
    """The parameters of every list; the rest of a query is filters."""

    limit: int = LIMIT
    starting_after: str | None = None
    ending_before: str | None = None


class SearchPage(Form):
    """The parameters of a search."""

    query: str
    limit: int = LIMIT
    page: str | None = None


def listed(
    act: Act,
    url: str,
    rows: Sequence[Record],
    filters: Sequence[str] = (),
    show: Callable[[Account, Record], Fields] = view,
) -> Fields:
    """Return one page of rows, which come in order of creation, newest first.

    Raises:
        Refusal: an unknown filter, a limit out of bounds, a cursor to nothing.
    """
    known = {name: act.params[name] for name in filters if name in act.params}
    page = read(Page, {name: act.params[name] for name in act.params if name not in known})
    found = [row for row in reversed(rows) if all(_fits(row, *wish) for wish in known.items())]
    return paged(act, url, page, found, show)


def paged(
    act: Act,
    url: str,
    page: Page,
    found: Sequence[Record],
    show: Callable[[Account, Record], Fields],
) -> Fields:
    """Return one page of rows in the order in which they are given."""
    _check_limit(page.limit)
    ids = [str(show(act.account, row)["id"]) if show is line_view else row.id for row in found]
    first, last = 0, len(found)
    if page.starting_after is not None:
        first = _position(ids, page.starting_after, "starting_after") + 1
    if page.ending_before is not None:
        last = _position(ids, page.ending_before, "ending_before")
        first = max(first, last - page.limit)
    more = first > 0 if page.ending_before is not None else last - first > page.limit
    data: list[JsonValue] = [
        show(act.account, row) for row in found[first : min(last, first + page.limit)]
    ]
    return {"object": "list", "data": data, "has_more": more, "url": url}


def searched(act: Act, type_: str, url: str) -> Fields:
    """Return one page of a search.

    Raises:
        Refusal: the query cannot be read, or asks for a field that is not indexed.
    """
    page = act.read(SearchPage)
    _check_limit(page.limit)
    clauses, every = _parse(page.query, type_)
    together = all if every else any
    found = [
        row
        for row in reversed(_indexed(act.account, type_))
        if together([clause(row.fields) for clause in clauses])
    ]
    if page.page is not None and not page.page.isdecimal():
        raise invalid("Invalid page token.", "page")
    first = int(page.page or 0)
    data: list[JsonValue] = [view(act.account, row) for row in found[first : first + page.limit]]
    more = len(found) > first + page.limit
    return {
        "object": "search_result",
        "data": data,
        "has_more": more,
        "next_page": str(first + page.limit) if more else None,
        "url": url,
    }


def _indexed(account: Account, type_: str) -> list[Record]:
    """Return what the index has of a type: it lags behind by the account's setting."""
    lag = settings(account).get("search_lag_seconds")
    rows = account.store.list(type_, search=True)
    if not isinstance(lag, int | float) or not lag:
        return rows
    horizon = account.clock.now() - timedelta(seconds=lag)
    return [row for row in rows if row.modified_at <= horizon]


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= LIMIT_MAX:
        bound = "at most 100" if limit > LIMIT_MAX else "at least 1"
        raise invalid(f"Limit must be {bound}.", "limit", "parameter_invalid_integer")


def _position(ids: Sequence[str], id_: str, param: str) -> int:
    if id_ not in ids:
        raise missing("object", id_, param)
    return ids.index(id_)


def _fits(row: Record, name: str, wanted: JsonValue) -> bool:
    have = row.fields.get(name)
    if isinstance(wanted, dict):
        value = have if isinstance(have, int) else None
        for sign, bound in wanted.items():
            if sign not in _RANGES:
                raise invalid(f"Received unknown parameter: {name}[{sign}]", name)
            if not str(bound).isdecimal():
                raise invalid(f"Invalid integer: {bound}", name, "parameter_invalid_integer")
            if value is None or not _RANGES[sign](value, int(str(bound))):
                return False
        return True
    return _written(have) == str(wanted)


def _written(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(query: str, type_: str) -> tuple[list[Callable[[Fields], bool]], bool]:
    """Return the clauses, and whether all of them must hold."""
    clauses, joins, at = [], set(), 0
    while True:
        match = _CLAUSE.match(query, at)
        if match is None:
            text = f"We were unable to parse your search query: {query[at:]!r}."
            raise invalid(f"{text} For example: metadata['key']:'value'.", "query")
        clauses.append(_clause(match, type_))
        at = match.end()
        if match["join"] is None:
            break
        joins.add(match["join"].upper())
    if len(joins) > 1:
        raise invalid("You cannot combine AND and OR in one search query.", "query")
    return clauses, joins != {"OR"}


def _clause(match: re.Match[str], type_: str) -> Callable[[Fields], bool]:
    name, key = match["field"], match["key"]
    if name != "metadata" and name not in SEARCHED[type_]:
        raise invalid(f"Field `{name}` is an unsupported search field for resource.", "query")
    if (name == "metadata") != (key is not None):
        raise invalid(f"Field `{name}` cannot be searched in this way.", "query")
    wanted = re.sub(r"\\(.)", r"\1", match["text"]) if match["bare"] is None else match["bare"]
    sign, negated = match["sign"], match["not"] is not None
    if sign in _SIGNS and not wanted.isdecimal():
        raise invalid(f"`{sign}` needs a number, not {wanted!r}.", "query")

    def holds(fields: Fields) -> bool:
        have = fields.get(name)
        if key is not None:
            have = have.get(key) if isinstance(have, dict) else None
        return _holds(have, sign, wanted) != negated

    return holds


def _holds(have: JsonValue, sign: str, wanted: str) -> bool:
    if have is None:
        return wanted == "null" and sign == ":"
    if sign == ":":
        return _written(have).lower() == wanted.lower()
    if sign == "~":
        return wanted.lower() in str(have).lower()
    return isinstance(have, int) and _RANGES[_SIGNS[sign]](have, int(wanted))
