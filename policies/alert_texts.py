"""What people read in a chat or an e-mail: what, where, why, how much, who, by when, what to do.

Texts of vendors and of records come into it: they are flattened to one line, bounded, and can
mention nobody (`@channel` in a chat would wake a whole firm).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from canonical.alerts import Alert, Severity, Telling, TellingKind
from canonical.saga import WorkItem

LINE_MAX: Final = 500
TITLE_MAX: Final = 200
LISTED_MAX: Final = 10
"""Messages that a summary names by their titles."""
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_MENTION: Final = re.compile(r"@(?=(channel|here|all|everyone)\b)|<(?=[!@#])", re.IGNORECASE)

Link = Callable[[str], str]
"""Returns a workflow's page in the Web UI."""


def of_item(kind: TellingKind, item: WorkItem, owner: str, link: Link) -> Telling:
    """Return the message about a work item that was opened, or is past its deadline."""
    late = kind is TellingKind.WORK_ITEM_ESCALATED
    what = item.title or item.project_code or item.workflow_id
    head = "Past its deadline" if late else "Needs a person"
    lines = (
        ("what", f"{item.title or item.workflow_id} ({item.kind}, {item.id})"),
        ("where", _joined(item.step, item.connection, *item.legal_entities)),
        ("why", f"{item.failure.reason}: {item.failure.message}"),
        ("how much", item.amount),
        ("client", item.client_id),
        ("project", item.project_code),
        ("who", owner or "nobody yet"),
        ("by when", _time(item.respond_by)),
        ("look", link(item.workflow_id) if item.workflow_id else ""),
        ("do", f"starter.py work show {item.id}"),
    )
    return _telling(f"{head}: {what} - {item.failure.reason}", lines)


def of_alert(kind: TellingKind, alert: Alert, link: Link) -> Telling:
    """Return the message about an alert that was raised or cleared."""
    at = f" at {alert.entity}" if alert.entity else ""
    if kind is TellingKind.ALERT_CLEARED:
        over = (("what", f"{alert.title}{at}: it is so no more"), ("at", _time(alert.at)))
        return _telling(f"Cleared: {alert.title}{at}", over)
    head = "CRITICAL" if alert.severity is Severity.CRITICAL else str(alert.severity).capitalize()
    lines = (
        ("what", f"{alert.title}{at}: {alert.count}"),
        ("rule", alert.rule),
        ("since", _time(alert.since) if alert.since else ""),
        ("how much", "; ".join(map(str, alert.money))),
        *_examples(alert, link),
        ("do", alert.command),
    )
    return _telling(f"{head}: {alert.title}{at} ({alert.count})", lines)


def of_many(tellings: Sequence[Telling], more: int, command: str) -> Telling:
    """Return one message for many that would bury a channel."""
    shown = [f"- {each.title}" for each in tellings[:LISTED_MAX]]
    rest = len(tellings) - len(shown) + more
    told = [*shown, *([f"and {rest} more"] if rest else []), f"do: {command}"]
    return Telling(title=f"and {len(tellings) + more} more", body="\n".join(told))


def plain(text: str, limit: int = LINE_MAX) -> str:
    """Return a text as one bounded line that mentions nobody."""
    flat = _BREAKS.sub(" ", text).strip()
    # A word joiner is not seen, and takes the meaning from what follows.
    harmless = _MENTION.sub(lambda found: f"{found.group()}\u2060", flat)
    return harmless if len(harmless) <= limit else f"{harmless[: limit - 1]}…"


def _examples(alert: Alert, link: Link) -> Iterator[tuple[str, str]]:
    for each in alert.examples:
        amount = f", {each.amount}" if each.amount is not None else ""
        said = f"{each.title or each.subject} since {_time(each.since)}{amount}"
        yield "such as", said
        if each.workflow_id:
            yield "look", link(each.workflow_id)


def _telling(title: str, lines: Sequence[tuple[str, str]]) -> Telling:
    body = "\n".join(f"{name}: {plain(text)}" for name, text in lines if text)
    return Telling(title=plain(title, TITLE_MAX), body=body)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
