"""The Stripe Billing simulator: its routes, its sign-in, its faults on the wire, its Dashboard.

Source: the vendor page on Stripe Billing. Left out: live mode, `/v2`, Stripe Tax, discounts,
metered prices, charges, payment methods beyond the magic ones, the rest of Stripe.

People act through the control origin under the same rules as clients: `POST /stripe/records` with a
`type` and the parameters of its creation as `fields`; `PATCH /stripe/records/{type}/{id}` with the
parameters of its update, or with `{"status": ...}` to pay out of band (`paid`), finalize (`open`),
void, or mark an invoice `uncollectible`, or decide on a `dispute`, or `{"payment_intent": ...}` to
attach a payment to an invoice; `DELETE`. Limits and lags are the record `settings` `1`.
"""

# ruff: noqa: A002 - `type` is what Stripe calls it

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

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
    is_account_name,
    secret_for,
)
from simulators.stripe import errors
from simulators.stripe.dashboard import CREATE, DELETE, UPDATE, move
from simulators.stripe.payments import attach_payment
from simulators.stripe.routes import ROUTES
from simulators.stripe.seed import fill, set_up
from simulators.stripe.service import (
    KEY_HEADER,
    account_of,
    arrive,
    keep_result,
    served,
    stamped,
    tree_of,
)
from simulators.stripe.state import (
    KEY,
    NAME,
    SETTINGS,
    TYPES,
    Act,
    Fields,
    StripeAccount,
    key_of,
    settings,
)
from simulators.stripe.webhooks import default_secret, dispatch, send

_KEY = re.compile(r"(?:sk|rk)_test_(?P<account>.+)_[0-9a-f]{24}")
_SEARCHED_KEY = re.compile(rf"""metadata\[["']{KEY}["']\]\s*:\s*(["'])(?P<key>.*?)\1""")


