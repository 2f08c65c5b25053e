"""What every vendor's configuration model shares."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adapters.http import Timeouts


class Strict(BaseModel):
    """Configuration refuses what it does not know, and never shows a secret in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class HttpTimeouts(Strict):
    """Time limits of one call, in seconds; as in `dealthread.toml`."""

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    write_seconds: float = 30.0
    pool_seconds: float = 30.0
    total_seconds: float = 60.0

    def limits(self) -> Timeouts:
        """Return them as the HTTP layer wants them."""
        return Timeouts(
            connect=self.connect_seconds,
            read=self.read_seconds,
            write=self.write_seconds,
            pool=self.pool_seconds,
            total=self.total_seconds,
        )


class VendorSettings(Strict):
    """The part that each connection has, whatever its vendor."""

    base_url: str
    timeouts: HttpTimeouts = HttpTimeouts()
    ca_file: Path | None = None
    """CA bundle to trust instead of the usual ones."""
