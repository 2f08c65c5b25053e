"""Workday as the kit sees it: routes, sign-in, faults, seeds and the acts of people."""

# ruff: noqa: A002 - `type` is what every vendor calls it

from collections.abc import Mapping, Sequence
from http import HTTPStatus

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
from simulators.workday import errors, oauth, rest
from simulators.workday.reports import run_report
from simulators.workday.seed import seed as seed_people
from simulators.workday.seed import set_up
from simulators.workday.state import FROM, WORKER, api_client, change, make_id, today

TOKEN_PATH = "/ccx/oauth2/{tenant}/token"
REPORT_PATH = "/ccx/service/customreport2/{tenant}/{owner}/{report}"
TREES = ("/ccx/api/v1", "/ccx/api/common/v1", "/ccx/api/staffing/v6", "/ccx/api/staffing/v7")
"""The versions that are served side by side (vendor page, sections 1 and 3)."""

_RESOURCES = {
    "workers": rest.list_workers,
    "workers/{id}": rest.read_worker,
    "workers/{id}/directReports": rest.direct_reports,
    "workers/{id}/serviceDates": rest.service_dates,
    "organizations": rest.list_organizations,
    "supervisoryOrganizations": rest.list_supervisory,
}


class Workday(Vendor):
    """The HCM: a token endpoint, custom reports and REST look-ups. Nothing writes.

    A worker that a test changes with `Effective_Date` gets a new version from that day; without,
    today's version itself is changed. A value of null takes the key off.

    Fault `options`: `message` and `status` change what is answered; `html` makes `fail_before`
    answer a page, as in the weekly maintenance.
    """

    name = "workday"

    def routes(self) -> Sequence[Route]:
        """Return the token endpoint, the reports and the REST trees."""
        return (
            Route("POST", TOKEN_PATH, oauth.token, public=True),
            Route("GET", REPORT_PATH, run_report),
            *(
                Route("GET", f"{tree}/{{tenant}}/{path}", handler)
                for tree in TREES
                for path, handler in _RESOURCES.items()
            ),
        )

    def new_account(self, name: str, clock: Clock) -> Account:
        """Make a tenant with its API client, organizations and reports."""
        account = Account(name, clock, make_id)
        set_up(account)
        return account

    def authenticate(self, call: Call) -> str:
        """Accept a live access token of the tenant in the path; reports take a password too."""
        name, claimed = oauth.account_of_request(call)
        if name is None or call.params.get("tenant", oauth.tenant(name)) != oauth.tenant(name):
            raise ReplyError(errors.unauthorized(), claimed)
        return name

    def account_of(self, call: Call) -> str:
        """Read the account from the tenant in the path."""
        return oauth.account_of_sign_in(call)

    def credentials(self, account: str) -> dict[str, str]:
        """Return tenant, API client, refresh token, and the ISU's name and password."""
        return oauth.credentials(account)

    def is_search(self, call: Call) -> bool:
        """Every read of more than one object may miss what is new."""
        return call.method == "GET" and "id" not in call.params

    def concurrency_limit(self, account: Account) -> int | None:
        """Return the limit that a test has set: Workday publishes none (section 6)."""
        limit = api_client(account).fields.get("concurrent_requests")
        return limit if isinstance(limit, int) else None

    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        """Return the wire form of a fault; the token endpoint has its own."""
        options = fault.spec.options
        at_door = call.path.startswith("/ccx/oauth2/")
        if kind is FaultKind.EXPIRE_AUTH and not at_door:
            oauth.void_token(call.account, call)
            return errors.unauthorized()
        if kind is FaultKind.FAIL_BEFORE and options.get("html"):
            page = "<html><body>Workday is currently unavailable: maintenance</body></html>"
            return Reply(503, page, {"Content-Type": "text/html; charset=utf-8"})
        reply = _at_the_door(kind) if at_door else _usual(kind)
        if isinstance(reply.body, dict) and "message" in options:
            reply.body["error"] = options["message"]
        status = options.get("status")
        reply.status = status if isinstance(status, int) else reply.status
        return reply

    def not_found_reply(self, call: Call) -> Reply:
        """Return the vendor's 404."""
        del call
        return errors.error(HTTPStatus.NOT_FOUND, "not found")

    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        """Add the scenario's people; count and seed change nothing."""
        del count, seed
        return seed_people(account, scenario)

    def screen_create(
        self, account: Account, type: str, fields: dict[str, JsonValue], key: str | None
    ) -> Record:
        """Create an object as a person does; a worker given without versions gets one."""
        if type != WORKER or "versions" in fields:
            return account.store.insert(type, fields, key)
        ids = ("Employee_ID", "Contingent_Worker_ID", "Worker_Type")
        head = {name: fields[name] for name in ids if name in fields}
        row = {name: value for name, value in fields.items() if name not in head}
        first: dict[str, JsonValue] = {FROM: today(account).isoformat(), "Active": "1", **row}
        id_ = key or str(head.get("Employee_ID", "")) or None
        made: dict[str, JsonValue] = {"Worker_Type": "EE", **head, "versions": [first]}
        return account.store.insert(type, made, id_)

    def screen_update(
        self, account: Account, record: Record, changes: dict[str, JsonValue]
    ) -> Record:
        """Change an object as a person does."""
        if record.type == WORKER:
            return change(account, record, changes)
        return account.store.update(record, changes)


def _usual(kind: FaultKind) -> Reply:
    match kind:
        case FaultKind.REJECT:
            return errors.error(HTTPStatus.BAD_REQUEST, "Validation error occurred", "id", "A1")
        case FaultKind.RATE_LIMIT:
            return errors.throttled()
        case _:
            return errors.fault()


def _at_the_door(kind: FaultKind) -> Reply:
    match kind:
        case FaultKind.REJECT | FaultKind.EXPIRE_AUTH:
            return errors.oauth_error(400, "invalid_grant", "The refresh token is invalid")
        case FaultKind.RATE_LIMIT:
            return errors.throttled()
        case _:
            return errors.fault()
