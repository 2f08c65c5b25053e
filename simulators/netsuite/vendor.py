"""The NetSuite simulator: its routes, its faults on the wire, its screen.

Source: the vendor page on SuiteTalk REST web services. Left out: sales orders and their transforms,
record actions but those of time, charge rules, SuiteTax details, `!attach`.

People act through the control origin under the same rules as clients. Deleting and editing are
`DELETE` and `PATCH /netsuite/records/{type}/{id}`. A project's native billing job is `POST
/netsuite/records` with `{"type": "billingRun", "fields": {"job": "7001"}}`, which answers with the
invoice (other fields become the invoice's). A customer is merged into another by `{"type": "merge",
"fields": {"customer": "6001", "into": "6002"}}`, which answers with the other; an invoice is voided
by `{"type": "void", "fields": {"invoice": "7301"}}`. A period is closed by `PATCH
/netsuite/records/accountingPeriod/{id}` with `{"fields": {"closed": true}}`. Limits and settings
are the record `governance` `1`.
"""

# ruff: noqa: A002 - `type` is what NetSuite calls it

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from pydantic import JsonValue

from simulators.kit import (
    Account,
    Call,
    Clock,
    Fault,
    FaultKind,
    Record,
    Reply,
    ReplyError,
    Route,
    Vendor,
)
from simulators.kit.faults import key_fits
from simulators.netsuite import asynchronous, auth, errors, metadata, service, transforms
from simulators.netsuite.asynchronous import JOB_ROOT, or_later
from simulators.netsuite.batch import batch_keys, is_batch, perform, serve
from simulators.netsuite.merging import merge_customers
from simulators.netsuite.reading import Reader
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.rendering import RECORD_ROOT, collection, read_page
from simulators.netsuite.seed import CONCURRENCY_LIMIT, seed, set_up
from simulators.netsuite.state import GOVERNANCE, Fields, add_indexes, governance
from simulators.netsuite.statement import parse_statement
from simulators.netsuite.suiteql import run_statement
from simulators.netsuite.writing import Writer, refusal_text

SUITEQL_PATH = "/services/rest/query/v1/suiteql"
_LIMITS_PATH = "/services/rest/system/v1/governanceLimits"
_SETTINGS = (GOVERNANCE, auth.CERTIFICATE)
"""What an administrator edits in the screen, and REST does not serve."""
_ALL = f"{RECORD_ROOT}/{{type}}"
_ONE = f"{_ALL}/{{id}}"
BILLING_RUN = "billingRun"
"""The native billing job, as a person starts it in the screen; no record type. Likewise those of
merging customers and of voiding an invoice."""
MERGE, VOID = "merge", "void"

Handler = Callable[[Call], Awaitable[Reply]]


