"""Discord's rate limits: what a bot may send, counted; and the headers that tell it."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_MESSAGES = "/channels/{channel_id}/messages"
_ME = f"{_MESSAGES}/{{message_id}}/reactions/{{emoji_name}}/@me"
TABLE = {
    ("POST", _MESSAGES): ("post", 5, 5.0), ("PATCH", f"{_MESSAGES}/{{message_id}}"): ("edit", 5, 5.0),
    ("PUT", _ME): ("react", 1, 0.25), ("DELETE", _ME): ("react", 1, 0.25),
}  # fmt: skip
"""How many in how many seconds, in one channel."""
GLOBAL = 50
TOLERANCE, MOST_TOLERANCE = 0.1, 0.05
"""Of a window: what a loopback's own delays may take off."""


@dataclass
class Window:
    """Begins with the first request after the last one ended, like Discord's."""

    name: str
    limit: int
    seconds: float
    began: float = -math.inf
    used: int = 0

    def take(self, now: float) -> bool:
        """False: it is over the limit."""
        if now - self.began >= self.seconds - min(self.seconds * TOLERANCE, MOST_TOLERANCE):
            self.began, self.used = now, 0
        self.used += 1
        return self.used <= self.limit

    def left(self, now: float) -> float:
        return max(0.0, self.began + self.seconds - now)

    def headers(self, now: float) -> dict[str, str]:
        left = math.ceil(self.left(now) * 1000) / 1000
        return {
            "X-RateLimit-Limit": str(self.limit), "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": f"{time.time() + left:.3f}", "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": f"bucket-{self.name}",
        }  # fmt: skip


@dataclass
class Rates:
    """Every request of the bot."""

    over_limit: list[str] = field(default_factory=list)
    """What was sent too fast: the bucket and how often within its window."""
    windows: dict[tuple[str, str], Window] = field(default_factory=dict)
    everything: deque[float] = field(default_factory=deque)

    def take(self, method: str, template: str, channel_id: str) -> tuple[dict[str, str], Json | None]:
        """The headers of the answer, and the body of a 429 where one is due."""
        now = time.monotonic()
        if not self._global(now, template):
            self.over_limit.append("global")
            return {"X-RateLimit-Global": "true"}, _refusal(1.0, everywhere=True)
        if (method, template) not in TABLE:
            return {}, None
        name, limit, seconds = TABLE[method, template]
        window = self.windows.setdefault((name, channel_id), Window(name, limit, seconds))
        if window.take(now):
            return window.headers(now), None
        self.over_limit.append(f"{name} {channel_id}: {window.used} in {now - window.began:.3f} s")
        return window.headers(now), _refusal(window.left(now))

    def _global(self, now: float, template: str) -> bool:
        if template.startswith(("/interactions/", "/webhooks/")):
            return True
        while self.everything and now - self.everything[0] > 1.0:
            self.everything.popleft()
        self.everything.append(now)
        return len(self.everything) <= GLOBAL


def _refusal(seconds: float, *, everywhere: bool = False) -> Json:
    return {"message": "You are being rate limited.", "retry_after": round(seconds + 0.001, 3), "global": everywhere}
