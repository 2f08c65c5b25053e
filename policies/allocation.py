"""What becomes of rated amounts under caps and retainers, in claim order (DESIGN 5).

Called under row locks, so quick and pure. The parts of an entry sum to its rated amount. A part to
bill counts towards every cap that covers it, so the smallest remaining one limits it. What takes
back (adjustments, credits) gives back to where the corrected entry's parts came from, last part
first: the excess over a cap goes before what was billed, overage before what was drawn. Never more
is given back than was consumed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from canonical.entries import EntryRef
from canonical.money import Money
from canonical.rating import Disposition, Part, Rated
from canonical.schedules import Overage
from canonical.standing import Allocation, CapStanding, CapWarning, RetainerStanding
from policies.arithmetic import HUNDRED

ZERO = Decimal(0)
BOUNDLESS = Decimal("Infinity")


def allocate(
    rated: Sequence[Rated],
    caps: Sequence[CapStanding],
    retainers: Sequence[RetainerStanding],
    origins: Mapping[EntryRef, Sequence[Part]] | None = None,
) -> Allocation:
    """Return the parts of each entry, in the order given; held entries have none.

    Args:
        rated: in claim order: who comes first takes what is left of a cap.
        caps: those that can apply to these entries, as they stand under lock.
        retainers: likewise.
        origins: parts of entries that earlier runs placed and adjustments here correct, net of
            earlier adjustments. Without them, what takes back gives back to the entry's own
            retainer and caps.

    Raises:
        ValueError: a cap or retainer is in another currency than what it is to count.
    """
    allocator = _Allocator(caps, retainers, origins or {})
    parts = tuple(allocator.place(each) for each in rated)
    return Allocation(parts=parts, warnings=tuple(allocator.warnings))


@dataclass
class _Balance:
    """What may still be taken, and what may be given back."""

    room: Decimal
    returnable: Decimal

    def take(self, amount: Decimal) -> None:
        """Take `amount`; a negative one is given back."""
        self.room -= amount
        self.returnable += amount

    def give_back(self, amount: Decimal) -> None:
        """Give back `amount`, so that it may be taken again."""
        self.take(-amount)


@dataclass
class _Fed(_Balance):
    """A retainer's balance that its schedule feeds: it hears of a return at the hand-over."""

    def give_back(self, amount: Decimal) -> None:
        self.returnable -= amount


@dataclass
class _Cap(_Balance):
    standing: CapStanding
    consumed: Decimal
    warned: set[int] = field(default_factory=set)

    def take(self, amount: Decimal) -> None:
        super().take(amount)
        self.consumed += amount


@dataclass
class _Piece:
    """A part in the making."""

    disposition: Disposition
    amount: Decimal
    cap: str = ""


