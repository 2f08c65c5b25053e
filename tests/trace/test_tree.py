"""The tree fits 80 columns, tells each thing once, and lets nobody's words move the cursor."""

import io

import pytest
from rich.console import Console

from operations.cli.thread_tree import thread_tree
from tests.trace.samples import HOSTILE, graph


def shown(*titles: str) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(thread_tree(graph(*titles)), highlight=False)
    return out.getvalue()


def test_everything_is_told_with_state_amounts_and_sagas() -> None:
    told = " ".join(shown("ERP rollout", "Support").replace("│", " ").split())
    for text in (
        "the thread of client:001",
        "5,000 deals · 2 shown, --all shows them all",
        "1 invoice · net 1,234,567.89 EUR",
        "client 001 · Müller & Söhne ◀ this",
        "deal salesforce/Support · Support · completed",
        "006DT0000000001AAA: completed with residue, generation 2",
        "part settled · 2026-11-30 · net 1,234,567.89 EUR",
        "became invoice netsuite/9001",
    ):
        assert text in told, told
    # It hangs under one deal, and the other says so.
    assert told.count("invoice netsuite/9001 ·") == 1


@pytest.mark.parametrize("title", HOSTILE)
def test_it_fits_a_terminal_and_controls_none(title: str) -> None:
    told = shown(title)
    assert "\x1b" not in told
    assert "\r" not in told
    assert max(map(len, told.splitlines())) <= 80
