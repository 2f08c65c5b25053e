"""The embedded stack: everything Dealthread needs, on this machine, without installing a server.

`embedded.stack` is the way in. Development and demonstrations only; production brings its own
Temporal and PostgreSQL.
"""
