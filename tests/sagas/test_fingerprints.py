"""Nobody changes the order of a workflow's commands without noticing what that does in flight."""

import difflib

import pytest

from tests.sagas.fingerprints import RENEW, committed, current, of_source
from workflows.registry import WORKFLOWS

DANGER = """
The commands of {name} differ from those committed:

{diff}

A saga in flight replays its history against today's code: a step, activity or timer that was added,
removed or moved makes that replay fail, and the saga stands still in workflow task retries.

1. `pytest -m replay` tells whether a recorded history breaks. It only knows the recorded paths.
2. If sagas may be in flight where the change lies, keep both orders behind a patch marker:
       if workflow.patched("<what changes>"):
           ...new...
       else:
           ...old...
   Call `workflow.deprecate_patch` once no old run is left, and drop the marker a retention later.
3. Then write the fingerprints anew and commit them with the change:
       {renew}
   and record the new paths: python -m tests.sagas.record_histories
"""


@pytest.mark.parametrize("name", ["Saga", *(workflow.__name__ for workflow in WORKFLOWS)])
def test_the_commands_of_a_workflow_are_those_committed(name: str) -> None:
    was, now = committed().get(name, []), current()[name]
    diff = "\n".join(difflib.unified_diff(was, now, "committed", "now", lineterm="", n=1))
    assert not diff, DANGER.format(name=name, diff=diff, renew=RENEW)


def test_no_fingerprint_is_of_a_workflow_that_is_gone() -> None:
    assert committed().keys() == current().keys()


def test_a_moved_step_changes_the_fingerprint() -> None:
    one = "async def flow(self):\n    await self.step(A, x)\n    await self.step(B, x)\n"
    other = "async def flow(self):\n    await self.step(B, x)\n    await self.step(A, x)\n"
    assert of_source(one) == ["flow: self.step A", "flow: self.step B"]
    assert of_source(one) != of_source(other)


def test_what_history_does_not_remember_leaves_the_fingerprint_alone() -> None:
    one = "async def flow(self):\n    await self.step(A, x)\n"
    assert of_source(one) == of_source(one + "    self.note('done')  # changed\n")


def test_every_saga_has_steps_in_its_fingerprint() -> None:
    lines = current()["OpportunityToProject"]
    assert any("self.step OPEN_FOR_TIME" in line for line in lines)
    assert any("workflow.sleep" in line for line in current()["Saga"])
