"""A headless Chromium, driven through chromedriver's own protocol (WebDriver and DevTools)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
FLAGS += ("--hide-scrollbars", "--disable-background-networking", "--disable-component-update")
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def programs() -> tuple[str, str] | None:
    found = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    return found if all(found) else None


class Browser:
    """One window; a context manager that closes it and ends the driver."""

    def __init__(self, browser: str, driver: str, profile: Path) -> None:
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        said = (re.search(r"successfully on port (\d+)", line) for line in self.process.stdout)
        port = next(filter(None, said))  # else chromedriver has ended
        self.address = f"http://127.0.0.1:{port[1]}/session"
        options = {"binary": browser, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.address += "/" + self._post("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

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

    def be(self, width: int, height: int) -> None:
        """Have a screen of this size."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._post("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": screen})

    def open(self, address: str) -> None:
        self._post("/url", {"url": address})

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", {"script": script, "args": []})

    def said(self) -> list[dict[str, Any]]:
        """What the console has said since last asked, loading errors included."""
        return self._post("/se/log", {"type": "browser"})
