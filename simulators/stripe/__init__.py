"""Stripe Billing, simulated: `VENDOR` is what the registry takes."""

from simulators.stripe.vendor import Stripe

VENDOR = Stripe()

__all__ = ["VENDOR"]
