"""NetSuite as an ERP: SuiteTalk REST record service v1 and SuiteQL."""

from adapters.netsuite.adapter import NetSuite, build_netsuite
from adapters.netsuite.config import NetSuiteConfig

__all__ = ["NetSuite", "NetSuiteConfig", "build_netsuite"]
