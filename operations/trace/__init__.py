"""From any id to the whole thread: deal, client, contract, work, drafts, invoices, payments."""
