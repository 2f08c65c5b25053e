"""What Dealthread costs, beside a bare Temporal workflow that makes the same vendor calls."""
