"""The commands that each workflow gives to Temporal, in the order of its source.

`python -m tests.sagas.fingerprints` writes `fingerprints.json` anew.
"""

import ast
import json
from pathlib import Path

from workflows import board, calls, desk, engine
from workflows.registry import WORKFLOWS

FINGERPRINTS = Path(__file__).with_name("fingerprints.json")
RENEW = "python -m tests.sagas.fingerprints"

COMMANDS = {
    "self.step",
    "self.parallel",
    "self.both",
    "self.gate",
    "self.park",
    "self.board.publish",
    "self._close_generation",
    "self.request_stop",
    "call_store",
    "call_vendor",
    "asyncio.create_task",
    "asyncio.gather",
    "asyncio.shield",
    "workflow.all_handlers_finished",
    "workflow.continue_as_new",
    "workflow.deprecate_patch",
    "workflow.execute_activity",
    "workflow.execute_child_workflow",
    "workflow.execute_local_activity",
    "workflow.patched",
    "workflow.random",
    "workflow.signal_with_start_workflow",
    "workflow.sleep",
    "workflow.start_activity",
    "workflow.start_child_workflow",
    "workflow.upsert_search_attributes",
    "workflow.uuid4",
    "workflow.wait_condition",
}
"""Calls whose number and order history remembers, beside all that is awaited.

`random` and `uuid4` draw from one seed.
"""
NAMED = {"self.step", "self.gate", "call_store", "call_vendor", "workflow.patched"}
"""Those whose first argument says what is done."""
SHARED = "Saga"
"""Of every saga: engine, desk, board and calls."""

Fingerprints = dict[str, list[str]]


def current() -> Fingerprints:
    """Return the fingerprint of every workflow as its source stands."""
    shared = [
        line for module in (engine, desk, board, calls) for line in of_file(str(module.__file__))
    ]
    found: Fingerprints = {SHARED: shared}
    for workflow in WORKFLOWS:
        file = Path(engine.__file__).parents[1] / (workflow.__module__.replace(".", "/") + ".py")
        found[workflow.__name__] = of_file(str(file))
    return found


def of_file(file: str) -> list[str]:
    """Return the commands in one file."""
    return of_source(Path(file).read_text(encoding="utf-8"))


def of_source(source: str) -> list[str]:
    """Return `where: command what` for each call that history remembers."""
    lines: list[str] = []
    tree = ast.parse(source)
    awaited = {node.value for node in ast.walk(tree) if isinstance(node, ast.Await)}
    _visit(tree, "", awaited, lines)
    return lines


def _visit(node: ast.AST, where: str, awaited: set[ast.expr], lines: list[str]) -> None:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        where = f"{where}.{node.name}".lstrip(".")
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        what = f" {ast.unparse(node.args[0])}" if name in NAMED and node.args else ""
        if name in COMMANDS or node in awaited:
            lines.append(f"{where}: {name}{what}")
    for child in ast.iter_child_nodes(node):
        _visit(child, where, awaited, lines)


def committed() -> Fingerprints:
    """Return the fingerprints as committed."""
    found: Fingerprints = json.loads(FINGERPRINTS.read_text(encoding="utf-8"))
    return found


def renew() -> None:
    """Write the current fingerprints down."""
    text = json.dumps(current(), indent=2, ensure_ascii=False) + "\n"
    FINGERPRINTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    renew()
