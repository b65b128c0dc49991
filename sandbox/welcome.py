"""What a supervisor says of itself when a host greets it."""

from __future__ import annotations

import json
from dataclasses import dataclass

FIRST_TUNNEL = 1 << 31  # streams from here on are opened by the sandbox
MOST_STREAMS = FIRST_TUNNEL >> 1  # a sandbox that says it had more lies: those of a later host would not fit
MOST_FRAMES = 1 << 62  # the same of its frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What the supervisor said of itself: `boot` differs between any two boots of any sandbox."""

    boot: str
    last_stream: int
    running: str | None
    python: str
    oldest: int = 1
    last_run: tuple[str, int, int, int] | None = None
    """Id, stream, first and last frame of the last run; last is 0 while it goes on."""

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that no frame could carry."""
        _, stream, first, last = self.last_run or ("", 0, 0, 0)
        if not (0 <= self.last_stream < MOST_STREAMS and 0 <= stream < MOST_STREAMS):
            raise ValueError("no such stream")
        if not all(0 <= number < MOST_FRAMES for number in (self.oldest, first, last)):
            raise ValueError("no such frame")

    def still_tells(self, request_id: str) -> bool:
        """Whether the outcome of that request is yet to come on its stream."""
        return self.last_run is not None and self.last_run[0] == request_id and not 0 < self.last_run[3] < self.oldest

    @classmethod
    def read(cls, payload: bytes) -> Welcome | None:
        """What a WELCOME carries; None where that makes no sense."""
        try:
            value = json.loads(payload)
            return cls(
                boot=str(value["boot"]),
                last_stream=int(value["last_stream"]),
                running=None if value["running"] is None else str(value["running"]),
                python=str(value["python"]),
                oldest=int(value["oldest"]),
                last_run=_run(value["last_run"]),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None


def _run(value: object) -> tuple[str, int, int, int] | None:
    if not isinstance(value, list):
        return None
    request_id, stream, first, last = value
    return str(request_id), int(stream), int(first), int(last)
