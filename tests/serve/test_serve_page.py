# SPDX-License-Identifier: MIT
"""The page in a real browser: headless Chromium hears a microphone that beeps."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import websockets
from conftest import FULL
from hostile import get
from published import path_of
from test_serve import served

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
SECONDS = 60
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not FULL, reason="a browser, in full alone"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
]


class Page:
    """A page of a running Chromium, by its DevTools protocol."""

    def __init__(self, socket):
        self.socket, self.ids = socket, itertools.count(1)

    async def call(self, method, **params):
        id = next(self.ids)
        await self.socket.send(json.dumps({"id": id, "method": method, "params": params}))
        while True:
            answer = json.loads(await self.socket.recv())
            if answer.get("id") == id:
                assert "error" not in answer, answer
                return answer["result"]

    async def value(self, script):
        made = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, userGesture=True,
            awaitPromise=True,
        )  # fmt: skip
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    async def until(self, script):
        while not await self.value(script):
            await asyncio.sleep(0.05)

    async def picture(self, name):
        """A screenshot in $FASTLSTM_SHOTS, for people to look at."""
        folder = os.environ.get("FASTLSTM_SHOTS")
        if folder:
            made = await self.call("Page.captureScreenshot", format="png")
            Path(folder, f"{name}.png").write_bytes(base64.b64decode(made["data"]))


async def opened(folder):
    """The address of a new page's socket, once the browser has written its port."""
    file = folder / "DevToolsActivePort"
    while not (file.exists() and file.read_text().count("\n")):
        await asyncio.sleep(0.05)
    port = file.read_text().split()[0]
    pages = json.loads(await asyncio.to_thread(get, f"http://127.0.0.1:{port}/json/list"))
    return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")


async def use(url, folder, token):
    async with websockets.connect(await opened(folder), max_size=None) as socket:
        page = Page(socket)
        await page.call("Emulation.setDeviceMetricsOverride", width=360, height=640,
                        deviceScaleFactor=2, mobile=True)  # fmt: skip
        await page.call("Page.navigate", url=f"{url}#wrong")
        await page.until("document.readyState === 'complete' && !!document.getElementById('go')")
        assert await page.value("document.documentElement.scrollWidth") <= 360
        await page.value("document.getElementById('go').click()")
        await page.until("document.getElementById('note').textContent.includes('#TOKEN')")
        await page.value(f"location.hash = {token!r}; document.getElementById('go').click()")
        await page.until("values.length > 60")
        await page.picture("light")
        grounds = []
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            await page.call("Emulation.setEmulatedMedia", features=features)
            grounds.append(await page.value("getComputedStyle(document.body).backgroundColor"))
        await page.until("values.length > 120")
        await page.picture("dark")
        assert grounds[0] != grounds[1]
        values = await page.value("values")
        assert all(0 <= p <= 1 for p in values) and len(set(values)) > 20
        drawn = (
            "(() => { const c = document.getElementById('plot'); const d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length;"
            " i += 4) n += d[i] > 0; return n })()"
        )
        assert await page.value(drawn) > 500, "nothing is drawn"
        shown = float(await page.value("document.getElementById('now').textContent"))
        assert 0 <= shown <= 1
        await page.value("document.getElementById('go').click()")
        await page.until("socket === null && media === null")


def test_the_page_hears_a_microphone(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTLSTM_TOKEN", "secret")
    options = "--value", "sr=16000", "--frame", "512", "--context", "64"
    with served(path_of("silero_vad.onnx"), *options) as (_, url):
        browser = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-port=0", f"--user-data-dir={tmp_path}",
             "--use-fake-ui-for-media-stream",
             "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
             "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            asyncio.run(asyncio.wait_for(use(url, tmp_path, "secret"), SECONDS))
        finally:
            browser.kill()
            browser.wait()
        monkeypatch.delenv("FASTLSTM_TOKEN")
        assert "ok" in get(url + "healthz")
