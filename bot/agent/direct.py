"""The agent without a model: runs the code blocks of a message, and says how to set a model when there are none."""

from __future__ import annotations

from bot.errors import Stopped
from bot.model import Json, Request, Said, TextDone
from bot.ports import TurnTools
from bot.text import code_blocks
from sandbox.errors import UnsupportedLanguage

NO_MODEL = (
    "No model is set up yet, so I run code as it is: send me a block between ``` marks, Python or bash, and I answer "
    "with its output, plots and files.\n\n"
    "To have me write the code, put `OPENAI_API_KEY=…` into `.env` (or `OPENAI_BASE_URL` and `THREADBOX_MODEL` for any "
    "OpenAI-compatible server) and start me again."
)


BLOCKS_MOST = 20  # in one message: each is a cell with files of its own


class DirectAgent:
    """The Agent port without a model."""

    async def answer(self, request: Request, memory: Json | None, tools: TurnTools) -> Json | None:
        """See bot.ports.Agent."""
        blocks = code_blocks(request.text)
        if len(blocks) > BLOCKS_MOST:
            tools.emit(
                Said(text=f"I run {BLOCKS_MOST} blocks of a message at most; it has {len(blocks):,}.", level="error")
            )
            return None
        if not blocks:
            tools.emit(TextDone(text=NO_MODEL))
        for number, block in enumerate(blocks, 1):
            try:
                result = await tools.cells.run(block.language, block.code, known=len(blocks) == 1)
            except UnsupportedLanguage as error:
                tools.emit(TextDone(text=str(error)))
                continue
            if tools.stop.is_set:
                raise Stopped
            if result.status != "ok":
                if left := len(blocks) - number:
                    blocks_left = "The block after it was" if left == 1 else f"The {left} blocks after it were"
                    tools.emit(Said(text=f"{blocks_left} not run.", level="warning"))
                break
        return None
