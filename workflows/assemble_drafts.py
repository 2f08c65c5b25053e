"""AssembleDrafts: what was handed over and is due becomes drafts, each with its own workflow.

Trigger: a Schedule, or a person who does not want to wait for it.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.draft_to_invoice import Assembled, AssembleDrafts

from datetime import timedelta

from workflows.draft_to_invoice import look_after
from workflows.options import STORE_RETRY

PASSES_MAX = 200
"""Passes of one run; what is left waits for the next."""
PASS_TIME = timedelta(minutes=5)


@workflow.defn
class AssembleInvoiceDrafts:
    """Makes drafts until nothing due is left."""

    @workflow.run
    async def run(self, wanted: AssembleDrafts) -> Assembled:
        """Assemble, start the drafts' workflows, and return which drafts were made."""
        made: list[str] = []
        more = True
        for _ in range(PASSES_MAX):
            found = await workflow.execute_activity(
                ref.ASSEMBLE_DRAFTS.name,
                wanted,
                result_type=ref.ASSEMBLE_DRAFTS.result,
                start_to_close_timeout=PASS_TIME,
                retry_policy=STORE_RETRY,
                summary="Make drafts of what is due",
            )
            for draft in found.drafts:
                await look_after(draft)
            made += found.drafts
            more = found.more
            if not more:
                break
            wanted = wanted.model_copy(update={"after": found.after})
        return Assembled(drafts=tuple(made), more=more)
