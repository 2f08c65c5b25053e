"""The suite's log shows warnings only; tests of the log itself need all of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def every_level() -> Iterator[None]:
    """Let every level through while the block runs."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))
    try:
        yield
    finally:
        structlog.configure(wrapper_class=before)