class NetSuite(Vendor):
    """SuiteTalk REST web services, one account per NetSuite account id."""

    name = auth.NAME

    def routes(self) -> Sequence[Route]:
        """Return the paths of the record service, queries, jobs, metadata and sign-in."""
        later = (
            ("GET", _ALL, service.list_records),
            ("POST", _ALL, service.create_record),
            ("GET", _ONE, service.read_record),
            ("PATCH", _ONE, service.update_record),
            ("PUT", _ONE, service.upsert_record),
            ("DELETE", _ONE, service.delete_record),
            ("POST", f"{_ONE}/!transform/{{target}}", transforms.transform),
            ("POST", f"{_ONE}/@{{action}}", transforms.act),
        )
        now = (
            ("GET", f"{RECORD_ROOT}/metadata-catalog", metadata.read_catalog),
            ("GET", f"{RECORD_ROOT}/metadata-catalog/{{type}}", metadata.read_schema),
            ("GET", f"{_ONE}/{{sublist}}", service.read_sublist),
            ("GET", f"{_ONE}/{{sublist}}/{{line}}", service.read_line),
            ("POST", SUITEQL_PATH, _suiteql),
            ("GET", _LIMITS_PATH, _limits),
            ("GET", f"{JOB_ROOT}/{{job}}", asynchronous.read_job),
            ("GET", f"{JOB_ROOT}/{{job}}/task/", asynchronous.read_tasks),
            ("GET", f"{JOB_ROOT}/{{job}}/task", asynchronous.read_tasks),
            ("GET", f"{JOB_ROOT}/{{job}}/task/{{task}}", asynchronous.read_task),
            ("GET", f"{JOB_ROOT}/{{job}}/task/{{task}}/result", asynchronous.read_result),
            ("POST", transforms.RESTLET_PATH, transforms.void),
        )
        # DELETE of a whole collection is no operation; with `?ids=` it is a batch.
        several = ("PATCH", "PUT", "DELETE")
        unfit = (_ALL, _ONE, SUITEQL_PATH)
        return (
            Route("POST", auth.TOKEN_PATH, auth.issue_token, public=True),
            *(Route(verb, path, _counted(handler)) for verb, path, handler in now),
            *(Route(verb, path, _counted(_one_or_many(handler))) for verb, path, handler in later),
            *(Route(verb, _ALL, _counted(_one_or_many(_not_allowed))) for verb in several),
            *(Route("*", path, _not_allowed) for path in unfit),
        )

    def new_account(self, name: str, clock: Clock) -> Account:
        """Make an account with its company set-up."""
        account = Account(name, clock, lambda _, number: str(number))
        add_indexes(account)
        set_up(account)
        return account

    def authenticate(self, call: Call) -> str:
        """Check the signature or the bearer token."""
        return auth.authenticate(call)

    def account_of(self, call: Call) -> str:
        """Read the account from the assertion of a token request."""
        return auth.account_of_assertion(call)

    def credentials(self, account: str) -> dict[str, str]:
        """Return the account id, the four values of OAuth 1.0a, and client id, kid and key."""
        return auth.credentials(account)

    def request_key(self, call: Call) -> str | None:
        """Return the external id of the record, by whichever id the request names it."""
        return next(iter(self.request_keys(call)), None)

    def request_keys(self, call: Call) -> tuple[str, ...]:
        """Return the external ids of all items of a batch, else that of the one record."""
        if is_batch(call) and call.path.startswith(RECORD_ROOT):
            return batch_keys(call)
        return service.record_keys(call)

    def is_search(self, call: Call) -> bool:
        """Collections and SuiteQL are searches; reading by id or external id is not."""
        listing = call.method == "GET" and set(call.params) == {"type"} and not is_batch(call)
        return call.path == SUITEQL_PATH or (listing and "/metadata-catalog" not in call.path)

    def concurrency_limit(self, account: Account) -> int | None:
        """Return the account's limit, 15 (tier 1) unless an administrator changed it."""
        limit = governance(account).get("concurrencyLimit")
        return limit if isinstance(limit, int) else None

    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        """Return a fault's wire form; `options` may give status, code, detail and path."""
        options = fault.spec.options
        if call.path == auth.TOKEN_PATH and kind is not FaultKind.RATE_LIMIT:
            return _token_fault(kind)
        match kind:
            case FaultKind.RATE_LIMIT:
                return errors.concurrency_exceeded(fault.spec.retry_after).reply
            case FaultKind.EXPIRE_AUTH:
                auth.void_tokens(call)
                return errors.invalid_login().reply
            case FaultKind.REJECT:
                return _rejection(call, fault)
            case _:
                status = int(str(options.get("status", 500)))
                return errors.unexpected(status, f"{fault.id}-{len(fault.calls)}").reply

    def not_found_reply(self, call: Call) -> Reply:
        """Return the answer for an address which is not served, transforms and actions too."""
        text = f"The URL is not valid or not supported: {call.method} {call.path}"
        return errors.invalid_url(text, call.path).reply

    def malformed_reply(self, call: Call, reason: str) -> Reply:
        """Return the answer for a body which is not JSON."""
        del call
        text = f"Invalid content in the request body: {reason}"
        return errors.problem(400, "INVALID_CONTENT", text).reply

    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        """Fill an account; `bulk` and `empty` need the company set-up alone."""
        del seed  # nothing here is left to chance
        return _seed(account, scenario, count)

    def screen_create(
        self, account: Account, type: str, fields: dict[str, JsonValue], key: str | None
    ) -> Record:
        """Create as a person would: the same rules; a bare id is taken for a reference."""
        if type in _SETTINGS:
            return account.store.insert(type, fields, id=key)
        if type == BILLING_RUN:
            return _run_billing(account, fields)
        if type == MERGE:
            return merge_customers(account, str(fields.get("customer")), str(fields.get("into")))
        if type == VOID:
            return _void(account, str(fields.get("invoice")))
        kind = RECORD_TYPES.get(type)
        if kind is None:
            raise ValueError(f"no record type {type!r}: there are {', '.join(RECORD_TYPES)}")
        try:
            return _screen_writer(account).create(kind, fields, key)
        except ReplyError as error:
            raise ValueError(refusal_text(error)) from error

    def screen_update(
        self, account: Account, record: Record, changes: dict[str, JsonValue]
    ) -> Record:
        """Change as a person would."""
        if record.type in _SETTINGS:
            return account.store.update(record, changes)
        try:
            return _screen_writer(account).update(record, changes)
        except ReplyError as error:
            raise ValueError(refusal_text(error)) from error

    def screen_delete(self, account: Account, record: Record) -> None:
        """Delete as a person would."""
        if record.type in _SETTINGS:
            account.store.delete(record)
            return
        try:
            _screen_writer(account).delete(record)
        except ReplyError as error:
            raise ValueError(refusal_text(error)) from error


