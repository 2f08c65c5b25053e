"""NetSuite: SuiteTalk REST web services, as far as provisioning and its undo need them."""

from simulators.netsuite.vendor import NetSuite

VENDOR = NetSuite()
