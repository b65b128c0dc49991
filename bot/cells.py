"""Runs code for one turn: each cell is a step, recorded before and after, with its pictures and files kept."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, replace

from bot.arrival import arrival_words, waiting_words
from bot.codec import cell_from_json
from bot.displays import ENDINGS, NAMES, PICTURES, as_text, kept_as
from bot.errors import BudgetSpent, Stopped
from bot.model import Artifact, CellDone, CellOutput, CellResult, CellStarted, Json, Said
from bot.ports import Emit, Steps
from bot.stops import Stop
from bot.store_ports import Artifacts, Turns
from bot.text import OUTPUT_CHARS, cut_middle, file_name, printable, size_words, valid_text
from sandbox import Cut, Display, Outcome, Output, RunEvent, SandboxError, Waiting
from sandbox.errors import FileRefused, SandboxGone
from sandbox.languages import canonical_language
from sandbox.lease import Arrival, Lease

RECORDED_CHARS = 24_000  # of a cell's output in the record of its step
TELL_SECONDS = 0.05  # between two live updates of a cell's output


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLimits:
    """Bounds on what one cell and all cells of a turn may use and bring back."""

    cpu_seconds: float
    file_bytes: int
    files: int
    """That one cell brings back."""
    files_bytes: int
    """Of all files and pictures of a turn."""
    timeout_seconds: float | None = None
    """Of one cell; None for the sandbox's own."""


@dataclass
class _Seen:
    """What came out of a cell so far."""

    text: list[str] = field(default_factory=list)
    cut: int = 0
    shown: list[Artifact] = field(default_factory=list)
    pages: list[Artifact] = field(default_factory=list)  # SVG and HTML, which a chat shows as files
    outcome: Outcome | None = None
    told: int = 0  # pieces of text that the thread has seen
    timer: asyncio.TimerHandle | None = None


