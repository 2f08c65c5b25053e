"""Bringing a batch about: submit, wait, read back, and say which line was refused and why."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from adapters.auth import Method
from adapters.errors import (
    AdapterError,
    ClosedPeriod,
    Invalid,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.netsuite.batch import ITEMS_MAX, Batches, Job, Refusal
from adapters.netsuite.client import VENDOR
from canonical.billing import PostedCharge, PostedCost
from canonical.ids import ExternalId

LINES_MAX: Final = 1_000
"""Lines of one post: ten batches of NetSuite's."""
LOOK_MAX: Final = 500
"""External ids of one query: some 30,000 characters."""

Posted = TypeVar("Posted", PostedCharge, PostedCost)
Each = TypeVar("Each")


@dataclass(frozen=True)
class Post:
    """A batch to write: bodies and names of the items by external id, in their order."""

    method: Method
    type: str
    act: str
    bodies: Mapping[ExternalId, Mapping[str, object]]
    names: Mapping[ExternalId, str]
    """How the caller calls them, for messages."""


def refuse_too_many(external_ids: Sequence[ExternalId], act: str) -> None:
    """Refuse more lines than one post takes, before anything is sent.

    Raises:
        Invalid: there are too many.
    """
    if len(external_ids) > LINES_MAX:
        text = f"A post takes {LINES_MAX} lines; {len(external_ids)} are to be posted."
        raise Invalid(text, vendor=VENDOR, operation=act, field="items")


def chunks(items: Sequence[Each], size: int = LOOK_MAX) -> list[list[Each]]:
    """Return the items in groups of at most `size`."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


async def post_all(
    batches: Batches,
    post: Post,
    find: Callable[[Sequence[ExternalId]], Awaitable[tuple[Posted, ...]]],
) -> tuple[Posted, ...]:
    """Write any number of records, 100 a batch and batch after batch; errors as `post_batch`.

    What earlier batches wrote stays when a later one fails: the caller looks before it repeats.
    """
    there: list[Posted] = []
    for portion in chunks(list(post.bodies), ITEMS_MAX):
        own = replace(post, bodies={id_: post.bodies[id_] for id_ in portion})
        there += await post_batch(batches, own, partial(find, portion))
    return tuple(there)


async def post_batch(
    batches: Batches, post: Post, find: Callable[[], Awaitable[tuple[Posted, ...]]]
) -> tuple[Posted, ...]:
    """Write a batch and return what is in the ERP then; `find` reads all of it back.

    Raises:
        ClosedPeriod, Rejected: an item was refused; the message names it.
        OutcomeUnknown: it is not known what became of an item.
    """
    if len(post.bodies) > ITEMS_MAX:
        text = f"A batch takes {ITEMS_MAX} records; {len(post.bodies)} are to be posted."
        raise Invalid(text, vendor=VENDOR, operation=post.act, field="items")
    job = await batches.write(post.method, post.type, list(post.bodies.values()), post.act)
    there, missing = await _seen(post, find)
    if missing and job.earlier:
        # An earlier submission is over. What is not there now was refused then or is gone since.
        bodies = [post.bodies[id_] for id_ in missing]
        job = await batches.write(post.method, post.type, bodies, post.act, anew=True)
        sent, (there, missing) = missing, await _seen(post, find)
    else:
        sent = list(post.bodies)
    if missing:
        raise await _why(batches, job, post, sent)
    return there


async def _seen(
    post: Post, find: Callable[[], Awaitable[tuple[Posted, ...]]]
) -> tuple[tuple[Posted, ...], list[ExternalId]]:
    try:
        there = await find()
    except (Transient, RateLimited) as error:
        text = f"It was written, but cannot be read back: {error.message}"
        raise OutcomeUnknown(text, vendor=VENDOR, operation=post.act) from error
    ids = {posted.external_id for posted in there}
    return there, [id_ for id_ in post.bodies if id_ not in ids]


async def _why(batches: Batches, job: Job, post: Post, sent: Sequence[ExternalId]) -> AdapterError:
    refusals = await batches.refusals(job, post.act) if job.failed else []
    if not refusals:
        text = "NetSuite is done with the batch, and not all of it is found."
        return OutcomeUnknown(text, vendor=VENDOR, operation=post.act)
    worst = min(refusals, key=_rank)
    error = worst.error
    if not isinstance(error, Rejected):
        return error
    if worst.place < len(sent):
        error.message = f"{post.names[sent[worst.place]]}: {error.message}"
    return error


def _rank(refusal: Refusal) -> int:
    """A closed period says most; what is not known must not be called refused."""
    error = refusal.error
    return 0 if not isinstance(error, Rejected) else 1 if isinstance(error, ClosedPeriod) else 2
