"""The default bundle, loaded once."""

import pytest

from policies.bundle import Bundle, load_bundle


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle()