class Stripe(Vendor):
    """Stripe Billing in test mode, one account per secret key."""

    name = NAME

    def routes(self) -> Sequence[Route]:
        """Return the paths of `/v1`."""
        return [
            Route(method, path, served(endpoint, f"{method} {path}"))
            for method, path, endpoint in ROUTES
        ]

    def new_account(self, name: str, clock: Clock) -> Account:
        """Make an account with its settings."""
        account = StripeAccount(name, clock)
        set_up(account)
        return account

    def authenticate(self, call: Call) -> str:
        """Check the secret or restricted key, given as bearer token or as user."""
        given = _given_key(call)
        if given is None:
            text = (
                "You did not provide an API key. You need to provide your API key in the"
                " Authorization header, using Bearer auth (e.g. 'Authorization: Bearer"
                " YOUR_SECRET_KEY')."
            )
            raise _stamped(call, errors.unauthenticated(text))
        match = _KEY.fullmatch(given)
        name = match["account"] if match is not None else ""
        known = is_account_name(name)
        if not known or given not in self._keys(name):
            text = f"Invalid API Key provided: {_masked(given)}"
            raise _stamped(call, errors.unauthenticated(text, account=name if known else None))
        account = call.open_account(name)
        if isinstance(account, StripeAccount):
            arrive(account, call)
        return name

    def credentials(self, account: str) -> dict[str, str]:
        """Return the keys, and the secret by which `emit` signs for unregistered addresses."""
        secret, restricted = self._keys(account)
        return {
            "api_key": secret,
            "restricted_key": restricted,
            "webhook_secret": default_secret(account),
        }

    def request_key(self, call: Call) -> str | None:
        """Return the idempotency key, else `metadata[dealthread_key]`."""
        return next(iter(self.request_keys(call)), None)

    def request_keys(self, call: Call) -> tuple[str, ...]:
        """Return the idempotency key and every key in the form, the path or the query."""
        keys = [call.headers.get(KEY_HEADER) or "", *_keys_in_form(tree_of(call))]
        keys += [match["key"] for match in _SEARCHED_KEY.finditer(call.query.get("query", ""))]
        for part in call.path.split("/"):
            type_ = TYPES.get(part.partition("_")[0])
            record = call.account.store.get(type_, part) if type_ is not None else None
            keys.append((record.key if record is not None else None) or "")
        return tuple(dict.fromkeys(key for key in keys if key))

    def is_search(self, call: Call) -> bool:
        """Searches lag behind, lists do not."""
        return call.path.endswith("/search")

    def concurrency_limit(self, account: Account) -> int | None:
        """Return the account's limit; none unless a test sets one."""
        limit = settings(account).get("concurrent_requests")
        return limit if isinstance(limit, int) else None

    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        """Return a fault's wire form.

        Options: `status`, `code`, `message`, `type`, `param`, `decline_code` shape an error;
        `should_retry` sets `Stripe-Should-Retry`; `reason` is why a limit struck; `stored` keeps
        the answer under its idempotency key, so that it is given again for 24 hours.
        """
        reply = stamped(call, _fault_reply(kind, call, fault))
        if fault.spec.options.get("stored"):
            keep_result(account_of(call), call, reply)
        return reply

    def not_found_reply(self, call: Call) -> Reply:
        """Return the answer for an address which is not served."""
        text = f"Unrecognized request URL ({call.method}: {call.path}). Please see"
        text += " https://stripe.com/docs or we can help at https://support.stripe.com/."
        return stamped(call, errors.envelope(404, text))

    async def emit(self, account: Account, what: dict[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Send events; see `webhooks.Wish`."""
        return await send(account, what)

    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        """Fill an account; nothing here is left to chance."""
        del seed
        return fill(account, scenario, count)

    def screen_create(
        self, account: Account, type: str, fields: dict[str, JsonValue], key: str | None
    ) -> Record:
        """Create as a person does; the key becomes `metadata[dealthread_key]`."""
        if type not in CREATE:
            raise ValueError(f"no creation of {type!r}: there are {', '.join(CREATE)}")
        metadata = fields.get("metadata")
        given = dict(metadata) if isinstance(metadata, dict) else {}
        if key is not None:
            given[KEY] = key
        act = Act(account, {**fields, **({"metadata": given} if given else {})})
        shown = _acted(act, CREATE[type])
        record = account.store.get(type, str(shown.get("id")))
        if record is None:
            raise ValueError(f"{type} was refused: {shown}")
        return record

    def screen_update(
        self, account: Account, record: Record, changes: dict[str, JsonValue]
    ) -> Record:
        """Change as a person does; a `status` or a `payment_intent` alone moves an invoice."""
        if record.type == SETTINGS:
            return account.store.update(record, changes)
        act = Act(account, changes, record.id)
        if set(changes) == {"status"}:
            act.params = {}
            status = str(changes["status"])
            _acted(act, lambda act: move(act, record, status))
        elif set(changes) == {"payment_intent"}:
            _acted(act, attach_payment)
        elif record.type in UPDATE:
            _acted(act, UPDATE[record.type])
        else:
            raise ValueError(f"no update of {record.type!r}: there are {', '.join(UPDATE)}")
        return record

    def screen_delete(self, account: Account, record: Record) -> None:
        """Delete as a person does."""
        if record.type not in DELETE:
            raise ValueError(f"no deletion of {record.type!r}: there are {', '.join(DELETE)}")
        _acted(Act(account, {}, record.id), DELETE[record.type])

    def _keys(self, account: str) -> tuple[str, str]:
        return (
            f"sk_test_{account}_{secret_for(NAME, account, 'secret')[:24]}",
            f"rk_test_{account}_{secret_for(NAME, account, 'restricted')[:24]}",
        )


def _acted(act: Act, endpoint: Callable[[Act], Fields | Reply]) -> Fields:
    """Do what a person does, under the same rules, and tell of it."""
    try:
        with act.account.store.atomic():
            result = endpoint(act)
    except ReplyError as error:
        raise ValueError(errors.message_of(error)) from error
    if act.news:
        dispatch(act.account, act.news)
    if not isinstance(result, Reply):
        return result
    raise ValueError(errors.message_of(ReplyError(result)))


def _fault_reply(kind: FaultKind, call: Call, fault: Fault) -> Reply:
    options = fault.spec.options
    retry = options.get("should_retry")
    should_retry = retry if isinstance(retry, bool) else None
    headers = {} if should_retry is None else {"Stripe-Should-Retry": str(should_retry).lower()}
    match kind:
        case FaultKind.RATE_LIMIT:
            reason = str(options.get("reason", "global-rate"))
            code = str(options.get("code", "rate_limit"))
            return errors.limited(reason, code, should_retry, fault.spec.retry_after)
        case FaultKind.EXPIRE_AUTH:
            text = f"Expired API Key provided: {_masked(_given_key(call) or '')}"
            return errors.unauthenticated(text, "api_key_expired").reply
        case FaultKind.REJECT:
            return _rejection(options, headers)
        case _:
            status = int(str(options.get("status", 500)))
            text = "An unknown error occurred on our side. Please try again later."
            return errors.envelope(status, text, kind="api_error", headers=headers)


def _rejection(options: Mapping[str, JsonValue], headers: Mapping[str, str]) -> Reply:
    code, param = options.get("code"), options.get("param")
    decline = options.get("decline_code")
    status = int(str(options.get("status", 400 if decline is None else 402)))
    kind = "card_error" if status == 402 else errors.INVALID_REQUEST
    return errors.envelope(
        status,
        str(options.get("message", "This request was refused by a rule of the account.")),
        code=None if code is None else str(code),
        param=None if param is None else str(param),
        kind=str(options.get("type", kind)),
        headers=headers,
        more={} if decline is None else {"decline_code": decline},
    )


def _given_key(call: Call) -> str | None:
    scheme, _, value = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _masked(key: str) -> str:
    head = re.match(r"(?:sk|rk|pk)_(?:test|live)_", key)
    start = head[0] if head is not None else key[:3]
    return f"{start}{'*' * 12}{key[-4:]}"


def _stamped(call: Call, refusal: errors.Refusal) -> errors.Refusal:
    return errors.Refusal(stamped(call, refusal.reply), account=refusal.account)


def _keys_in_form(tree: Fields) -> Iterator[str]:
    """Yield our keys in a form: of the object, of its lines, and a meter event's identifier."""
    own = key_of(tree.get("metadata"))
    if own is not None:
        yield own
    for name, child in tree.items():
        if name == "identifier" and isinstance(child, str):
            yield child
        for inner in child if isinstance(child, list) else [child]:
            if isinstance(inner, dict) and name not in {"metadata", "payload"}:
                yield from _keys_in_form(inner)
