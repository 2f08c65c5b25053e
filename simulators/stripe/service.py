"""How every request is served: limits, idempotency, one transaction, expansion, headers, events."""

import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import parse_qsl

from pydantic import JsonValue

from simulators.kit import Call, Reply, ReplyError
from simulators.stripe import errors
from simulators.stripe.errors import Refusal
from simulators.stripe.forms import decode
from simulators.stripe.state import API_VERSION, Act, Fields, StripeAccount, number, settings, text
from simulators.stripe.ticks import catch_up
from simulators.stripe.views import expand
from simulators.stripe.webhooks import dispatch

KEY_HEADER = "Idempotency-Key"
KEY_LENGTH_MAX = 255
KEY_SECONDS = 86_400
"""How long a key is kept (v1: at least 24 hours)."""
ARRIVALS_MAX = 1000
"""Keys remembered before those of finished requests are forgotten."""
_LIMITS = (
    ("requests_per_second", "global-rate"),
    ("endpoint_requests_per_second", "endpoint-rate"),
    ("search_requests_per_second", "endpoint-rate"),
)

Endpoint = Callable[[Act], Fields | Reply]


def served(endpoint: Endpoint, scope: str) -> Callable[[Call], Awaitable[Reply]]:
    """Return the kit's handler of an endpoint; `scope` is what its own rate limit counts."""

    async def serve(call: Call) -> Reply:
        account = account_of(call)
        try:
            _check_limits(account, scope)
            catch_up(account)
            reply = _once(account, call, endpoint)
        except Refusal as refusal:
            reply = refusal.reply
        return stamped(call, reply)

    return serve


def account_of(call: Call) -> StripeAccount:
    """Return the account of a request, which the vendor made itself."""
    account = call.account
    if not isinstance(account, StripeAccount):
        raise TypeError("an account of this vendor is made by its new_account")
    return account


def arrive(account: StripeAccount, call: Call) -> None:
    """Note a request under its key, so that a second one is told when the first still runs."""
    key = call.headers.get(KEY_HEADER)
    if call.method == "POST" and key:
        if len(account.arrivals) > ARRIVALS_MAX:
            account.arrivals = {
                known: calls for known, calls in account.arrivals.items() if _running(calls)
            }
        account.arrivals[key] = [*_running(account.arrivals.get(key, ())), call]


def stamped(call: Call, reply: Reply) -> Reply:
    """Add the headers of every answer."""
    headers = {
        "Request-Id": request_id(call),
        "Stripe-Version": call.headers.get("Stripe-Version") or API_VERSION,
        **reply.headers,
    }
    key = call.headers.get(KEY_HEADER)
    if key and call.method == "POST":
        headers[KEY_HEADER] = key
    return Reply(reply.status, reply.body, headers)


def request_id(call: Call) -> str:
    """Return the id of a request, the same whenever it is asked for."""
    n = 0 if call.entry is None else call.entry.n
    seed = f"{call.path}/{n}"
    return "req_" + hashlib.sha256(seed.encode()).hexdigest()[:14]


def keep_result(account: StripeAccount, call: Call, reply: Reply) -> None:
    """Keep an answer under its key, to be given again for 24 hours by the account's clock."""
    key = call.headers.get(KEY_HEADER)
    body = reply.body
    if key is None or call.method != "POST" or isinstance(body, bytes):
        return
    kept: Fields = {
        "at": int(account.clock.now().timestamp()),
        "fingerprint": _fingerprint(call),
        "path": call.path,
        "status": reply.status,
        "body": body,
        "request": request_id(call),
    }
    _results(account)[key] = kept


def tree_of(call: Call) -> Fields:
    """Return the parameters of a request, from its query and its form."""
    body = call.body.decode("utf-8", "replace")
    return decode("&".join(part for part in (call.query_string, body) if part))


