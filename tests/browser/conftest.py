"""One browser for all tests of pages."""

import pytest

from tests.browser import chromium


@pytest.fixture(scope="session")
def page():
    """A tab of a headless Chromium."""
    path = chromium.find()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(chromium.NAMES)} is installed")
    with chromium.browser(path) as tab:
        yield tab
