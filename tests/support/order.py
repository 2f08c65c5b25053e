"""The order of the tests where several processes share them, so that none of them ends long after.

A plugin of `tests/conftest.py`. With `--dist worksteal` each process gets one stretch of the list,
and takes over from the end of the longest one when it has done its own: longest by number, not by
time. So each stretch begins with its share of what takes long, and many short tests are left to
share at the end. What starts whole stacks goes one after another, on the first process.
"""

import pytest

STACKS = ("tests/cli/", "tests/e2e/", "tests/gateway/test_process.py")
LONG = "fault_matrix"
"""Marker of the tests that take long; so do all of the modules that follow, which come first."""
LONGEST = (
    "tests/sagas/test_fault_matrix.py",
    "tests/property/test_subledger.py",
    "tests/sagas/test_billing_outage.py",
    "tests/sagas/test_interruptions.py",
    "tests/sagas/test_billing_interruptions.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests into the order in which the processes share them."""
    processes = int(getattr(config, "workerinput", {}).get("workercount", 1))
    if processes > 1:
        items[:] = shared(items, processes)


def shared(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return the tests in stretches, one for each process, of the sizes that worksteal takes."""
    stacks: list[pytest.Item] = []
    long: list[pytest.Item] = []
    short: list[pytest.Item] = []
    for item in items:
        if item.nodeid.startswith(STACKS):
            stacks.append(item)
        elif item.nodeid.startswith(LONGEST) or item.get_closest_marker(LONG):
            long.append(item)
        else:
            short.append(item)
    long.sort(key=_place)
    stretches = [stacks, *(long[start :: processes - 1] for start in range(processes - 1))]
    ordered: list[pytest.Item] = []
    left = len(items)
    for number, stretch in enumerate(stretches):
        size = left // (processes - number)
        left -= size
        fill = max(0, size - len(stretch))
        ordered += [*stretch, *short[:fill]]
        del short[:fill]
    return ordered


def _place(item: pytest.Item) -> int:
    module = item.nodeid.partition("::")[0]
    return LONGEST.index(module) if module in LONGEST else len(LONGEST)
