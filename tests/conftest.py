"""What every test shares: property tests that repeat, and a results cache of its own
where a test asks.
"""

import pytest
from hypothesis import settings

# the machine may be loaded: no deadline; the same examples each time: a failure can be
# repeated
settings.register_profile("fl", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("fl")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A results cache that only this test sees."""
    monkeypatch.setenv("FL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
