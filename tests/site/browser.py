"""A headless Chromium, driven through chromedriver's own protocol (WebDriver and DevTools)."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def programs() -> tuple[str, str] | None:
    """The browser and its driver, if this machine has them."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window; a context manager that closes it and ends the driver."""

    def __init__(self, browser: str, driver: str, profile: Path) -> None:
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        port = None
        while port is None:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("chromedriver ended before it was ready.")
            port = re.search(r"successfully on port (\d+)", line)
        self.address = f"http://127.0.0.1:{port[1]}/session"
        options = {"binary": browser, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._post("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self.address += f"/{session}"

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        try:
            with DIRECTLY.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            DIRECTLY.open(urllib.request.Request(self.address, method="DELETE"), timeout=30).close()
        finally:
            self.process.terminate()
            self.process.wait(timeout=60)

    def tool(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's DevTools."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def be(self, width: int, height: int, scheme: str = "light") -> None:
        """Have a screen of this size, and readers who like it light or dark."""
        mobile = width < 600
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.tool("Emulation.setDeviceMetricsOverride", **screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tool("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Load a page."""
        self._post("/url", {"url": address})

    def run(self, script: str) -> Any:
        """Run JavaScript in the page, awaiting what it returns."""
        return self._post("/execute/sync", {"script": script, "args": []})

    def said(self) -> list[dict[str, Any]]:
        """What the console has said since last asked, loading errors included."""
        return self._post("/se/log", {"type": "browser"})

    def picture(self) -> bytes:
        """The whole page as PNG."""
        size = self.tool("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.tool("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])
