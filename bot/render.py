"""Turn events into replies; pure. One reply a cell, one for the agent's words between cells, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.cell_words import cell_words
from bot.model import (
    Action,
    Block,
    CellDone,
    CellOutput,
    CellResult,
    CellStarted,
    Code,
    Ended,
    File,
    Notice,
    Picture,
    Printed,
    Reply,
    Said,
    Text,
    TextDelta,
    TextDone,
    TurnEvent,
    Used,
)
from bot.text import LOST_SANDBOX, OUTPUT_CHARS, cut_middle, printable

ACTIONS: tuple[Action, ...] = ("rerun", "reset", "feedback")
TEXT_CHARS = 40_000  # of the agent's words in one reply


class Transcript:
    """Folds the events of one turn. `apply` returns the replies that an event changed."""

    def __init__(self, turn_id: str, *, show_code: bool = True) -> None:
        self._turn_id = turn_id
        self._show_code = show_code
        self._part = 0
        self._open: Text | None = None
        self._code: Code | None = None
        self._printed = ""
        self._cell_stopped = False
        self._last: Reply | None = None

    def apply(self, event: TurnEvent) -> list[Reply]:
        """The replies to post or edit because of this event, oldest first."""
        match event:
            case TextDelta() | TextDone():
                final = isinstance(event, TextDone)
                before_it = self._open.markdown if self._open and not final else ""
                return self._text(before_it + event.text, final=final)
            case CellStarted():
                before = self._close_text()
                self._code = Code(language=event.language, source=event.code, hidden=event.known or not self._show_code)
                self._printed = ""
                return [*before, self._reply((self._code,), final=False)]
            case CellOutput():
                self._printed = _bounded(self._printed + event.text)
                return [self._reply(self._live(), final=False)]
            case CellDone():
                return [self._close_cell(event.result)]
            case Said():
                before = self._close_text()
                return [*before, self._next((Notice(text=event.text, level=event.level),))]
            case Used():
                return []
            case Ended():
                return self._with_actions(self._end(event))

    def _text(self, markdown: str, *, final: bool) -> list[Reply]:
        if not markdown.strip():
            return []
        self._open = Text(markdown=cut_middle(markdown, TEXT_CHARS)[0])
        reply = self._reply((self._open,), final=final)
        if final:
            self._open = None
            self._part += 1
        return [reply]

    def _close_text(self) -> list[Reply]:
        return self._text(self._open.markdown, final=True) if self._open else []

    def _live(self) -> tuple[Block, ...]:
        text, cut = cut_middle(printable(self._printed), OUTPUT_CHARS)
        return (self._code or Code(language="", source=""), Printed(text=text, cut_bytes=cut))

    def _close_cell(self, result: CellResult) -> Reply:
        code = self._code or Code(language="", source="")
        blocks: list[Block] = [code]
        text, cut = cut_middle(printable(result.output), OUTPUT_CHARS, before=result.cut_bytes)
        if text.strip():
            blocks.append(Printed(text=text.rstrip(), cut_bytes=cut + result.cut_bytes))
        blocks += [Picture(artifact=artifact) for artifact in result.shown]
        blocks += [_file_block(File(artifact=artifact)) for artifact in result.files]
        blocks += _notices(result)
        if len(blocks) == 1:  # else nobody could tell code that is silent from an answer that is not shown
            blocks.append(Notice(text="No output."))
        self._code = None
        self._cell_stopped = result.status == "interrupted"
        return self._next(tuple(blocks))

    def _end(self, event: Ended) -> list[Reply]:
        replies = self._close_text()
        if self._code is not None:  # the turn ended under a cell whose end nobody told
            replies.append(self._next((*self._live(), Notice(text="Interrupted.", level="warning"))))
            self._code = None
        if event.status == "stopped" and not self._cell_stopped:
            replies.append(self._next((Notice(text="Stopped.", level="warning"),)))
        return replies

    def _with_actions(self, replies: list[Reply]) -> list[Reply]:
        """The replies, the very last one of the turn with what people may do about it."""
        if self._last is None:
            return replies
        last = replace(self._last, actions=ACTIONS)
        return [*(reply for reply in replies if reply.part != last.part), last]

    def failure(self, text: str, *, can_retry: bool) -> list[Reply]:
        """What the thread is told when the turn fails."""
        before = self._end(Ended(status="done"))
        failed = self._next((Notice(text=text, level="error"),))
        return [*before, replace(failed, actions=("retry",) if can_retry else ())]  # and no thumbs

    def _reply(self, blocks: tuple[Block, ...], *, final: bool) -> Reply:
        reply = Reply(turn_id=self._turn_id, part=self._part, blocks=blocks, final=final)
        if final:
            self._last = reply
        return reply

    def _next(self, blocks: tuple[Block, ...]) -> Reply:
        reply = self._reply(blocks, final=True)
        self._part += 1
        return reply


def failed_after(earlier: Sequence[Reply], turn_id: str, text: str, *, can_retry: bool) -> Reply:
    """What the thread is told of a turn that is cut off for good: in the reply that grew then, or after the last."""
    last = earlier[-1] if earlier else None
    notice = Notice(text=text, level="error")
    actions: tuple[Action, ...] = ("retry",) if can_retry else ()
    if last is not None and not last.final:
        return replace(last, blocks=(*last.blocks, notice), final=True, actions=actions)
    part = last.part + 1 if last is not None else 0
    return Reply(turn_id=turn_id, part=part, blocks=(notice,), final=True, actions=actions)


def _bounded(text: str) -> str:
    """Live output that never grows past a few times what is shown: head and tail are what a reader sees."""
    if len(text) <= 4 * OUTPUT_CHARS:
        return text
    return cut_middle(text, 2 * OUTPUT_CHARS)[0]


SHOWN_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}


def _file_block(file: File) -> Block:
    return Picture(artifact=file.artifact) if file.artifact.mime in SHOWN_IMAGES else file


def _notices(result: CellResult) -> list[Block]:
    notices: list[Block] = []
    if result.variables_lost_before:
        notices.append(
            Notice(text="The interpreter had ended since the last cell: earlier variables are gone.", level="warning")
        )
    words = _words(result)
    if words:
        notices.append(Notice(text=words, level="warning"))
    if result.sandbox_lost:
        notices.append(Notice(text=f"{LOST_SANDBOX}.", level="warning"))
    elif not result.variables_kept:
        notices.append(Notice(text="All variables of this thread are lost; its files are kept.", level="warning"))
    notices += [Notice(text=line, level="warning") for line in result.notes]
    return notices


def _words(result: CellResult) -> str:
    if result.status == "error" and result.message and result.output.strip():
        return ""  # the traceback has said it
    return cell_words(result.status, result.duration_ms, result.exit_code, result.message)
