"""Salesforce as a CRM: REST API v67.0, OAuth 2 by JWT bearer or client credentials."""

from adapters.salesforce.adapter import Salesforce, build_salesforce
from adapters.salesforce.config import SalesforceConfig

__all__ = ["Salesforce", "SalesforceConfig", "build_salesforce"]
