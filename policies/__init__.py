"""Pure decisions: what differs by region or entity is data, and every decision is a function."""
