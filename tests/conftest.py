"""What all tests share: fixtures and order by plugin, an end of the process that cannot fail.

A process that ran a Temporal worker can abort while the interpreter shuts down (DESIGN 11). So the
process leaves at the very end of its exit handlers, when all of pytest, its plugins and the
servers they started are done, with the status that pytest decided.
"""

import atexit
import functools
import gc
import logging
import os
import sys
import time

import httpx
import pytest
import structlog

# One line for each vendor call would bury what failed; tests of the log set up their own.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

# To read the usual CAs costs 40 ms, and thousands of connections are opened: they share what was
# read. What is checked by it stays the same.
httpx.create_ssl_context = functools.cache(httpx.create_ssl_context)

pytest_plugins = [
    "tests.support.order",
    "tests.support.postgres",
    "tests.support.temporal",
    "tests.support.world",
]

LEAVE_AFTER_SECONDS = 0.05
"""A moment for the SDK's threads to end once their objects are collected."""


class _Ending:
    """Remembers the session, whose exit status may change until the end."""

    session: pytest.Session | None = None

    def leave(self) -> None:
        if self.session is None:
            return
        gc.collect()
        time.sleep(LEAVE_AFTER_SECONDS)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(self.session.exitstatus))


_ending = _Ending()
# Exit handlers run last in, first out: this one is among the last, after those of the servers.
atexit.register(_ending.leave)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Take note of the session whose tests run in this process."""
    distributes = session.config.getoption("dist", "no") != "no"
    if not distributes:  # a controller runs no test, and waits for its children to end
        _ending.session = session
