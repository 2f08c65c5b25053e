"""The saga engine and the sagas: deterministic, free of I/O; imports `canonical` only."""
