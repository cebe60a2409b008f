"""A tab of a headless Chromium, driven by Playwright, with what the tests of pages ask of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Error, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--disable-dev-shm-usage", "--disable-quic", "--force-color-profile=srgb")
PATIENCE_MS = 60_000
STILL = """new Promise((done) => {
  let frames = 0, still = 0;
  const seen = new MutationObserver(() => { still = 0; });
  seen.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  const look = () => {
    frames += 1;
    still = document.getAnimations().some((one) => one.playState === "running") ? 0 : still + 1;
    if (frames > 600) done(null);
    else if (still > 2) requestIdleCallback(() => (still > 2 ? done(null) : requestAnimationFrame(look)));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})"""


def launch(playwright: Playwright) -> Browser:
    """The Chromium of this computer, or else the one that ``playwright install chromium`` brought.

    Raises:
        Error: There is neither.
    """
    path = next(filter(None, map(shutil.which, NAMES)), None)
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS], chromium_sandbox=False)


class Page:
    """One tab; a page that is opened in another size or colour scheme has a fresh one."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._context: BrowserContext | None = None
        self._kind: tuple[object, ...] = ()
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def open(
        self, path: Path, width: int = 1200, height: int = 900, dark: bool = False, phone: bool = False, to: str = ""
    ) -> None:
        """Opens a file of this computer, at a place in it, and waits until its script says that it is ready."""
        self.close()
        scheme: Any = "dark" if dark else "light"
        self._context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=phone, has_touch=phone
        )
        self._context.set_default_timeout(PATIENCE_MS)
        self.tab = self._context.new_page()
        self.requests, self.complaints = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.tab.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.tab.goto(path.resolve().as_uri() + to)
        try:
            self.tab.wait_for_selector("html[data-ready=true]", state="attached")
        except Error as error:
            raise AssertionError(f"{path} is not ready: {self.complaints or error}") from None

    def close(self) -> None:
        if self._context is not None:
            self._context.close()

    def value(self, expression: str) -> Any:
        """Evaluates an expression in the page."""
        return self.tab.evaluate(expression)

    def settle(self) -> None:
        """Waits until the page has nothing left to do: three frames without a change, and an idle moment."""
        self.value(STILL)

    def click(self, selector: str, at: int = 0) -> None:
        """Clicks the middle of an element with the mouse."""
        self.tab.locator(selector).nth(at).click()
        self.settle()

    def hover(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.tab.mouse.move(x, y)

    def tap(self, x: float, y: float) -> None:
        """Taps with a finger."""
        self.tab.touchscreen.tap(x, y)

    def press(self, key: str) -> None:
        """Presses a key."""
        self.tab.keyboard.press(key)

    def middle(self, selector: str, at: int = 0) -> tuple[float, float]:
        """Scrolls an element into view and returns its middle."""
        node = self.tab.locator(selector).nth(at)
        node.evaluate("(node) => node.scrollIntoView({block: 'center', behavior: 'instant'})")
        box = node.bounding_box()
        assert box is not None, selector
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def screenshot(self, path: Path) -> None:
        """Saves the whole page as PNG."""
        self.tab.screenshot(path=path, full_page=True)

    def pdf(self) -> bytes:
        """The page on A4 paper, without background graphics."""
        return self.tab.pdf(format="A4", print_background=False)

    def on_paper(self, paper: bool = True) -> None:
        """Shows the page as it is printed, or as on a screen again."""
        self.tab.emulate_media(media="print" if paper else "screen")
        self.value(f"void dispatchEvent(new Event('{'beforeprint' if paper else 'afterprint'}'))")


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """Starts a browser with a fresh profile and ends it.

    Raises:
        Error: There is no browser.
    """
    with sync_playwright() as playwright:
        started = launch(playwright)
        try:
            yield Page(started)
        finally:
            started.close()
