"""The worklist as people use it: look, own, comment, acknowledge, decide on many at once."""

from operations.worklist.actions import actions, likely, work_of
from operations.worklist.bulk import Bulk, BulkResult, bulk
from operations.worklist.desk import Listed, NoSuchWork, Worklist

__all__ = [
    "Bulk",
    "BulkResult",
    "Listed",
    "NoSuchWork",
    "Worklist",
    "actions",
    "bulk",
    "likely",
    "work_of",
]
