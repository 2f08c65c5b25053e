"""Work items as people read them: what is stuck, why, and the command that a person would type."""

import textwrap

from canonical.failures import FailureKind
from canonical.saga import WorkItem, WorkItemKind
from operations.cli.output import OUT, WIDTH, say, short
from policies.corrections import CORRECTABLE
from store.inbox import event_of

TITLE_LENGTH = 80
CANDIDATES_MAX = 10
NAME_WIDTH = 11
INDENT = " " * (2 + NAME_WIDTH)


def show_items(items: list[WorkItem], links: list[str], as_: str = "NAME") -> None:
    """Print each item as a block, with its page in the Web UI where that is up."""
    if not items:
        say("Nothing waits for a person.")
    for item, link in zip(items, links, strict=True):
        say("")
        say(
            " · ".join(
                filter(None, (item.id, short(item.title, TITLE_LENGTH) or saga(item), item.amount))
            ),
            style="bold",
        )
        for name, text in _lines(item):
            head = f"  {name:<{NAME_WIDTH}}"
            say(textwrap.fill(head + text, min(OUT.width, WIDTH), subsequent_indent=INDENT))
        # To be copied: in one line, however long.
        say(f"  {'type':<{NAME_WIDTH}}{suggestion(item, as_)}", style="cyan")
        if link:
            say(f"  {'look':<{NAME_WIDTH}}{link}")


def saga(item: WorkItem) -> str:
    """Return the id by which a person names the saga: its opportunity."""
    return item.workflow_id.rpartition("/")[2]


def _lines(item: WorkItem) -> list[tuple[str, str]]:
    failure = item.failure
    place = f" in {item.connection}" if item.connection else ""
    lines = [
        ("stuck at", f"{item.step}{place}, park {item.park}"),
        ("why", f"{failure.reason}: {failure.message}"),
    ]
    if failure.field:
        where = f" in {failure.owner}, then retry" if failure.owner else ""
        lines.append(("correct", f"{failure.field}{where}"))
    for candidate in failure.candidates[:CANDIDATES_MAX]:
        what = (candidate.name, candidate.tax_id, candidate.country, candidate.matched_by)
        lines.append(("candidate", f"{candidate.record.id}: {', '.join(filter(None, what))}"))
    lines.append(("answer by", f"{item.respond_by:%Y-%m-%d %H:%M} UTC: {', '.join(item.verbs)}"))
    return lines


def suggestion(item: WorkItem, as_: str = "NAME") -> str:
    """Return the command that most likely helps; words in capitals are for the person to fill."""
    start = f"starter.py resolve {item.id}"
    failure = item.failure
    if item.kind is WorkItemKind.GATE:
        return f"starter.py approve {item.id} --as {as_}"
    if item.kind is WorkItemKind.DEAD_LETTER:
        return f"starter.py events replay {event_of(item.id)}"
    if item.kind is WorkItemKind.NATIVE_CREDIT:
        invoice, credit = item.key.removeprefix("invoice/").rsplit("/", 1)
        return f"starter.py invoice explain {invoice} {credit} --reason REASON --as {as_}"
    if failure.candidates:
        return f"{start} adopt --record {failure.candidates[0].record.id} --as {as_}"
    if failure.field in CORRECTABLE and failure.kind is FailureKind.REJECTED:
        return f"{start} retry --set {failure.field}=VALUE --as {as_}"
    return f"{start} retry --as {as_}"