class TurnCells:
    """The Cells port for one turn."""

    def __init__(
        self,
        turn_id: str,
        lease: Lease,
        steps: Steps,
        turns: Turns,
        artifacts: Artifacts,
        emit: Emit,
        stop: Stop,
        limits: CellLimits,
    ) -> None:
        self._turn_id = turn_id
        self._lease = lease
        self._steps = steps
        self._turns = turns
        self._artifacts = artifacts
        self._emit = emit
        self._stop = stop
        self._limits = limits
        self._count = 0
        self._cpu_ms = 0
        self._bytes_left = limits.files_bytes
        # a model may ask for several cells at once; one interpreter takes one at a time
        self._one = asyncio.Lock()
        # how the sandbox was found, as far as the thread knows; what the lease finds later is told with a cell
        self._told: Arrival | None = lease.arrival

    async def run(self, language: str, code: str, *, known: bool = False) -> CellResult:
        """See bot.ports.Cells."""
        language = canonical_language(language)
        code = valid_text(code)
        async with self._one:
            if self._stop.is_set:
                raise Stopped
            if self._cpu_ms > self._limits.cpu_seconds * 1000:
                raise BudgetSpent(f"This request has used its {self._limits.cpu_seconds:g} s of processor time.")
            self._count += 1
            request_id = f"{self._turn_id}.{self._count}"
            self._emit(CellStarted(language=language, code=code, known=known))
            recorded = await self._steps.step(f"cell-{self._count}", lambda: self._run(request_id, language, code))
            result = cell_from_json(recorded)
            self._cpu_ms += result.cpu_ms
            self._emit(CellDone(result=result))
            return result

    async def _run(self, request_id: str, language: str, code: str) -> Json:
        if not await self._turns.begin_run(request_id, self._turn_id):
            return asdict(await self._resume(request_id))
        try:
            return asdict(
                await self._read(
                    request_id,
                    self._lease.run(
                        code, language, request_id=request_id, timeout_seconds=self._limits.timeout_seconds
                    ),
                )
            )
        except SandboxError as error:
            message = f"The sandbox failed: {error} {error.mend}".strip()
            return asdict(CellResult(status="lost", exit_code=1, output="", message=message))

    async def _resume(self, request_id: str) -> CellResult:
        """The outcome of a cell that an earlier process began: read on where its sandbox lives, never run again."""
        try:
            return await self._read(request_id, self._lease.resume(request_id))
        except LookupError:
            return self._unknown()
        except SandboxError as error:
            return _cut_off(sandbox_lost=isinstance(error, SandboxGone))

    def _unknown(self) -> CellResult:
        """Of a cell that the sandbox knows nothing of: with what became of the sandbox, if it was not told before."""
        now, told, self._told = self._lease.arrival, self._told, self._lease.arrival
        if now is None or now is told or now.kind == "live":
            return _cut_off(sandbox_lost=False)
        note = arrival_words(replace(now, notice=""), had_one=False)
        # where nothing says that there was a sandbox, it had perhaps not been made yet
        return _cut_off(sandbox_lost=bool(now.notice) or (now.kind == "new" and self._count > 1), note=note)

    async def _read(self, request_id: str, run: AsyncGenerator[RunEvent, None]) -> CellResult:
        seen = _Seen()
        try:
            async with aclosing(run) as events:
                async for event in events:
                    match event:
                        case Output():
                            seen.text.append(event.text)
                            self._tell(seen)
                        case Cut():
                            seen.cut += event.count
                            seen.text.append(_cut_words(event))
                        case Waiting():
                            self._emit(Said(text=waiting_words(event.before)))
                        case Display():
                            await self._display(event, seen)
                        case Outcome():
                            seen.outcome = event
        finally:
            if seen.timer is not None:
                seen.timer.cancel()
        assert seen.outcome is not None  # noqa: S101 - the Runner's contract
        result = await self._result(request_id, seen, seen.outcome)
        now, told, self._told = self._lease.arrival, self._told, self._lease.arrival
        note = "" if now is None or now is told else arrival_words(now, had_one=self._count > 1)
        return replace(result, notes=(note, *result.notes)) if note else result

    async def _display(self, event: Display, seen: _Seen) -> None:
        mime = kept_as(event)
        if mime is None:
            seen.text.append(cut_middle(as_text(event), RECORDED_CHARS)[0] + "\n")
            self._tell(seen)
            return
        kept = seen.shown if mime in PICTURES else seen.pages
        name = f"{NAMES[mime]}-{len(kept) + 1}.{ENDINGS[mime]}"
        data = event.bundle[mime]
        if len(data) > self._bytes_left:
            seen.text.append(f"[{name} left out: {self._no_room()}]\n")
            self._tell(seen)
            return
        self._bytes_left -= len(data)
        kept.append(await self._artifacts.save(self._turn_id, name, mime, data))

    def _no_room(self) -> str:
        return f"one request brings back {size_words(self._limits.files_bytes)} at most"

    def _tell(self, seen: _Seen) -> None:
        """Tell the thread what was printed, a few times a second: rendering it costs more than printing it."""
        if seen.timer is None:
            seen.timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_now, seen)

    def _tell_now(self, seen: _Seen) -> None:
        seen.timer = None
        self._emit(CellOutput(text="".join(seen.text[seen.told :])))
        seen.told = len(seen.text)

    async def _result(self, request_id: str, seen: _Seen, outcome: Outcome) -> CellResult:
        text = "".join(seen.text)
        output, cut = cut_middle(text, RECORDED_CHARS)
        files, notes = await self._files(outcome)
        if len(text) > OUTPUT_CHARS:
            files.append(await self._whole_output(request_id, text, outcome))
        return CellResult(
            status=outcome.status,
            exit_code=outcome.exit_code,
            output=output,
            duration_ms=outcome.duration_ms,
            cpu_ms=outcome.cpu_ms,
            peak_bytes=outcome.peak_bytes,
            cut_bytes=seen.cut + cut,
            message=outcome.error_message,
            shown=tuple(seen.shown),
            files=(*seen.pages, *files),
            notes=tuple(notes),
            variables_kept=outcome.variables_kept,
            variables_lost_before=outcome.variables_lost_before,
            sandbox_lost=outcome.sandbox_lost,
        )

    async def _whole_output(self, request_id: str, text: str, outcome: Outcome) -> Artifact:
        """Everything that was printed, as a file, where a reply shows only head and tail."""
        data = printable(text).encode()
        if outcome.has_whole_output and not outcome.sandbox_lost:
            with suppress(FileRefused, SandboxGone):
                data = await (await self._lease.sandbox()).whole_output(request_id)
        self._bytes_left -= len(data)
        return await self._artifacts.save(self._turn_id, "output.txt", "text/plain", data)

    async def _files(self, outcome: Outcome) -> tuple[list[Artifact], list[str]]:
        if outcome.sandbox_lost or not outcome.files:
            return [], []
        sandbox = await self._lease.sandbox()
        kept: list[Artifact] = []
        notes: list[str] = []
        for file in outcome.files[: self._limits.files]:
            if self._bytes_left < file.size <= self._limits.file_bytes:
                notes.append(f"{file_name(file.path)} stays in the sandbox: {self._no_room()}.")
                continue
            try:
                data = await sandbox.get_file(file.path, limit_bytes=self._limits.file_bytes)
            except SandboxGone:
                notes.append("The sandbox ended before all files were brought back.")
                break
            except FileRefused:
                notes.append(
                    f"{file_name(file.path)} ({size_words(file.size)}) stays in the sandbox: "
                    f"I bring back files up to {size_words(self._limits.file_bytes)}."
                )
                continue
            self._bytes_left -= len(data)  # a sandbox may say that they are fewer
            mime = mimetypes.guess_type(file_name(file.path))[0] or "application/octet-stream"
            kept.append(await self._artifacts.save(self._turn_id, file_name(file.path), mime, data))
        if len(outcome.files) > self._limits.files:
            notes.append(f"{len(outcome.files) - self._limits.files} more files stay in the sandbox.")
        return kept, notes


def _cut_words(cut: Cut) -> str:
    what = size_words(cut.count) if cut.count else "what was printed before I was restarted is"
    return f"\n[… {what} left out …]\n"


def _cut_off(*, sandbox_lost: bool, note: str = "") -> CellResult:
    return CellResult(
        status="lost",
        exit_code=1,
        output="",
        message="I was restarted while this code ran. Its outcome is unknown, and it was not run again.",
        notes=(note,) if note else (),
        variables_kept=bool(note) or not sandbox_lost,
        sandbox_lost=sandbox_lost,
    )
