"""The customer as others see it: whom they bill, and what an invoice copies."""

from simulators.kit import Record
from simulators.stripe.state import Act, Fields, text


def billable(act: Act, id_: str) -> Record:
    """Return the customer whom something is billed to."""
    return act.find("customer", id_, "customer")


def copied(customer: Record) -> Fields:
    """Return what an invoice copies from its customer."""
    fields = customer.fields
    return {
        "customer": customer.id,
        "customer_address": fields["address"],
        "customer_email": fields["email"],
        "customer_name": fields["name"],
        "customer_phone": fields["phone"],
        "customer_shipping": fields["shipping"],
        "customer_tax_exempt": text(fields, "tax_exempt"),
        "customer_tax_ids": [],
    }
