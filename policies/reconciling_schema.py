"""The shape of `reconciling.yaml`: what counts as fresh, what mends itself, what is compared."""

from typing import Annotated

from pydantic import Field

from canonical.reconciliation import FindingCode
from policies.schema_types import Seconds, Strict


class Reconciling(Strict):
    """The file `reconciling.yaml`."""

    tolerance_seconds: Seconds = 3_600.0
    """A difference fresher than this is a gap of timing: shown, and not queued."""
    tolerances: dict[FindingCode, Seconds] = {}
    """By code, where another one fits: money may lie unapplied for days."""
    heal: tuple[FindingCode, ...] = ()
    """What the nightly run mends by itself, of what can be mended so."""
    respond_seconds: Annotated[float, Field(ge=60)] = 172_800.0
    """Time a person has before the work item of a finding escalates."""
    queued_at_most: Annotated[int, Field(ge=0, le=10_000)] = 500
    """Work items that one run opens; further findings are listed, and queued by later runs."""
    resume_within_seconds: Seconds = 21_600.0
    """A run that did not end is gone on with for so long; then everything is listed anew."""
    months_back: Annotated[int, Field(ge=0, le=24)] = 1
    """Billing periods before the open one that the nightly run compares again."""
