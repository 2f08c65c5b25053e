"""Salesforce, simulated from its documentation: an independent reading that no adapter shares."""

from simulators.salesforce.vendor import Salesforce

VENDOR = Salesforce()

__all__ = ["VENDOR", "Salesforce"]
