"""One browser for all tests of pages."""

import contextlib

import pytest


@pytest.fixture(scope="session")
def page():
    """A tab of a headless Chromium, or a skip that says what is missing."""
    error = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make setup").Error
    from tests.browser import chromium

    with contextlib.ExitStack() as ends:
        try:
            tab = ends.enter_context(chromium.browser())
        except error as missing:
            reason = str(missing).strip().splitlines()[0]
            pytest.skip(f"no browser ({reason}): type .venv/bin/playwright install chromium")
        yield tab