_seed = seed


def _screen_writer(account: Account) -> Writer:
    return Writer(Reader(account, names="error", loose=True))


async def _suiteql(call: Call) -> Reply:
    """Answer a query; `Prefer: transient` is mandatory (vendor page, 4.3)."""
    if "transient" not in call.headers.get("Prefer", "").lower():
        text = "The Prefer header with the value transient is required."
        raise errors.invalid_header(text, "Prefer")
    page = read_page(call.query)
    body = call.json
    q = body.get("q") if isinstance(body, dict) else None
    if not isinstance(q, str):
        raise errors.invalid_content("The request body needs a query in q.", "q")
    found = run_statement(call.account, parse_statement(q))
    shown: list[JsonValue] = [*found.rows(page.offset, page.limit)]
    url = f"{call.origin}{call.raw_path}"
    return Reply(200, collection(url, call.query, page, shown, found.count))


async def _limits(call: Call) -> Reply:
    """Answer the account's limits (GovernanceLimits Operation)."""
    limit = governance(call.account).get("concurrencyLimit")
    body: Fields = {
        "accountConcurrencyLimit": limit or CONCURRENCY_LIMIT,
        "accountUnallocatedConcurrencyLimit": limit or CONCURRENCY_LIMIT,
        "integrationLimitType": "accountLimit",
    }
    return Reply(200, body)


async def _not_allowed(call: Call) -> Reply:
    raise errors.method_not_allowed(call.method)


def _counted(handler: Handler) -> Handler:
    """Return the handler under the account's frequency limit, which is off unless one is set."""

    async def serve(call: Call) -> Reply:
        limit = governance(call.account).get("requestsPerMinute")
        if isinstance(limit, int):
            minute = int(call.account.clock.now().timestamp()) // 60
            window = call.account.extra.get("window")
            used = window[1] if isinstance(window, list) and window[0] == minute else 0
            count = int(str(used)) + 1
            call.account.extra["window"] = [minute, count]
            if count > limit:
                raise errors.frequency_exceeded()
        return await handler(call)

    return serve


def _one_or_many(handler: Handler) -> Handler:
    """Return the handler for one record, which leaves batches to their own."""
    single = or_later(handler)

    async def serve_either(call: Call) -> Reply:
        return await (serve(call) if is_batch(call) else single(call))

    return serve_either


def _rejection(call: Call, fault: Fault) -> Reply:
    """Return a business refusal; in a batch a key singles out the items which get it."""
    options, key = fault.spec.options, fault.spec.match.key
    detail = "Error while accessing a resource. A workflow refused this record."
    path = options.get("path")
    refusal = errors.problem(
        int(str(options.get("status", 400))),
        str(options.get("code", "USER_ERROR")),
        str(options.get("detail", detail)),
        {"o:errorPath": str(path)} if path else None,
    ).reply
    if key is None or not is_batch(call):
        return refusal
    try:
        return perform(call, partial(key_fits, key), refusal)
    except ReplyError as error:
        return error.reply


def _run_billing(account: Account, fields: Fields) -> Record:
    body = {name: value for name, value in fields.items() if name != "job"}
    try:
        return transforms.bill_project(account, str(fields.get("job")), body)
    except ReplyError as error:
        raise ValueError(refusal_text(error)) from error


def _void(account: Account, id_: str) -> Record:
    invoice = account.store.get("invoice", id_)
    if invoice is None:
        raise ValueError(f"there is no invoice {id_}")
    try:
        transforms.void_invoice(account, invoice)
    except ReplyError as error:
        raise ValueError(refusal_text(error)) from error
    return invoice


def _token_fault(kind: FaultKind) -> Reply:
    if kind in (FaultKind.REJECT, FaultKind.EXPIRE_AUTH):
        return errors.oauth_error("invalid_grant").reply
    return errors.oauth_error("server_error", 500).reply
