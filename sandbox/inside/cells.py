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
from .frames import COST, Frame, Kind
from .keeper import TRY_AGAIN_SECONDS, Keeper
from .link import HostLink
from .output import OldOutputs, Output
from .process import kill_group, kill_others, parse_json, start_shell
from .results import death, error, kernel_result, shell_result
from .run import SAMPLE_SECONDS, Run
from .transfer import Transfers

KEEP_OUTCOMES = 64  # outcomes kept for a host that asks again
MAX_CODE = 4 * 1024 * 1024  # bytes of one cell
FLOOD_BYTES = 4096  # at once: who prints so much is read again without a pause
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
        self._old_outputs = OldOutputs()
        self._output: Output | None = None  # of the run under way
        self._run: Run | None = None
        self._shell: subprocess.Popen[bytes]
        self._outcomes: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._command_at = 0.0  # when to try again to start a command that found no process
        self.keeper = Keeper(
            files.root,
            selector,
            on_frame=self._kernel_frame,
            on_ready=self._kernel_ready,
            on_death=self._kernel_died,
        )
        self.aside: Callable[[Frame], None] = lambda frame: None
        """Takes the kernel's frames that belong to no run."""
        self.kernel_gone: Callable[[], None] = lambda: None
        """Told when the interpreter has ended."""
        self.last_run: list[Any] | None = None
        """Id, stream, first and last frame of the last run (0: it goes on), which a new host goes on reading."""
        self._lost = False  # variables went between two runs; the next outcome says so
        self.keeper.start()

    @property
    def running(self) -> str | None:
        """The id of the request under way."""
        return self._run.request_id if self._run else None

    def outcome(self, request_id: str) -> dict[str, Any]:
        """What became of a request of this boot, for a host that lost the answer."""
        return self._outcomes.get(request_id, {"status": "running" if self.running == request_id else "unknown"})

    def open(self, stream: int, request: dict[str, Any]) -> None:
        """Begin a run; its code follows as DATA. A request that was run before gets its outcome again."""
        request_id = str(request.get("id"))
        if request_id in self._outcomes:
            self._end(stream, self._outcomes[request_id])
        elif self._run is not None:
            self._end(stream, {"status": "busy"})
        else:
            self._run = Run.of(stream, request)
            self.last_run = [request_id, stream, self._link.next_seq, 0]

    def reset(self) -> None:
        """Another host came, or the same one again: a request that did not come whole is asked for anew."""
        if self._run is not None and self._run.stage == "waiting":
            self._run = self.last_run = None

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
            run.deadline = time.monotonic() + run.start_seconds
            if run.body_bytes > MAX_CODE:
                run.start()
                self._finish(
                    {"status": "error", "exit_code": 1, "error": error("CodeTooLong", f"over {MAX_CODE} bytes")}
                )
            elif run.language != "python" or self.keeper.ready:
                self._start(run)
            else:
                self._link.send_json(Kind.NOTE, run.stream, {"starts": run.start_seconds})
                if self.keeper.gave_up:
                    self.keeper.start(afresh=True)

    def _start(self, run: Run) -> None:
        run.start()
        code = b"".join(run.body)
        run.body.clear()
        try:
            output = self._output = Output(self._selector, self._output_ready)
        except OSError as failed:  # no descriptor left
            self._finish({"status": "error", "exit_code": 126, "error": error("SandboxFull", str(failed))})
            return
        if run.language == "python":
            self.keeper.kernel.run(run.stream, code, output.give())
        else:
            self._start_command(run, code, output)

    def _start_command(self, run: Run, code: bytes, output: Output) -> None:
        try:
            try:
                self._shell = start_shell(code.decode("utf-8", "replace"), output, self._files.root)
            finally:
                for fd in output.give():
                    os.close(fd)
            run.pid = self._shell.pid
        except BlockingIOError:  # no process left to have: whoever took them all goes
            self._output = None
            output.close()
            self._no_process(run, code)
        except (OSError, ValueError) as failed:
            self._finish({"status": "error", "exit_code": 126, "error": error(type(failed).__name__, str(failed))})

    def _no_process(self, run: Run, code: bytes) -> None:
        """Make room for a command and try again: first without what was left behind, then without the interpreter."""
        run.tries += 1
        if run.tries > 2:
            self._finish({"status": "error", "exit_code": 126, "error": error("NoProcess", "no process is left")})
            return
        kill_others(self.keeper.pids if run.tries == 1 else set(), set())
        run.stage, self._command_at = "ready", time.monotonic() + TRY_AGAIN_SECONDS
        run.body.append(code)

    def _kernel_ready(self) -> None:
        if self._run is not None and self._run.stage == "ready" and self._run.language == "python":
            self._start(self._run)

    def _kernel_frame(self, frame: Frame) -> None:
        run = self._run
        if run is None or frame.stream != run.stream:
            self.aside(frame)
        elif frame.kind in (Kind.DISPLAY, Kind.DATA):
            run.displayed += len(frame.payload) + COST
            if run.displayed <= run.caps.display:
                self._read_output()
                self._link.send(frame.kind, run.stream, frame.payload)
            elif run.stage == "running" and run.displayed > 2 * run.caps.display:
                self._stop(run, "output_limit")
        elif frame.kind is Kind.NOTE:
            self.keeper.kernel.acknowledge(run.stream)
        elif frame.kind is Kind.END:
            self._finish(kernel_result(parse_json(frame.payload)))

    def _output_ready(self) -> None:
        if 0 < self._read_output() < FLOOD_BYTES and self._run is not None and self._run.language == "python":
            self.keeper.linger()

    def _read_output(self) -> int:
        """Read each pipe of the run once; the number of bytes read."""
        run = self._run
        if run is None or self._output is None:
            return 0
        count = 0
        for kind, data in self._output.read():
            count += len(data)
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
        if self.keeper.died(pid, code):
            return
        if self._run is not None and pid == self._run.pid:
            self._shell.returncode = code
            self._finish(shell_result(code))

    def patience(self) -> float | None:
        """How long the loop may sleep; None for as long as nothing comes."""
        if self._command_at or self.keeper.patience() is not None:
            return TRY_AGAIN_SECONDS
        if self._run is None or self._run.stage == "waiting":
            return None
        return max(0.0, min(SAMPLE_SECONDS, self._run.deadline - time.monotonic()))

    def _kernel_died(self, code: int, was_ready: bool) -> None:
        self.kernel_gone()
        run = self._run
        if run is not None and run.language == "python" and run.stage not in ("waiting", "ready"):
            self._finish(death(code))
            return
        self._lost = self._lost or was_ready
        if run is not None and run.stage == "ready" and self.keeper.gave_up:
            self._no_kernel(run, code)

    def _no_kernel(self, run: Run, code: int) -> None:
        run.start()
        why = "the interpreter does not start; reset the sandbox"
        self._finish({**death(code), "error": error("InterpreterStartFailed", why)})

    def interrupt(self, stream: int) -> None:
        """Stop the run of this stream, if it still runs."""
        run = self._run
        if run is None or run.stream != stream:
            return
        if run.stage == "running":
            self._stop(run, "interrupted")
        elif run.stage in ("waiting", "ready"):
            run.start()
            self._finish({"status": "interrupted", "exit_code": 130})

    def _stop(self, run: Run, reason: str) -> None:
        run.stage, run.reason = "interrupted", reason
        run.deadline = time.monotonic() + run.grace
        if run.language == "python":
            self.keeper.interrupt(run.stream)
        else:
            kill_group(run.pid, signal.SIGINT)

    def tick(self) -> None:
        """Look at the clock: what ran too long is interrupted, what did not heed that is killed."""
        self.keeper.tick()
        run = self._run
        now = time.monotonic()
        if run is None or run.stage == "waiting":
            return
        if run.stage == "ready":
            self._look_at_start(run, now)
            return
        if now >= run.next_sample:
            run.sample()
        if now < run.deadline:
            return
        if run.stage == "running":
            self._stop(run, "timeout")
        else:
            run.stage = "killed"
            run.deadline = time.monotonic() + run.grace
            keep = set() if run.language == "python" else self.keeper.pids
            kill_others(keep, (self.keeper.pids | {run.pid}) - {0})

    def _look_at_start(self, run: Run, now: float) -> None:
        if now >= run.deadline:
            self.keeper.kill()
            self._no_kernel(run, 137)
        elif self._command_at and now >= self._command_at:
            self._command_at = 0.0
            self._start(run)

    def _finish(self, result: dict[str, Any]) -> None:
        run = self._run
        if run is None:
            return
        if run.reason and result.get("kernel") != "lost":
            kill_others(self.keeper.pids, {run.pid} - {0})
        self._drain()
        if self._output is not None:
            self._old_outputs.add(self._output)
        self._output = None
        outcome = run.finish(self._link, {"kernel": "kept", **result}, self._files.changes())
        outcome["lost_before"], self._lost = self._lost, False
        if run.whole_fd >= 0:
            self._transfers.keep_output(run.request_id, run.whole_fd)
        self._outcomes[run.request_id] = outcome
        while len(self._outcomes) > KEEP_OUTCOMES:
            self._outcomes.popitem(last=False)
        self._run = None
        self.last_run = [run.request_id, run.stream, *(self.last_run or [])[2:3], self._link.next_seq]
        self._end(run.stream, outcome)

    def _end(self, stream: int, outcome: dict[str, Any]) -> None:
        self._link.send_json(Kind.END, stream, outcome)
