"""One attempt of a step: heartbeat, correlation, and what a failure does to the budget."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities.failures import again, detail_of, final
from adapters.errors import AdapterError
from adapters.governor import call_priority
from adapters.http import correlation_id
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.saga import StepCall, UndoCall
from store import Store
from store.errors import GenerationClosed
from store.ledger import AttemptOutcome, StepAttempt

HEARTBEAT_SECONDS = 3.0
RETRY_SECONDS_MAX = 60.0
THROTTLED_SECONDS = 5.0
"""How long a rate-limited call waits where the vendor does not say."""

Envelope = StepCall[Any] | UndoCall[Any]


@dataclass
class Attempt:
    """What is known of this attempt; the runner fills it in as it goes."""

    number: int = 1
    claimed: bool = False
    maybe_written: bool = False
    """An earlier attempt's outcome is unknown."""


@asynccontextmanager
async def attempt(store: Store, call: Envelope, *, undo: bool = False) -> AsyncIterator[Attempt]:
    """Run one attempt; turn its error into the Temporal failure that the budget allows.

    Budget: the time of real attempts and the back-off after them, per decision of a person.
    Queueing and rate limits do not count (DESIGN 3.5).
    """
    this = Attempt()
    started = time.monotonic()
    correlation_id.set(f"{call.key}#undo" if undo else call.key)
    call_priority.set(activity.info().priority.priority_key or 2)
    beating = asyncio.create_task(_beat())
    try:
        yield this
    except AdapterError as error:
        detail = detail_of(error, call.route.connection)
        detail = detail.model_copy(
            update={"outcome_unknown": detail.outcome_unknown or this.maybe_written}
        )
        seconds = time.monotonic() - started
        wait = getattr(error, "retry_after_seconds", None)
        raise await _weighed(store, call, this, detail, seconds, wait, undo=undo) from error
    except StepFailed as error:
        raise final(
            error.detail.model_copy(update={"outcome_unknown": this.maybe_written})
        ) from error
    except GenerationClosed as error:
        raise final(
            FailureDetail(
                kind=FailureKind.REJECTED,
                reason="generation_closed",
                message="The saga is stopping; nothing more is sent.",
                outcome_unknown=this.maybe_written,
            )
        ) from error
    finally:
        beating.cancel()


async def _weighed(
    store: Store,
    call: Envelope,
    this: Attempt,
    detail: FailureDetail,
    seconds: float,
    wait: float | None,
    *,
    undo: bool,
) -> Exception:
    """Return what Temporal is told: try again after a while, or park."""
    delay = _delay(call, detail, wait)
    counted = 0.0 if detail.kind is FailureKind.RATE_LIMITED else seconds + delay
    unknown = detail.kind is FailureKind.UNKNOWN
    spent = await store.ledger.record_failed(
        ledger_attempt(call, this, undo=undo),
        AttemptOutcome.UNKNOWN if unknown and not undo else AttemptOutcome.NOT_DONE,
        counted,
        detail.reason,
    )
    if detail.kind in {FailureKind.REJECTED, FailureKind.UNDO_REFUSED}:
        return final(detail)
    if spent >= call.route.budget_seconds:
        return final(detail.model_copy(update={"kind": FailureKind.BUDGET_SPENT}))
    return again(detail, delay)


def undo_key(key: str) -> str:
    """Return under what key the attempts of a step's undo keep their budget."""
    return f"undo:{key}"


def ledger_attempt(call: Envelope, this: Attempt, *, undo: bool = False) -> StepAttempt:
    """Return this attempt as the ledger names it; undos keep their budget under a key beside."""
    return StepAttempt(
        key=undo_key(call.key) if undo else call.key,
        attempt=this.number,
        round=call.round,
        workflow_id=call.workflow_id,
        generation=call.generation,
        step=call.step,
        connection=call.route.connection,
        request_json=call.model_dump_json(),
    )


def _delay(call: Envelope, detail: FailureDetail, wait: float | None) -> float:
    if detail.kind is FailureKind.RATE_LIMITED:
        return wait if wait is not None else THROTTLED_SECONDS
    backoff = min(
        call.route.retry_seconds * 2.0 ** (activity.info().attempt - 1), RETRY_SECONDS_MAX
    )
    if detail.kind is FailureKind.UNKNOWN:
        return max(backoff, call.route.settle_seconds)
    return backoff


async def _beat() -> None:
    """Tell the server that we live: a killed worker's attempt is then given up quickly."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        activity.heartbeat()
