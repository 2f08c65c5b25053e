"""Kantata OX as the kit sees it: routes, sign-in, faults, seeds and the acts of people."""

# ruff: noqa: A002 - `type` is what every vendor calls it

from collections.abc import Mapping, Sequence

from simulators.kantata import feed, limits, oauth, screen
from simulators.kantata.catalog import make_id
from simulators.kantata.errors import (
    ApiError,
    Problem,
    ProblemType,
    answer,
    no_route,
    rate_limited,
    system,
    unauthorized,
)
from simulators.kantata.request_keys import keys_of
from simulators.kantata.routes import BASE, path_segments, serve
from simulators.kantata.seed import fill, set_up
from simulators.kantata.seed_time import SIZES, fill_time
from simulators.kit import (
    Account,
    Call,
    Clock,
    Fault,
    FaultKind,
    JsonValue,
    Record,
    Reply,
    ReplyError,
    Route,
    Vendor,
)

_OAUTH = "/oauth/"


class Kantata(Vendor):
    """The PSA: keyed results, external references, projects, stories, milestones, time, invoices.

    Fault `options`: `message`, `field`, `index`, `type` and `status` change what is answered;
    `html` makes `fail_before` answer a page instead of JSON; `revoke` makes `expire_auth` void the
    token for good, which otherwise is refused once.
    """

    name = "kantata"

    def routes(self) -> Sequence[Route]:
        """Return the OAuth endpoints and the API tree."""
        return (
            Route("GET", _OAUTH + "authorize", oauth.authorize, public=True),
            Route("POST", _OAUTH + "token", oauth.token, public=True),
            Route("POST", _OAUTH + "revoke", oauth.revoke, public=True),
            Route("*", BASE + "{rest:.*}", serve),
        )

    def new_account(self, name: str, clock: Clock) -> Account:
        """Make an account with its administrator and its custom fields."""
        account = Account(name, clock, make_id)
        set_up(account)
        return account

    def authenticate(self, call: Call) -> str:
        """Accept a token that is not revoked."""
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        name = oauth.account_of_token(token) if scheme.lower() == "bearer" else None
        if name is None:
            raise ReplyError(unauthorized().reply())
        if not oauth.is_valid(call.open_account(name), token):
            raise ReplyError(unauthorized().reply(), name)
        return name

    def account_of(self, call: Call) -> str:
        """Read the account from the client id or the token."""
        return oauth.account_of_sign_in(call)

    def credentials(self, account: str) -> dict[str, str]:
        """Return the administrator's token, and the app's id, secret and redirect URI."""
        return oauth.credentials(account)

    def request_keys(self, call: Call) -> tuple[str, ...]:
        """Return refs and ids of records that a request names."""
        return keys_of(call)

    def is_search(self, call: Call) -> bool:
        """Lists are what a stale index answers."""
        is_api = call.path.startswith(BASE)
        return is_api and call.method == "GET" and len(path_segments(call.path)) == 1

    def concurrency_limit(self, account: Account) -> int | None:
        """Return the limit that a test has set."""
        return limits.concurrency_limit(account)

    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        """Return section 4's wire form of a fault."""
        if call.path.startswith(_OAUTH):
            return _oauth_fault(kind)
        options = fault.spec.options
        if kind is FaultKind.EXPIRE_AUTH:
            if options.get("revoke"):
                token = call.headers.get("Authorization", "").partition(" ")[2]
                oauth.revoke_token(call.account, token)
            return unauthorized().reply()
        if kind is FaultKind.FAIL_BEFORE and options.get("html"):
            page = "<html><body>We are down for maintenance</body></html>"
            return Reply(503, page, {"Content-Type": "text/html; charset=utf-8"})
        return _adjusted(_usual(kind), options).reply()

    def not_found_reply(self, call: Call) -> Reply:
        """Return the vendor's 404."""
        del call
        return no_route().reply()

    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        """Add the master data, and what a scenario of time has; see `seed` and `seed_time`."""
        made = fill(account, scenario)
        if scenario not in SIZES:
            return made
        return {**made, **fill_time(account, scenario, count, seed)}

    def screen_create(
        self, account: Account, type: str, fields: dict[str, JsonValue], key: str | None
    ) -> Record:
        """Create an object as a person does; see `screen`."""
        return screen.create(account, type, fields, key)

    def screen_update(
        self, account: Account, record: Record, changes: dict[str, JsonValue]
    ) -> Record:
        """Change an object as a person does; see `screen`."""
        return screen.update(account, record, changes)

    def screen_delete(self, account: Account, record: Record) -> None:
        """Delete an object as a person does; see `screen`."""
        screen.delete(account, record)

    async def emit(self, account: Account, what: dict[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Say how rows of the feed arrive; the vendor itself notifies nobody.

        `{"what": "feed", "duplicate": 1, "shuffle": true, "delay_seconds": 90}` holds until the
        next one: each row comes so many times more, rows come in any order, and those written from
        now on so much after their `created_at`. With `"lost": true` none is written any more. What
        is left out is as usual.
        """
        options = dict(what)
        if options.pop("what", None) != feed.WHAT:
            raise ValueError(f"{self.name} is polled: only {feed.WHAT!r} can be emitted")
        ways = feed.set_ways(account, options)
        return {
            "duplicate": ways.duplicate,
            "shuffle": ways.shuffle,
            "delay_seconds": ways.delay_seconds,
            "lost": ways.lost,
        }


def _usual(kind: FaultKind) -> ApiError:
    match kind:
        case FaultKind.REJECT:
            problem = Problem(ProblemType.VALIDATION, "Title is invalid", "title")
            return ApiError(422, [problem])
        case FaultKind.RATE_LIMIT:
            return rate_limited()
        case FaultKind.FAIL_BEFORE:
            return system(503, "Service Unavailable")
        case _:
            return system(500, "Internal Server Error")


def _adjusted(error: ApiError, options: Mapping[str, JsonValue]) -> ApiError:
    status, index = options.get("status"), options.get("index")
    field = options.get("field", error.problems[0].field)
    problem = Problem(
        ProblemType(str(options.get("type", error.problems[0].type.value))),
        str(options.get("message", error.problems[0].message)),
        None if field is None else str(field),
        index if isinstance(index, int) else None,
    )
    return ApiError(status if isinstance(status, int) else error.status, [problem])


def _oauth_fault(kind: FaultKind) -> Reply:
    match kind:
        case FaultKind.RATE_LIMIT:
            return rate_limited().reply()
        case FaultKind.REJECT | FaultKind.EXPIRE_AUTH:
            words = "The authorization grant is invalid or expired"
            return answer(400, {"error": "invalid_grant", "error_description": words})
        case _:
            return answer(503, {"error": "temporarily_unavailable"})
