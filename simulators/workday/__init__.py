"""Workday: sign-in, custom reports as a service and the REST look-ups of people; only read."""

from simulators.workday.vendor import Workday

VENDOR = Workday()
