"""Documents: an invoice as PDF, and its evidence as one file."""
