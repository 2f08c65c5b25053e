"""NetSuite: SuiteTalk REST web services, as far as provisioning, billing and their undo need it."""

from simulators.netsuite.vendor import NetSuite

VENDOR = NetSuite()
