"""What happens by itself as the account's clock goes on.

Drafts that advance are finalized, invoices become overdue, subscriptions are renewed. It is caught
up with on the next request, at most once for each second of the clock.
"""

from simulators.stripe.events import tell
from simulators.stripe.invoice_states import try_to_finalize
from simulators.stripe.state import Act, StripeAccount
from simulators.stripe.subscriptions import renew
from simulators.stripe.webhooks import dispatch


def catch_up(account: StripeAccount) -> None:
    """Do what has become due since the last request."""
    act = Act(account)
    if act.now == account.ticked:
        return
    account.ticked = act.now
    for subscription in account.store.indexed("subscription", "live", "yes"):
        renew(act, subscription)
    for invoice in account.store.indexed("invoice", "due", "finalization"):
        at = invoice.fields["automatically_finalizes_at"]
        if isinstance(at, int) and at <= act.now:
            try_to_finalize(act, invoice)
    for invoice in account.store.indexed("invoice", "due", "payment"):
        due = invoice.fields["due_date"]
        if isinstance(due, int) and due <= act.now:
            account.store.update(invoice, {"_overdue": True})
            tell(act, "invoice.overdue", invoice)
    if act.news:
        dispatch(account, act.news)
