"""How late a cell's output comes while a process of the same cell downloads through the tunnel."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from sandbox import Output
from sandbox.engine import DockerEngine
from tests.benchmarks.timing import summary
from tests.doubles.networked import ASK, HOST, networked
from tests.doubles.tls_site import tls_site

DOWNLOAD_BYTES = 100 * 1024 * 1024
LOAD = """
left = {bytes}
connection = connected({port})
connection.request('GET', '/big')
answer = connection.getresponse()
while data := answer.read(1 << 16): left -= len(data)
assert left == 0
"""
CELL = """
import subprocess, sys, time
load = subprocess.Popen([sys.executable, '-c', {load!r}])
while load.poll() is None:
    print(time.monotonic(), flush=True)
    time.sleep(0.005)
assert load.returncode == 0
"""


async def measure_download(image: str) -> dict[str, float]:
    """Milliseconds from a print every 5 ms until the host has it; container and host have one monotonic clock."""
    engine = DockerEngine(image=image, instance=f"bench-{os.urandom(4).hex()}")
    late: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with tls_site(Path(folder), [HOST], DOWNLOAD_BYTES) as site, networked(engine, site) as sandbox:
            load = ASK + LOAD.format(bytes=DOWNLOAD_BYTES, port=site.port)
            started = time.monotonic()
            async with aclosing(sandbox.run(CELL.format(load=load))) as events:
                async for event in events:
                    if isinstance(event, Output):
                        now = time.monotonic()
                        late += [(now - float(stamp)) * 1000 for stamp in event.text.split()]
            seconds = time.monotonic() - started
    await engine.aclose()
    return {**summary(late), "download_s": round(seconds, 2)}
