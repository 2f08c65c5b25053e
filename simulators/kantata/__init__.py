"""Kantata OX, simulated from its documentation: an independent reading that no adapter shares."""

from simulators.kantata.vendor import Kantata

VENDOR = Kantata()

__all__ = ["VENDOR", "Kantata"]
