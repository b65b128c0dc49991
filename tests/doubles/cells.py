"""The Cells port in memory: nothing runs, what is asked for is noted."""

from __future__ import annotations

from collections.abc import Callable

from bot.model import CellDone, CellResult, CellStarted
from bot.ports import Emit


class MemoryCells:
    """Each cell ends with what `ends` makes of its code, which may also raise."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.ran: list[tuple[str, str]] = []
        self.ends: Callable[[str], CellResult] = lambda code: CellResult(status="ok", exit_code=0, output=f"ran {code}")

    async def run(self, language: str, code: str, *, known: bool = False) -> CellResult:
        self.ran.append((language, code.strip()))
        self._emit(CellStarted(language=language, code=code, known=known))
        result = self.ends(code)
        self._emit(CellDone(result=result))
        return result
