"""The order in which processes share the tests: all of them once, long ones where they begin."""

from collections import Counter
from dataclasses import dataclass
from typing import cast

import pytest

from tests.support.order import shared


@dataclass(frozen=True)
class Named:
    """As much of a test as its place depends on."""

    nodeid: str

    def get_closest_marker(self, _name: str) -> bool:
        return self.nodeid.startswith("tests/sagas/")


def items_of(folder: str, count: int) -> list[pytest.Item]:
    return cast(list[pytest.Item], [Named(f"tests/{folder}::{n}") for n in range(count)])


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize(
    ("stacks", "long", "short"), [(20, 30, 250), (5, 2, 0), (50, 3, 1), (0, 30, 3), (9, 0, 9)]
)
def test_every_test_stays_once(stacks: int, long: int, short: int, processes: int) -> None:
    items = [
        *items_of("cli/test_commands.py", stacks),
        *items_of("sagas/test_decisions.py", long),
        *items_of("unit/test_compose.py", short),
    ]
    assert Counter(shared(items, processes)) == Counter(items)


def test_each_stretch_begins_with_what_takes_long() -> None:
    stacks = items_of("e2e/test_demo.py", 10)
    matrix, others = (
        items_of("sagas/test_fault_matrix.py", 4),
        items_of("sagas/test_decisions.py", 6),
    )
    short = items_of("unit/test_compose.py", 280)

    ordered = shared([*short, *others, *stacks, *matrix], 3)

    first, second, third = ordered[:100], ordered[100:200], ordered[200:]
    assert first == [*stacks, *short[:90]]
    assert second == [*matrix[::2], *others[::2], *short[90:185]]
    assert third == [*matrix[1::2], *others[1::2], *short[185:]]
