"""What people do to milestones that are being billed: look, hold, release, withdraw; the CLI calls.

What is decided is in the store at once. The milestone's own saga is told, since it has to undo what
was handed over, or may begin anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.errors import AdapterError, NotFound
from canonical.fees import FeeSource, FeeStanding, FeeState
from canonical.ids import VENDOR_ID_PATTERN, milestone_to_invoice_id
from canonical.invoicing import PsaMilestone
from canonical.model import CanonicalModel
from operations.billing import DECIDERS, BillingDesk
from operations.people import Refused, check_role, short
from policies.milestone_changes import kept_back, why_not
from store import Store
from store.sagas import Generation

SOURCE = FeeSource.MILESTONE


class MilestoneStatus(CanonicalModel):
    """All that is known of a milestone on its way to an invoice."""

    psa: str
    milestone_id: str
    milestone: PsaMilestone | None = None
    """As the PSA has it now; None: it is gone, or the PSA cannot be asked."""
    unknown: str = ""
    """Why the PSA says nothing."""
    saga: Generation | None = None
    """The latest generation of its saga; None: it never began."""
    fees: tuple[FeeStanding, ...] = ()
    """Every amount that was ever reserved for it, oldest first."""
    blocked: str = ""
    """What keeps it from being billed, with who can mend it; empty: nothing of Dealthread's."""


@dataclass(frozen=True)
class MilestoneDesk:
    """Milestones for people, over the desk of billing."""

    billing: BillingDesk

    @property
    def _store(self) -> Store:
        return self.billing.store

    async def status(self, milestone_id: str, *, psa: str = "") -> MilestoneStatus:
        """Return where a milestone stands in the PSA, in its saga, and on its way to an invoice.

        Raises:
            Refused: the id cannot be a milestone's.
        """
        psa = psa or self.billing.psa
        item = _item(psa, milestone_id)
        found, unknown = await self._in_psa(psa, milestone_id)
        fees = await self._store.fees.history(SOURCE, item)
        return MilestoneStatus(
            psa=psa,
            milestone_id=milestone_id,
            milestone=found,
            unknown=unknown,
            saga=await self._store.sagas.state(milestone_to_invoice_id(psa, milestone_id)),
            fees=fees,
            blocked=_blocked(fees, found, unknown),
        )

    async def held(self) -> tuple[FeeStanding, ...]:
        """Return the milestones that are held, or kept back after they were withdrawn."""
        return await self._store.fees.held(SOURCE)

    async def late(self) -> tuple[FeeStanding, ...]:
        """Return those that were taken back in the PSA once they were released or invoiced."""
        return tuple(each for each in await self._store.fees.late() if each.fee.source is SOURCE)

    async def hold(self, milestone_id: str, *, by: str, because: str, psa: str = "") -> bool:
        """Keep a milestone off drafts, and its draft from release; return whether that is new.

        Raises:
            Refused: this person may not, there is no reason, or nothing of it is being billed.
            Conflict: it is released or invoiced already.
        """
        item = self._asked(milestone_id, psa, by)
        if not because.strip():
            raise Refused('Say why with --because "...": somebody will ask.')
        await self._known(item)
        return await self._store.fees.hold(SOURCE, item, by=by, because=because)

    async def unhold(self, milestone_id: str, *, by: str, psa: str = "") -> bool:
        """Release what holds or keeps back a milestone; its saga looks at it anew.

        Raises:
            Refused: this person may not, or nothing of it is being billed.
        """
        item = self._asked(milestone_id, psa, by)
        await self._known(item)
        released = await self._store.fees.unhold(SOURCE, item, by=by)
        if released:
            await self.billing.start_milestone(milestone_id, psa=psa)
        return released

    async def withdraw(
        self, milestone_id: str, *, by: str, because: str, psa: str = ""
    ) -> FeeStanding:
        """Give a milestone's amount back, off its draft too; kept back until it is released.

        Raises:
            Refused: this person may not, there is no reason, nothing of it is being billed, or its
                saga is under way.
            Conflict: it is released or invoiced already: it can only be credited.
        """
        item = self._asked(milestone_id, psa, by)
        if not because.strip():
            raise Refused('Say why with --because "...": somebody will ask.')
        fee = await self._known(item)
        saga = await self._store.sagas.state(fee.run)
        if fee.state is FeeState.RESERVED and saga is not None and saga.outcome is None:
            raise Refused(
                f"Its saga is under way: `starter.py status {fee.run}`; roll it back there instead."
            )
        withdrawn = await self._store.fees.withdraw(SOURCE, item, because, by=by)
        await self.billing.start_milestone(milestone_id, psa=psa)
        return withdrawn

    def _asked(self, milestone_id: str, psa: str, by: str) -> str:
        check_role(self.billing.people, by, DECIDERS, "billing")
        return _item(psa or self.billing.psa, milestone_id)

    async def _known(self, item: str) -> FeeStanding:
        fee = await self._store.fees.latest(SOURCE, item)
        if fee is None:
            raise Refused(
                f"Nothing of milestone {item} is being billed: as long as it is not approved in "
                "the PSA, nothing will be."
            )
        return fee

    async def _in_psa(self, psa: str, milestone_id: str) -> tuple[PsaMilestone | None, str]:
        try:
            return await self.billing.psas(psa).read_milestone(milestone_id), ""
        except NotFound:
            return None, f"{psa} has no such milestone (any more)"
        except KeyError:
            return None, f"there is no connection {psa}"
        except AdapterError as error:
            return None, f"{psa} cannot be asked: {error}"


def _item(psa: str, milestone_id: str) -> str:
    if not VENDOR_ID_PATTERN.fullmatch(milestone_id):
        raise Refused(f"{short(milestone_id)} cannot be a milestone's id.")
    if not psa:
        raise Refused("There is no PSA among the connections of dealthread.toml.")
    return f"{psa}/{milestone_id}"


def _blocked(fees: Sequence[FeeStanding], found: PsaMilestone | None, unknown: str) -> str:
    """Say what keeps a milestone from being billed, and who can mend it."""
    last = fees[-1] if fees else None
    if last is not None and (kept := kept_back(last)):
        return f"{kept}: release it with `starter.py milestone unhold`"
    if last is not None and last.state is not FeeState.RETURNED:
        if not unknown and (why := why_not(last, found)):
            return f"{why}, and it stands as {last.state}"
        return f"held: {last.held}" if last.held else ""
    if found is not None and not found.approved:
        return "it is not approved in the PSA: its manager completes it there"
    return ""
