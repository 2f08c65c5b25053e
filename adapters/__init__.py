"""The connected systems: one port per role, one package per vendor, and the HTTP layer they share.

Adapters translate between canonical models and a vendor's API, and between its refusals and
`adapters.errors`. They decide nothing about sagas, and never retry: Temporal does.
"""
