"""The audit trail in plain words: one sentence for each act."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from store.audit import AuditEntry

Data = Mapping[str, Any]


def told(entry: AuditEntry) -> str:
    """Return what an entry says; an act without words of its own shows its data."""
    data: Data = json.loads(entry.data_json)
    words = _WORDS.get(entry.act)
    if words is None:
        return f"{entry.act}: " + ", ".join(f"{name} {value}" for name, value in data.items())
    return words(data)


def _local(key: str) -> str:
    """Return `step [item]` of a key `<workflow id>/<generation>:<step>[:<item>]`."""
    return key.rpartition("/")[2].partition(":")[2].replace(":", " ")


def _ended(data: Data) -> str:
    reason = f": {data['reason']}" if data.get("reason") else ""
    return f"ended as {data['outcome']}{reason}"


def _done(data: Data) -> str:
    record = f"{data['type']} {data['id']}".strip()
    if data["outcome"] == "skipped":
        return f"{_local(data['key'])} was skipped"
    return f"{_local(data['key'])}: {data['outcome']} {record} in {data['system']}"


def _undone(data: Data) -> str:
    residue = f"; left: {data['residue']}" if data.get("residue") else ""
    return f"{_local(data['key'])} was undone: {data['result']}{residue}"


def _closed(data: Data) -> str:
    decision = f" ({data['decision']})" if data.get("decision") else ""
    return f"work item {data['work_item']} was closed: {data['how']}{decision}"


def _proposed(data: Data) -> str:
    parts = [f"decided {data['verb']} on {data['work_item_id']} ({data['id']})"]
    if data.get("corrections"):
        parts.append("with " + ", ".join(f"{k}={v}" for k, v in data["corrections"].items()))
    if data.get("record_id"):
        parts.append(f"with record {data['record_id']}")
    if data.get("because"):
        parts.append(f"because {data['because']}")
    if data.get("needs_second"):
        parts.append("which a second person has to approve")
    return ", ".join(parts)


_WORDS: Final[dict[str, Callable[[Data], str]]] = {
    "saga_began": lambda data: f"began, generation {data['generation']}",
    "saga_resumed": lambda data: f"went on in a new run, generation {data['generation']}",
    "saga_ended": _ended,
    "generation_closed": lambda data: f"stops and only undoes from here on: {data['reason']}",
    "step_done": _done,
    "step_undone": _undone,
    "work_item_opened": lambda data: (
        f"stuck at {data['step']} ({data['reason']}): work item {data['work_item']}"
    ),
    "work_item_closed": _closed,
    "work_item_escalated": lambda data: (
        f"work item {data['work_item']} was escalated: {data['because']}"
    ),
    "decision_proposed": _proposed,
    "decision_approved": lambda data: f"approved {data['decision']}",
    "decision_taken": lambda data: f"took {data['decision']}: {data['verb']}",
}
