"""Cells and shell commands: one runs at a time, from its first frame to its outcome."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .files import Workspace
from .frames import Frame, Kind
from .link import HostLink
from .process import Kernel, Output, kill_group, kill_others, parse_json, start_shell
from .results import death, error, kernel_result, shell_result
from .run import SAMPLE_SECONDS, Caps, Run
from .transfer import Transfers

KEEP_OUTCOMES = 64  # outcomes kept for a host that asks again
MAX_CODE = 4 * 1024 * 1024  # bytes of one cell
KERNEL_TRIES = 3  # starts in a row that may fail before a cell is told
DRAIN_BYTES = 1 << 20  # read from the pipes at most, when a cell has ended


class Cells:
    """The kernel, the run under way, and what became of the last ones."""

    def __init__(
        self, link: HostLink, files: Workspace, transfers: Transfers, selector: selectors.BaseSelector
    ) -> None:
        self._link = link
        self._files = files
        self._transfers = transfers
        self._selector = selector
        self._output = Output()
        self._run: Run | None = None
        self._shell: subprocess.Popen[bytes]
        self._outcomes: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._failed_starts = 0
        self.aside: Callable[[Frame], None] = lambda frame: None
        """Takes the kernel's frames that belong to no run."""
        self.kernel_gone: Callable[[], None] = lambda: None
        """Told when the interpreter has ended."""
        self._last_run: list[Any] | None = None
        self._lost = False  # variables went between two runs; the next outcome says so
        selector.register(self._output.stdout, selectors.EVENT_READ, self._read_output)
        selector.register(self._output.stderr, selectors.EVENT_READ, self._read_output)
        self._start_kernel()

    @property
    def running(self) -> str | None:
        """The id of the request under way."""
        return self._run.request_id if self._run else None

    @property
    def last_run(self) -> list[Any] | None:
        """Id, stream, first and last frame of the last run (0: it goes on), which a new host goes on reading."""
        return self._last_run

    def outcome(self, request_id: str) -> dict[str, Any]:
        """What became of a request of this boot, for a host that lost the answer."""
        status = "running" if self.running == request_id else "unknown"
        return self._outcomes.get(request_id, {"status": status})

    def open(self, stream: int, request: dict[str, Any]) -> None:
        """Begin a run; its code follows as DATA. A request that was run before gets its outcome again."""
        request_id = str(request.get("id"))
        if request_id in self._outcomes:
            self._end(stream, self._outcomes[request_id])
        elif self._run is not None:
            self._end(stream, {"status": "busy"})
        else:
            caps = Caps(**{name: int(value) for name, value in dict(request.get("caps") or {}).items()})
            timeout = float(request.get("timeout") or 60.0)
            grace = float(request.get("grace") or 2.0)
            self._run = Run(stream, request_id, str(request.get("language")), timeout, caps, grace)
            self._last_run = [request_id, stream, self._link.next_seq, 0]

    def body(self, frame: Frame) -> bool:
        """Take a frame of the run's code; false when it belongs to no run."""
        run = self._run
        if run is None or frame.stream != run.stream:
            return False
        self._body(run, frame)
        return True

    def _body(self, run: Run, frame: Frame) -> None:
        if frame.kind is Kind.DATA and run.stage == "waiting":
            run.body_bytes += len(frame.payload)
            if run.body_bytes <= MAX_CODE:
                run.body.append(frame.payload)
        elif frame.kind is Kind.END and run.stage == "waiting":
            run.stage = "ready"
            if run.body_bytes > MAX_CODE:
                run.start()
                self._finish(
                    {"status": "error", "exit_code": 1, "error": error("CodeTooLong", f"over {MAX_CODE} bytes")}
                )
            elif run.language != "python" or (self._kernel_lives and self._kernel.ready):
                self._start(run)
            elif not self._kernel_lives:
                self._failed_starts = 0
                self._start_kernel()

    def _start(self, run: Run) -> None:
        self._drain()  # what was printed between two cells belongs to neither
        run.start()
        code = b"".join(run.body)
        run.body.clear()
        if run.language == "python":
            self._kernel.run(run.stream, code)
            return
        try:
            self._shell = start_shell(code.decode("utf-8", "replace"), self._output, self._files.root)
            run.pid = self._shell.pid
        except (OSError, ValueError) as failed:
            self._finish({"status": "error", "exit_code": 126, "error": error(type(failed).__name__, str(failed))})

    def _read_kernel(self) -> None:
        for frame in self._kernel.frames():
            run = self._run
            if frame.kind is Kind.NOTE and not self._kernel.ready:
                self._kernel_ready(run)
            elif run is not None and frame.stream == run.stream:
                self._kernel_frame(run, frame)
            else:
                self.aside(frame)

    def _kernel_ready(self, run: Run | None) -> None:
        self._kernel.ready = True
        self._failed_starts = 0
        if run is not None and run.stage == "ready":
            self._start(run)

    def _kernel_frame(self, run: Run, frame: Frame) -> None:
        if frame.kind in (Kind.DISPLAY, Kind.DATA):
            run.displayed += len(frame.payload)
            if run.displayed <= run.caps.display:
                self._read_output()
                self._link.send(frame.kind, run.stream, frame.payload)
        elif frame.kind is Kind.NOTE:
            self._kernel.acknowledge(run.stream)
        elif frame.kind is Kind.END:
            self._finish(kernel_result(parse_json(frame.payload)))

    def _read_output(self) -> int:
        """Read each pipe once; the number of bytes read. What is printed outside a run belongs to none and goes."""
        count = 0
        for fd, kind in ((self._output.stdout, Kind.STDOUT), (self._output.stderr, Kind.STDERR)):
            try:
                data = os.read(fd, 1 << 16)
            except BlockingIOError:
                continue
            count += len(data)
            run = self._run
            if run is not None and run.stage not in ("waiting", "ready"):
                run.output(self._link, kind, data)
                if run.over_output_limit and run.stage == "running":
                    self._stop(run, "output_limit")
        return count

    def _drain(self) -> None:
        left = DRAIN_BYTES
        while left > 0 and (count := self._read_output()):
            left -= count

    def died(self, pid: int, code: int) -> None:
        """A process was reaped: the kernel, the shell command that runs, or somebody's orphan."""
        if pid == self._kernel.pid:
            self._kernel_died(code)
        elif self._run is not None and pid == self._run.pid:
            self._shell.returncode = code
            self._finish(shell_result(code))

    def patience(self) -> float | None:
        """How long the loop may sleep; None for as long as nothing comes."""
        if self._run is None or self._run.stage in ("waiting", "ready"):
            return None
        return max(0.0, min(SAMPLE_SECONDS, self._run.deadline - time.monotonic()))

    def _kernel_died(self, code: int) -> None:
        was_ready = self._kernel.ready
        self._selector.unregister(self._kernel)
        self._kernel.close(code)
        self._kernel_lives = False
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        run = self._run
        if run is not None and run.language == "python" and run.stage not in ("waiting", "ready"):
            self._finish(death(code))
        else:
            self._lost = self._lost or was_ready
        kill_group(self._kernel.pid, signal.SIGKILL)
        self.kernel_gone()
        if self._failed_starts < KERNEL_TRIES:
            self._start_kernel()
        elif run is not None and run.stage == "ready":
            run.start()
            failed = error("InterpreterStartFailed", "the interpreter does not start; reset the sandbox")
            self._finish({**death(code), "error": failed})

    def _start_kernel(self) -> None:
        try:
            self._kernel = Kernel(self._output, self._files.root)
        except OSError:  # no process left to have: whoever took them all goes first
            kill_others(set(), set())
            self._kernel = Kernel(self._output, self._files.root)
        self._kernel_lives = True
        self._selector.register(self._kernel, selectors.EVENT_READ, self._read_kernel)

    def empty_state(self) -> int:
        """The descriptor that variables go through, emptied."""
        os.ftruncate(self._kernel.state_fd, 0)
        return self._kernel.state_fd

    def ask_kernel(self, kind: Kind, stream: int, payload: bytes) -> bool:
        """Give the kernel a request that is no cell; false when none lives."""
        if self._kernel_lives:
            self._kernel.ask(kind, stream, payload)
        return self._kernel_lives

    def interrupt_kernel(self, stream: int) -> None:
        """Interrupt that request."""
        self._kernel.interrupt(stream)

    def kill_kernel(self) -> None:
        """End an interpreter that heeds nothing; another is started once it is reaped."""
        kill_group(self._kernel.pid, signal.SIGKILL)

    def interrupt(self, stream: int) -> None:
        """Stop the run of this stream, if it still runs."""
        run = self._run
        if run is not None and run.stream == stream:
            if run.stage in ("waiting", "ready"):
                run.start()
                self._finish({"status": "interrupted", "exit_code": 130})
            elif run.stage == "running":
                self._stop(run, "interrupted")

    def _stop(self, run: Run, reason: str) -> None:
        run.stage, run.reason = "interrupted", reason
        run.deadline = time.monotonic() + run.grace
        if run.language == "python":
            self._kernel.interrupt(run.stream)
        else:
            kill_group(run.pid, signal.SIGINT)

    def tick(self) -> None:
        """Look at the clock: what ran too long is interrupted, what did not heed that is killed."""
        run = self._run
        if self._kernel_lives:
            self._kernel.flush()
        if run is None or run.stage in ("waiting", "ready"):
            return
        now = time.monotonic()
        if now >= run.next_sample:
            run.sample()
        if now < run.deadline:
            return
        if run.stage == "running":
            self._stop(run, "timeout")
        else:
            run.stage = "killed"
            run.deadline = time.monotonic() + run.grace
            keep = set() if run.language == "python" else {self._kernel.pid}
            kill_others(keep, {self._kernel.pid, run.pid} - {0})

    def _finish(self, result: dict[str, Any]) -> None:
        run = self._run
        if run is None:
            return
        if run.reason and result.get("kernel") != "lost":
            kill_others({self._kernel.pid}, {run.pid} - {0})
        self._drain()
        outcome = run.finish(self._link, {"kernel": "kept", **result}, self._files.changes())
        outcome["lost_before"], self._lost = self._lost, False
        if run.whole_fd >= 0:
            self._transfers.keep_output(run.request_id, run.whole_fd)
        self._outcomes[run.request_id] = outcome
        while len(self._outcomes) > KEEP_OUTCOMES:
            self._outcomes.popitem(last=False)
        self._run = None
        self._last_run = [run.request_id, run.stream, *(self._last_run or [])[2:3], self._link.next_seq]
        self._end(run.stream, outcome)

    def _end(self, stream: int, outcome: dict[str, Any]) -> None:
        self._link.send_json(Kind.END, stream, outcome)
