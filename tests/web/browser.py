"""A real browser, Debian's Chromium without a window, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = "chromium"
START_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 30
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--remote-debugging-port=0",
)  # fmt: skip


def is_there() -> bool:
    return shutil.which(PROGRAM) is not None


class Tab:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        """Errors and warnings of the console, refusals of the content security policy among them."""

    async def listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if future := self._waiting.pop(said.get("id"), None):
                future.set_result(said)
            elif said.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(said["params"]["exceptionDetails"]))
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] in ("error", "warning"):
                self.complaints.append(str(said["params"]["entry"]))

    async def do(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            said = await future
        assert "error" not in said, said
        return said["result"]

    async def open(self, url: str, width: int = 1024, height: int = 900) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.do(f"{domain}.enable")
        await self.resize(width, height)
        await self.do("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def resize(self, width: int, height: int) -> None:
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    async def value(self, expression: str) -> Any:
        said = await self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def until(self, expression: str) -> None:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while not await self.value(expression):  # noqa: ASYNC110 - what is waited for is in another process
                await asyncio.sleep(0.05)

    async def type(self, text: str) -> None:
        await self.do("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        code = {"Tab": 9, "Enter": 13}[key]
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.do("Input.dispatchKeyEvent", type="keyDown", text="\r" if key == "Enter" else "", **pressed)
        await self.do("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def screenshot(self) -> bytes:
        """As a PNG."""
        return base64.b64decode((await self.do("Page.captureScreenshot", format="png"))["data"])


@contextmanager
def browser(profile: Path) -> Iterator[str]:
    """Runs a browser. Gives the address of its DevTools."""
    command = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    log = profile.with_name("browser.log")
    with log.open("wb") as file, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file) as process:
        try:
            yield _address(process, log)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_SECONDS_MAX
    while process.poll() is None and time.monotonic() < until:
        _, found, rest = log.read_text(errors="replace").partition("DevTools listening on ws://")
        if found and "/" in rest:
            return rest.partition("/")[0]
        time.sleep(0.05)
    raise AssertionError(f"the browser did not start: {log.read_text(errors='replace')}")


@asynccontextmanager
async def new_tab(address: str) -> AsyncIterator[Tab]:
    """An empty tab, with a window, cookies and storage of its own."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/json/version") as response:
            whole = (await response.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(whole, max_msg_size=0) as browser_socket:
            browser = Tab(browser_socket)
            answering = asyncio.create_task(browser.listen())
            context = (await browser.do("Target.createBrowserContext"))["browserContextId"]
            target = (await browser.do("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
            async with session.ws_connect(f"ws://{address}/devtools/page/{target}", max_msg_size=0) as socket:
                made = Tab(socket)
                listening = asyncio.create_task(made.listen())
                yield made
                listening.cancel()
            await browser.do("Target.disposeBrowserContext", browserContextId=context)
            answering.cancel()
