"""Binds an activity to its typed reference, so that workflows and workers cannot disagree."""

from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.failures import detail_of, final
from adapters.errors import AdapterError
from canonical.activities import ActivityRef, Request, Result
from canonical.failures import FailureDetail, FailureKind
from canonical.saga import StepCall, UndoCall
from store.errors import StoreUnavailable

Self = TypeVar("Self")
Method = Callable[[Self, Request], Coroutine[Any, Any, Result]]

_REFERENCE = "__dealthread_reference__"


def implements(
    ref: ActivityRef[Request, Result],
) -> Callable[[Method[Self, Request, Result]], Method[Self, Request, Result]]:
    """Register a method as the one implementation of `ref`, under its name."""
    is_step = issubclass(ref.request, StepCall | UndoCall)

    def bind(method: Method[Self, Request, Result]) -> Method[Self, Request, Result]:
        work = _parking_defects(method) if is_step else method
        setattr(work, _REFERENCE, ref)
        return activity.defn(name=ref.name)(work)

    return bind


def _parking_defects(
    method: Method[Self, Request, Result],
) -> Method[Self, Request, Result]:
    """Make a defect of ours park its step: retried in silence, nobody would see it (P8).

    A store that does not answer is no defect: Temporal tries again.
    """

    @wraps(method)
    async def work(self: Self, request: Request) -> Result:
        try:
            return await method(self, request)
        except AdapterError as error:
            raise final(detail_of(error, "")) from error
        except (ApplicationError, StoreUnavailable):
            raise
        except Exception as error:
            raise final(
                FailureDetail(
                    kind=FailureKind.REJECTED,
                    reason="defect",
                    message=f"A defect in Dealthread: {type(error).__name__}: {error}"[:2000],
                    outcome_unknown=True,
                )
            ) from error

    return work


def implementations(holders: Iterable[object]) -> dict[str, Callable[..., Any]]:
    """Return the bound activities of `holders` by name."""
    found: dict[str, Callable[..., Any]] = {}
    for holder in holders:
        for name in dir(holder):
            method = getattr(holder, name)
            ref = getattr(method, _REFERENCE, None)
            if isinstance(ref, ActivityRef):
                found[ref.name] = method
    return found
