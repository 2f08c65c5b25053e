"""Local servers of the vendors' APIs, with faults on demand.

They share no code with `adapters`: two independent readings of a vendor's documentation are what
makes a contract test worth something. `kit` is what all of them stand on; each vendor is a package
of its own.
"""
