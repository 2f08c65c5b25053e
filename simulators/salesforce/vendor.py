"""Salesforce as the kit sees it: routes, sign-in, faults, seeds and the acts of people."""

# ruff: noqa: A002 - `type` is what every vendor calls it

import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from simulators.kit import (
    Account,
    Call,
    Clock,
    Fault,
    FaultKind,
    Handler,
    MalformedBody,
    Record,
    Reply,
    ReplyError,
    Route,
    Vendor,
)
from simulators.salesforce import oauth, outbound, usage
from simulators.salesforce.composite import refused_parts
from simulators.salesforce.context import Context
from simulators.salesforce.describe import versions
from simulators.salesforce.errors import (
    JSON_TYPE,
    ApiError,
    limit_exceeded,
    malformed_json,
    no_resource,
    oauth_error,
    row_is_locked,
    session_expired,
)
from simulators.salesforce.ids import full_id, numbered_id
from simulators.salesforce.objects import CATALOG
from simulators.salesforce.request import Request, make_request, path_segments
from simulators.salesforce.request_keys import keys_of
from simulators.salesforce.resources import dispatch
from simulators.salesforce.row_collections import refused_rows
from simulators.salesforce.rows import create_row, delete_row, object_type, update_row
from simulators.salesforce.seed import fill, set_up
from simulators.salesforce.sessions import account_of_token, close_session, use_session

URI_BYTES_MAX = 16_384
CONCURRENCY_SETTING = "concurrent_requests_max"
"""In an account's `extra`. The vendor counts requests of 20 s and more, so there is no default."""

_OAUTH = "/services/oauth2/"
_CUSTOM_VALIDATION = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


