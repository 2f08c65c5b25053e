"""The base of every model that travels through Temporal's history or the store."""

from pydantic import BaseModel, ConfigDict


class CanonicalModel(BaseModel):
    """An immutable value that old and new versions of Dealthread can both read.

    Models in history change by addition with defaults and ignore unknown fields (DESIGN 3);
    strictness belongs at the door, in policies and configuration.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")
