"""Workday as an HCM: custom reports as a service."""

from adapters.workday.adapter import Workday, build_workday
from adapters.workday.config import WorkdayConfig

__all__ = ["Workday", "WorkdayConfig", "build_workday"]
