"""Work items as people read them: what is stuck, why, and the command that a person would type."""

import textwrap
from collections.abc import Sequence

from canonical.saga import WorkItem
from canonical.worklist import Work
from operations.cli.output import OUT, WIDTH, say, short
from operations.worklist import Listed, likely, work_of

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
    return likely(work_of(item), as_)


def show_work(listed: Sequence[Listed], *, everything: bool = False) -> None:
    """Print each piece of work as a block; with everything that can be done about it, or one."""
    if not listed:
        say("Nothing waits for a person.")
    for each in listed:
        work = each.work
        amount = str(work.amount) if work.amount else ""
        say("")
        title = short(work.title, TITLE_LENGTH) or work.workflow_id or work.project_code
        say(" · ".join(filter(None, (work.id, title, amount))), style="bold")
        for name, text in _told(work):
            head = f"  {name:<{NAME_WIDTH}}"
            say(textwrap.fill(head + text, min(OUT.width, WIDTH), subsequent_indent=INDENT))
        for action in each.actions if everything else each.actions[:1]:
            say(f"  {'type':<{NAME_WIDTH}}{action}", style="cyan")
        if each.link:
            say(f"  {'look':<{NAME_WIDTH}}{each.link}")


def _told(work: Work) -> list[tuple[str, str]]:
    place = f" in {work.connection}" if work.connection else ""
    about = (
        f"client {work.client_id}" if work.client_id else "",
        f"project {work.project_code}" if work.project_code else "",
        ", ".join(work.legal_entities),
    )
    lines = [
        ("waits at", f"{work.step or work.kind}{place}"),
        ("why", f"{work.reason}: {work.message}"),
        ("about", ", ".join(filter(None, about))),
    ]
    if work.field:
        where = f" in {work.field_owner}, then retry" if work.field_owner else ""
        lines.append(("correct", f"{work.field}{where}"))
    for candidate in work.candidates[:CANDIDATES_MAX]:
        what = (candidate.name, candidate.tax_id, candidate.country, candidate.matched_by)
        lines.append(("candidate", f"{candidate.record.id}: {', '.join(filter(None, what))}"))
    late = ", escalated" if work.escalated else ""
    until = f"answer by {work.respond_by:%Y-%m-%d %H:%M} UTC{late}"
    lines += [("since", f"{work.opened_at:%Y-%m-%d %H:%M}, {until}"), ("owner", work.owner)]
    return [(name, text) for name, text in lines if text]
