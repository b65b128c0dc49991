"""One run of a cell or a shell command: its clock, its output caps and what is said of it at the end."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from . import cgroup
from .frames import Kind
from .link import HostLink

TAIL_PIECE = 8 * 1024  # bytes; many small prints become pieces of this size
SAMPLE_SECONDS = 0.25  # between two looks at the memory in use

EXIT_CODES = {"timeout": 124, "oom": 137, "interrupted": 130, "output_limit": 153}


@dataclass
class Caps:
    """Bounds on what a run may print, in bytes."""

    head: int = 64 * 1024
    tail: int = 64 * 1024
    whole: int = 10 * 1024 * 1024
    display: int = 16 * 1024 * 1024


@dataclass
class Run:
    """A request to run code, from its first frame to its outcome."""

    stream: int
    request_id: str
    language: str
    timeout: float
    caps: Caps
    grace: float = 2.0  # seconds between SIGINT and SIGKILL
    start_seconds: float = 20.0  # that an interpreter may take to start, when this waits for it
    body: list[bytes] = field(default_factory=list)
    body_bytes: int = 0
    pid: int = 0  # of a shell command
    tries: int = 0  # to start it, that found no process
    started: float = 0.0
    stage: str = "waiting"  # -> running -> interrupted -> killed
    reason: str = ""  # why it was stopped by us
    deadline: float = 0.0
    printed: int = 0
    displayed: int = 0
    peak: int = 0
    next_sample: float = 0.0
    whole_fd: int = -1
    _held: list[tuple[Kind, bytes]] = field(default_factory=list)
    _tail: deque[tuple[Kind, bytes]] = field(default_factory=deque)
    _tail_bytes: int = 0
    _ooms: int = 0
    _cpu: int = 0

    @classmethod
    def of(cls, stream: int, request: dict[str, Any]) -> Run:
        """What a host asks for."""
        caps = Caps(**{name: int(value) for name, value in dict(request.get("caps") or {}).items()})
        run = cls(
            stream, str(request.get("id")), str(request.get("language")), float(request.get("timeout") or 60), caps
        )
        run.grace = float(request.get("grace") or 2.0)
        run.start_seconds = float(request.get("start") or 20.0)
        return run

    def start(self) -> None:
        """Start the clocks."""
        self.stage = "running"
        self.started = time.monotonic()
        self.deadline = self.started + self.timeout
        self._ooms = cgroup.oom_kills()
        self._cpu, _ = cgroup.cpu_ms()
        self.next_sample = self.started + SAMPLE_SECONDS

    def sample(self) -> int:
        """Look at the memory in use now."""
        self.next_sample = time.monotonic() + SAMPLE_SECONDS
        memory = cgroup.memory_bytes()
        self.peak = max(self.peak, memory)
        return memory

    def output(self, link: HostLink, kind: Kind, data: bytes) -> None:
        """Stream the head, keep the tail for the end and the whole in memory of its own, up to the caps."""
        room = self.caps.head - self.printed
        self.printed += len(data)
        if room > 0:
            link.send_data(self.stream, data[:room], kind)
        if self.printed <= self.caps.head:
            self._held.append((kind, data))
            return
        self._keep_whole(kind, data)
        if rest := data[max(room, 0) :]:
            self._tail_bytes += len(rest)
            if self._tail and self._tail[-1][0] is kind and len(self._tail[-1][1]) < TAIL_PIECE:
                rest = self._tail.pop()[1] + rest
            self._tail.append((kind, rest))
        while self._tail and self._tail_bytes - len(self._tail[0][1]) >= self.caps.tail:
            self._tail_bytes -= len(self._tail.popleft()[1])

    def _keep_whole(self, kind: Kind, data: bytes) -> None:
        if self.printed - len(data) > self.caps.whole:
            return  # it is being stopped for that; what it prints meanwhile has no place
        try:
            if self.whole_fd < 0:
                self.whole_fd = os.memfd_create(f"output-{self.stream}")
                for _, held in self._held:
                    os.write(self.whole_fd, held)
                self._held.clear()
            os.write(self.whole_fd, data)
        except OSError:
            return  # no memory left for it: head and tail remain

    @property
    def over_output_limit(self) -> bool:
        """Whether more was printed than is kept."""
        return self.printed > self.caps.whole

    def finish(self, link: HostLink, result: dict[str, Any], files: list[dict[str, Any]]) -> dict[str, Any]:
        """Send the tail and return the outcome."""
        shown = min(self.printed, self.caps.head) + min(self._tail_bytes, self.caps.tail)
        if self.printed > shown:
            link.send_json(Kind.NOTE, self.stream, {"cut": self.printed - shown})
        self._send_tail(link)
        ooms = cgroup.oom_kills() - self._ooms
        cpu, exact = cgroup.cpu_ms()
        memory = self.sample()
        status = "oom" if ooms > 0 else (self.reason or result["status"])
        return {
            **result,
            "status": status,
            "exit_code": EXIT_CODES.get(status, result["exit_code"]),
            "duration_ms": round((time.monotonic() - self.started) * 1000, 2),
            "cpu_ms": cpu - self._cpu,
            "cpu_exact": exact,
            "peak_bytes": self.peak,
            "memory": memory,
            "printed": self.printed,
            "whole": self.whole_fd >= 0,
            "files": files,
        }

    def _send_tail(self, link: HostLink) -> None:
        over = self._tail_bytes - self.caps.tail
        for kind, data in self._tail:
            data, over = (data[over:], 0) if over > 0 else (data, over)
            link.send_data(self.stream, data, kind)
