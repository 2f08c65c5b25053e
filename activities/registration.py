"""Binds an activity to its typed reference, so that workflows and workers cannot disagree."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from temporalio import activity

from canonical.activities import ActivityRef, Request, Result

Self = TypeVar("Self")
Method = Callable[[Self, Request], Coroutine[Any, Any, Result]]

_REFERENCE = "__dealthread_reference__"


def implements(
    ref: ActivityRef[Request, Result],
) -> Callable[[Method[Self, Request, Result]], Method[Self, Request, Result]]:
    """Register a method as the one implementation of `ref`, under its name."""

    def bind(method: Method[Self, Request, Result]) -> Method[Self, Request, Result]:
        setattr(method, _REFERENCE, ref)
        return activity.defn(name=ref.name)(method)

    return bind


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