class _Allocator:
    """Keeps the balances while one entry after the other is placed."""

    def __init__(
        self,
        caps: Sequence[CapStanding],
        retainers: Sequence[RetainerStanding],
        origins: Mapping[EntryRef, Sequence[Part]],
    ) -> None:
        self._caps = [
            _Cap(each.cap.amount.amount - each.consumed, each.settled, each, each.consumed)
            for each in caps
        ]
        self._retainers = {each.line: (_balance_of(each), each) for each in retainers}
        self._origins = {
            ref: [_Piece(part.disposition, part.amount.amount, part.cap) for part in parts]
            for ref, parts in origins.items()
        }
        self.warnings: list[CapWarning] = []

    def place(self, rated: Rated) -> tuple[Part, ...]:
        """Return the parts of one entry, and count them."""
        if rated.amount is None:
            return ()
        above = rated.above_ceiling.amount if rated.above_ceiling is not None else ZERO
        rest = rated.amount.amount - above
        pieces = self._pieces(rated, rest) if rest or not above else []
        if above:
            pieces.append(_Piece(Disposition.OVER_CAP, above))
        pieces = _merged(pieces)
        if rated.adjusts is None:
            self._origins[rated.ref] = [
                _Piece(each.disposition, each.amount, each.cap) for each in pieces
            ]
        return _parts(pieces, rated.billed_minutes, rated.amount)

    def _pieces(self, rated: Rated, amount: Decimal) -> list[_Piece]:
        if rated.base not in {Disposition.TO_BILL, Disposition.DRAWN_FROM_RETAINER}:
            return [_Piece(rated.base, amount)]
        if amount < 0:
            return self._give_back(rated, -amount)
        if rated.base is Disposition.DRAWN_FROM_RETAINER:
            return self._draw(rated, amount)
        return self._bill(rated, amount)

    def _draw(self, rated: Rated, amount: Decimal) -> list[_Piece]:
        """Draw from the retainer down to nothing; the rest is overage."""
        balance, overage = self._retainer(rated)
        drawn = min(amount, max(balance.room, ZERO))
        pieces = []
        if drawn or not amount:
            balance.take(drawn)
            pieces.append(_Piece(Disposition.DRAWN_FROM_RETAINER, drawn))
        rest = amount - drawn
        if rest and overage is Disposition.TO_BILL:
            pieces += self._bill(rated, rest)
        elif rest:
            pieces.append(_Piece(overage, rest))
        return pieces

    def _bill(self, rated: Rated, amount: Decimal) -> list[_Piece]:
        """Bill what the smallest remaining cap lets through; the rest is over it."""
        caps = self._caps_of(rated)
        tightest = min(caps, key=lambda cap: cap.room, default=None)
        name = tightest.standing.cap.id if tightest is not None else ""
        billed = amount
        if tightest is not None:
            billed = min(amount, max(tightest.room, ZERO))
        pieces = []
        if billed or not amount:
            self._count(rated, caps, billed)
            pieces.append(_Piece(Disposition.TO_BILL, billed, name))
        if billed < amount:
            pieces.append(_Piece(Disposition.OVER_CAP, amount - billed, name))
        return pieces

    def _give_back(self, rated: Rated, amount: Decimal) -> list[_Piece]:
        """Return negative pieces that give `amount` back to where it came from."""
        origin = self._origins.get(rated.adjusts, []) if rated.adjusts is not None else []
        pieces: list[_Piece] = []
        left = amount
        for source in reversed(origin):
            if source.amount > 0 and left:
                given = self._return(rated, source.disposition, min(left, source.amount), pieces)
                source.amount -= given
                left -= given
        usual = [Disposition.TO_BILL, Disposition.OVER_CAP]
        if rated.base is Disposition.DRAWN_FROM_RETAINER:
            usual = [rated.base, self._retainer(rated)[1], Disposition.OVER_CAP]
        for disposition in usual:
            if left:
                left -= self._return(rated, disposition, left, pieces)
        return pieces

    def _return(
        self, rated: Rated, disposition: Disposition, amount: Decimal, pieces: list[_Piece]
    ) -> Decimal:
        """Give back as much of `amount` as was consumed there, and return how much that was."""
        name = ""
        if disposition is Disposition.DRAWN_FROM_RETAINER:
            balance, _ = self._retainer(rated)
            amount = min(amount, max(balance.returnable, ZERO))
            balance.give_back(amount)
        elif caps := self._caps_of(rated):
            name = min(caps, key=lambda cap: cap.room).standing.cap.id
            if disposition is Disposition.TO_BILL:
                amount = min(amount, max(min(cap.returnable for cap in caps), ZERO))
                self._count(rated, caps, -amount)
        if amount:
            pieces.append(_Piece(disposition, -amount, name))
        return amount

    def _count(self, rated: Rated, caps: Sequence[_Cap], amount: Decimal) -> None:
        for cap in caps:
            before = cap.consumed
            cap.take(amount)
            self._warn(rated, cap, before)

    def _warn(self, rated: Rated, cap: _Cap, before: Decimal) -> None:
        """Note the marks that were crossed; each once."""
        standing, limit = cap.standing, cap.standing.cap.amount
        for percent in sorted(set(standing.cap.warn_at_percent) - cap.warned):
            mark = limit.amount * percent
            if before * HUNDRED < mark <= cap.consumed * HUNDRED:
                cap.warned.add(percent)
                used = Money(amount=cap.consumed, currency=limit.currency)
                where = f" of contract line {standing.line}" if standing.line else ""
                text = f"cap {standing.cap.id}{where} is used to {percent} %: {used} of {limit}"
                self.warnings.append(
                    CapWarning(
                        cap=standing.cap.id,
                        line=standing.line,
                        percent=percent,
                        ref=rated.ref,
                        text=text,
                    )
                )

    def _caps_of(self, rated: Rated) -> list[_Cap]:
        caps = [cap for cap in self._caps if cap.standing.counts(rated)]
        for cap in caps:
            _same_currency(rated, cap.standing.cap.amount, f"cap {cap.standing.cap.id}")
        return caps

    def _retainer(self, rated: Rated) -> tuple[_Balance, Disposition]:
        """Return the line's retainer, and what becomes of overage; without one, all is overage."""
        found = self._retainers.get(rated.line)
        if found is None:
            return _Balance(ZERO, ZERO), Disposition.TO_BILL
        balance, standing = found
        _same_currency(rated, standing.balance, f"the retainer of line {rated.line}")
        return balance, Disposition(standing.overage)


def _balance_of(retainer: RetainerStanding) -> _Balance:
    """Return what may be drawn; where its schedule decides on it at the close: everything."""
    if retainer.schedule is None:
        return _Balance(retainer.balance.amount, retainer.settled)
    if retainer.schedule is Overage.ENTRIES:
        return _Fed(retainer.balance.amount, retainer.settled)
    return _Balance(BOUNDLESS, BOUNDLESS)


def _same_currency(rated: Rated, limit: Money, what: str) -> None:
    if rated.amount is not None and rated.amount.currency != limit.currency:
        raise ValueError(
            f"{what} is in {limit.currency}, and cannot count {rated.amount.currency} of "
            f"{rated.ref}: the engagement's owner corrects it"
        )


def _merged(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Return pieces of one disposition and cap as one, in the order of their first."""
    merged: dict[tuple[Disposition, str], _Piece] = {}
    for each in pieces:
        key = (each.disposition, each.cap)
        if key in merged:
            merged[key].amount += each.amount
        else:
            merged[key] = each
    return list(merged.values())


def _parts(pieces: Sequence[_Piece], minutes: int, total: Money) -> tuple[Part, ...]:
    """Return the pieces as numbered parts; minutes follow the amounts, to the nearest minute.

    Each boundary between two parts is rounded, so that the minutes sum to all and keep their sign.
    """
    share = _shares(minutes, total.amount)
    parts, done, counted = [], ZERO, 0
    for number, each in enumerate(pieces, 1):
        done += each.amount
        upto = minutes if number == len(pieces) else share(done)
        parts.append(
            Part(
                number=number,
                disposition=each.disposition,
                amount=Money(amount=each.amount, currency=total.currency),
                minutes=upto - counted,
                cap=each.cap,
            )
        )
        counted = upto
    return tuple(parts)


def _shares(minutes: int, total: Decimal) -> Callable[[Decimal], int]:
    def share(amount: Decimal) -> int:
        if not total:
            return minutes
        return int((minutes * amount / total).quantize(Decimal(1), rounding=ROUND_HALF_UP))

    return share
