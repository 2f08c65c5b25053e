"""Exact products and quotients, rounded once: the order of rounding is decided here (DESIGN 5).

Every amount is one expression, worked out with digits to spare, and rounded half-up (away from
zero, so that a correction mirrors what it corrects) at its very end.
"""

from decimal import Context, Decimal, localcontext

from canonical.money import Money

DIGITS = 80
"""More than any product of the amounts, rates and percentages that the models allow."""
HUNDRED = Decimal(100)
_EXACT = Context(prec=DIGITS)


def product(*factors: Decimal | int) -> Decimal:
    """Return the exact product."""
    with localcontext(_EXACT):
        result = Decimal(1)
        for factor in factors:
            result *= factor
        return result


def quotient(divisor: Decimal, *factors: Decimal) -> Decimal:
    """Return the product of `factors` over `divisor`, which is not 0; not rounded yet."""
    with localcontext(_EXACT):
        return product(*factors) / divisor


def sixtieths(worth: Decimal, currency: str) -> Money:
    """Return minutes times an hourly rate as an amount: divided by 60, then rounded once."""
    with localcontext(_EXACT):
        hours = worth / 60
    return Money.rounded(hours, currency)


def share(percent: Decimal) -> Decimal:
    """Return a percentage as a factor: 12.5 is 0.125."""
    return product(percent, Decimal("0.01"))


def marked_up(percent: Decimal) -> Decimal:
    """Return the factor of a markup: 12.5 percent is 1.125."""
    return 1 + share(percent)
