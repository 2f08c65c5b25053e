"""What the manual shows, so that tests can hold it to its word."""

import re
from pathlib import Path

HOWTO = Path(__file__).parents[2] / "docs/howto/bill-approved-time.md"


def example() -> str:
    """Return the engagement that the manual of billing shows."""
    (found,) = re.findall(r"^```yaml\n(.*?)^```$", HOWTO.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)