def _once(account: StripeAccount, call: Call, endpoint: Endpoint) -> Reply:
    """Perform a request, or give the kept answer of its key."""
    key = call.headers.get(KEY_HEADER)
    if call.method != "POST" or not key:
        return _perform(account, call, endpoint)
    if len(key) > KEY_LENGTH_MAX:
        text_ = f"Idempotency keys can be at most {KEY_LENGTH_MAX} characters long."
        raise errors.invalid(text_)
    kept = _kept(account, key)
    if kept is not None:
        if text(kept, "fingerprint") != _fingerprint(call):
            raise errors.key_reused(key, text(kept, "path"))
        headers = {
            "Idempotent-Replayed": "true",
            "Original-Request": text(kept, "request"),
        }
        return Reply(number(kept, "status"), kept["body"], headers)
    if _is_running(account, key, call):
        raise errors.key_in_use()
    try:
        reply = _perform(account, call, endpoint)
    except Refusal as refusal:
        if refusal.executed:
            keep_result(account, call, refusal.reply)
        raise
    keep_result(account, call, reply)
    return reply


def _perform(account: StripeAccount, call: Call, endpoint: Endpoint) -> Reply:
    """Run an endpoint as one transaction; what it did is noted and told once it holds."""
    if call.body and "json" in call.headers.get("Content-Type", ""):
        text_ = "Invalid request (check that your POST content type is"
        raise errors.invalid(f"{text_} application/x-www-form-urlencoded).")
    tree = tree_of(call)
    paths = tree.pop("expand", [])
    act = Act(
        account=account,
        params=tree,
        target=call.params.get("id", ""),
        part=call.params.get("line", ""),
        path=call.path,
        request_id=request_id(call),
        idempotency_key=call.headers.get(KEY_HEADER),
    )
    with account.store.atomic():
        result = endpoint(act)
        if not isinstance(result, Reply):
            _expand(account, result, paths)
    for effect, record in act.effects:
        call.effected(effect, record.key, record.type, record.id)
    if act.news:
        dispatch(account, act.news)
    return result if isinstance(result, Reply) else Reply(200, result)


def _expand(account: StripeAccount, result: Fields, paths: JsonValue) -> None:
    wanted = [str(path) for path in paths] if isinstance(paths, list) else [str(paths)]
    wrong = expand(account, result, wanted)
    if wrong is not None:
        raise errors.invalid(f"This property cannot be expanded ({wrong}).", "expand")


def _check_limits(account: StripeAccount, scope: str) -> None:
    """Count a request against the limits that are set; real time, since a clock may be frozen.

    Live accounts have 100 a second, 25 for each endpoint, 20 for searches (vendor page, 3). None is
    set unless a test sets it, so that none is met by chance.
    """
    limits, now = settings(account), time.monotonic()
    for name, reason in _LIMITS:
        limit = limits.get(name)
        if name.startswith("search") != scope.endswith("/search") and not name.startswith("req"):
            continue
        if not isinstance(limit, int):
            continue
        window = account.windows.setdefault("all" if name.startswith("req") else scope, deque())
        while window and now - window[0] >= 1:
            window.popleft()
        if len(window) >= limit:
            raise Refusal(errors.limited(reason))
        window.append(now)


def _is_running(account: StripeAccount, key: str, call: Call) -> bool:
    """Whether a request with the same key came before this one and is not done."""
    for other in account.arrivals.get(key, ()):
        if other is call:
            return False
        if not _is_finished(other):
            return True
    return False


def _running(calls: Sequence[Call]) -> list[Call]:
    return [call for call in calls if not _is_finished(call)]


def _is_finished(call: Call) -> bool:
    return call.entry is not None and call.entry.finished


def _kept(account: StripeAccount, key: str) -> Fields | None:
    results = _results(account)
    kept = results.get(key)
    if not isinstance(kept, dict):
        return None
    if account.clock.now().timestamp() - number(kept, "at") >= KEY_SECONDS:
        del results[key]
        return None
    return kept


def _results(account: StripeAccount) -> Fields:
    results = account.extra.setdefault("idempotency", {})
    if not isinstance(results, dict):
        raise ReplyError(errors.envelope(500, "the state file holds no idempotency keys"))
    return results


def _fingerprint(call: Call) -> str:
    """Return what must be the same under one key: path and parameters, in whichever order."""
    pairs = sorted(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    return hashlib.sha256(f"{call.path}{pairs}".encode()).hexdigest()
