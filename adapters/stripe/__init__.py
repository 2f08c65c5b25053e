"""Stripe Billing as a billing engine: customers, invoices and credit notes of the v1 API."""

from adapters.stripe.adapter import Stripe, build_stripe
from adapters.stripe.config import StripeConfig

__all__ = ["Stripe", "StripeConfig", "build_stripe"]
