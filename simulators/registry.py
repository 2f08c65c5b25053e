"""The list of simulated vendors, and how their packages are found.

Adding a vendor is one line here.
"""

import importlib
import importlib.util

from simulators.kit.vendor import Vendor

VENDOR_PACKAGES = (
    "salesforce",
    "kantata",
    "netsuite",
    "workday",
    "stripe",
)
"""Packages under `simulators`, each with a `VENDOR` object; those which do not exist are left out.
"""


def load_vendors() -> list[Vendor]:
    """Import every listed package that exists; an error inside one of them is not hidden."""
    return [load_vendor(name) for name in VENDOR_PACKAGES if _exists(name)]


def load_vendor(name: str) -> Vendor:
    """Import one vendor's package and return its `VENDOR`.

    Raises:
        TypeError: the package has no `VENDOR` of the right type.
    """
    vendor = getattr(importlib.import_module(f"simulators.{name}"), "VENDOR", None)
    if not isinstance(vendor, Vendor):
        raise TypeError(f"simulators.{name} must define VENDOR, a simulators.kit.Vendor")
    return vendor


def _exists(name: str) -> bool:
    return importlib.util.find_spec(f"simulators.{name}") is not None
