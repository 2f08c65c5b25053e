"""Every side effect, thin: run a policy, call a port, keep the step ledger, translate errors."""
