"""Service levels, the outbox, and channels: a real mail server, a real webhook."""