class Salesforce(Vendor):
    """The CRM: OAuth, rows, SOQL, composites, limits.

    Fault `options`: `errorCode`, `message`, `fields` and `status` change what is answered, for
    example `UNABLE_TO_LOCK_ROW`; `which` is the limit that `rate_limit` names; `html` makes
    `fail_before` answer a page instead of JSON.
    """

    name = "salesforce"

    def routes(self) -> Sequence[Route]:
        """Return the token endpoints, the public list of versions, and the REST tree."""
        sign_in: list[tuple[str, str, Handler]] = [
            ("POST", "token", oauth.token),
            ("POST", "revoke", oauth.revoke),
        ]
        return (
            *(Route(method, _OAUTH + path, act, public=True) for method, path, act in sign_in),
            Route("GET", _OAUTH + "userinfo", oauth.userinfo),
            Route("GET", "/services/data", _versions, public=True),
            Route("GET", "/services/data/", _versions, public=True),
            Route("*", "/services/data/{version}", _rest),
            Route("*", "/services/data/{version}/{rest:.*}", _rest),
        )

    def new_account(self, name: str, clock: Clock) -> Account:
        """Make an organisation with its integration user and its stages."""
        account = Account(name, clock, numbered_id)
        set_up(account, oauth.username(name))
        return account

    def authenticate(self, call: Call) -> str:
        """Accept a live access token while the daily limit lasts."""
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        name = account_of_token(token) if scheme in ("Bearer", "OAuth") else None
        if name is None:
            raise ReplyError(session_expired().reply())
        account = call.open_account(name)
        if not use_session(account, token):
            raise ReplyError(session_expired().reply(), name)
        if not usage.count_request(account):
            raise ReplyError(_with_limits(limit_exceeded().reply(), account), name)
        return name

    def account_of(self, call: Call) -> str:
        """Read the account from client id, assertion or token."""
        return oauth.account_of_sign_in(call)

    def credentials(self, account: str) -> dict[str, str]:
        """Return client id, secret, user name, private key and the like."""
        return oauth.credentials(account)

    def request_keys(self, call: Call) -> tuple[str, ...]:
        """Return external ids, and ids of records, which a request names."""
        return keys_of(call)

    def is_search(self, call: Call) -> bool:
        """Queries are what a stale index answers."""
        segments = path_segments(call.path)
        return len(segments) > 3 and segments[3] in ("query", "queryAll")

    def concurrency_limit(self, account: Account) -> int | None:
        """Return the limit that a test has set."""
        limit = account.extra.get(CONCURRENCY_SETTING)
        return limit if isinstance(limit, int) else None

    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        """Return section 15's wire form of a fault."""
        if call.path.startswith(_OAUTH):
            return _oauth_fault(kind)
        if kind is FaultKind.EXPIRE_AUTH:
            close_session(call.account, call.headers.get("Authorization", "").partition(" ")[2])
            return session_expired().reply()
        options = fault.spec.options
        if kind is FaultKind.FAIL_BEFORE and options.get("html"):
            page = "<html><body>Down for maintenance</body></html>"
            return Reply(503, page, {"Content-Type": "text/html"})
        error = _fault_error(kind, call, fault)
        reply = _refusal(call, error) if kind is FaultKind.REJECT else error.reply()
        return _with_limits(reply, call.account)

    def not_found_reply(self, call: Call) -> Reply:
        """Return the vendor's 404."""
        del call
        return no_resource().reply()

    def malformed_reply(self, call: Call, reason: str) -> Reply:
        """Return the vendor's answer to a body that is no JSON."""
        del call
        return malformed_json(reason).reply()

    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        """Fill an organisation; see `seed.fill`."""
        return fill(account, scenario, count, seed)

    async def emit(self, account: Account, what: dict[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Send outbound messages; see `outbound.send`."""
        return await outbound.send(account, what)

    def screen_create(
        self, account: Account, type: str, fields: dict[str, JsonValue], key: str | None
    ) -> Record:
        """Create a row as a person does, who may ignore a duplicate warning."""
        kind = CATALOG.get(type)
        if kind is None:
            raise ValueError(f"no object {type!r}: there are {', '.join(CATALOG)}")
        if key is not None and kind.key_field:
            fields = {**fields, kind.key_field: key}
        try:
            return create_row(Context(account, skip_duplicate_rules=True), kind, fields)
        except ApiError as error:
            raise ValueError(str(error)) from error

    def screen_update(
        self, account: Account, record: Record, changes: dict[str, JsonValue]
    ) -> Record:
        """Change a row as a person does, with all its consequences."""
        try:
            update_row(Context(account), object_type(record.type), record, changes)
        except ApiError as error:
            raise ValueError(str(error)) from error
        return record

    def screen_delete(self, account: Account, record: Record) -> None:
        """Delete a row as a person does."""
        try:
            delete_row(Context(account), object_type(record.type), record)
        except ApiError as error:
            raise ValueError(str(error)) from error


async def _versions(call: Call) -> Reply:
    del call
    return Reply(200, versions(), {"Content-Type": JSON_TYPE})


async def _rest(call: Call) -> Reply:
    reply = _answer(call)
    headers = {"Content-Type": JSON_TYPE, **reply.headers} if reply.body is not None else {}
    return _with_limits(Reply(reply.status, reply.body, {**reply.headers, **headers}), call.account)


def _answer(call: Call) -> Reply:
    if len(call.raw_path) + len(call.query_string) > URI_BYTES_MAX:
        return ApiError(414, "URI_TOO_LONG", "The URI exceeds 16,384 bytes").reply()
    content_type = call.headers.get("Content-Type", "application/json")
    if call.body and "json" not in content_type.lower():
        text = f"Content-Type {content_type} is not supported"
        return ApiError(415, "UNSUPPORTED_MEDIA_TYPE", text).reply()
    context = Context(call.account)
    try:
        reply = dispatch(_request(call, context))
    except ApiError as error:
        return error.reply()
    except MalformedBody as error:
        return malformed_json(str(error)).reply()
    for note in context.effects:
        record = note.record
        call.effected(note.effect, record.key, record.type, record.id)
    return reply


def _request(call: Call, context: Context) -> Request:
    url = f"{call.raw_path}?{call.query_string}"
    return make_request(context, call.method, url, call.headers, call.json, dispatch)


def _with_limits(reply: Reply, account: Account) -> Reply:
    return Reply(reply.status, reply.body, {**reply.headers, **usage.limit_info(account)})


def _oauth_fault(kind: FaultKind) -> Reply:
    match kind:
        case FaultKind.RATE_LIMIT:
            return oauth_error("rate_limit_exceeded", "login rate exceeded")
        case FaultKind.REJECT:
            return oauth_error("invalid_grant", "user hasn't approved this consumer")
        case FaultKind.EXPIRE_AUTH:
            return oauth_error("invalid_grant", "expired authorization code")
        case _:
            return oauth_error("server_error", "temporarily unavailable", 503)


def _fault_error(kind: FaultKind, call: Call, fault: Fault) -> ApiError:
    options = fault.spec.options
    code = options.get("errorCode")
    if code == "UNABLE_TO_LOCK_ROW":
        return row_is_locked(next((i for i in map(full_id, path_segments(call.path)) if i), None))
    which = "ConcurrentRequests" if fault.id == "concurrency" else options.get("which")
    usual = {
        FaultKind.RATE_LIMIT: limit_exceeded(str(which or "TotalRequests")),
        FaultKind.REJECT: ApiError(400, _CUSTOM_VALIDATION, "Refused by a validation rule", []),
        FaultKind.FAIL_BEFORE: ApiError(503, "SERVER_UNAVAILABLE", "server too busy"),
    }.get(kind)
    if usual is None:
        text = "An unexpected error occurred. Please include this ErrorId if you contact support"
        usual = ApiError(500, "UNKNOWN_EXCEPTION", f"{text}: {fault.id}")
    status, fields = options.get("status"), options.get("fields")
    return ApiError(
        status if isinstance(status, int) else usual.status,
        str(code or usual.code),
        str(options.get("message") or usual.message),
        [str(name) for name in fields] if isinstance(fields, list) else usual.fields,
    )


def _refusal(call: Call, error: ApiError) -> Reply:
    """Return a rejection where it really stands: inside the parts of a composite, or alone."""
    path = re.sub(r".*/services/data/v[\d.]+/|/$", "", call.path)
    try:
        if path == "composite":
            return refused_parts(call.json, error)
        if re.fullmatch(r"composite/sobjects(/\w+/\w+)?", path):
            return refused_rows(call.method, call.query, call.json, error)
    except (ApiError, MalformedBody):
        pass  # the envelope itself is wrong, so there are no parts to refuse
    return error.reply()
