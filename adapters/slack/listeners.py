"""What Slack delivers, handed on: messages to the intake, commands and presses to the command core.

A message is claimed in our database before Slack gets its acknowledgement (`process_before_response`): what is
acknowledged is kept. Presses and commands are acknowledged first and carried out after it (`bolt.Background`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from cachetools import LRUCache

from adapters.slack import forms, inbound, outbound
from adapters.slack.adapter import SlackPlatform
from adapters.slack.calls import SlackCalls, SlackRefused
from adapters.slack.inbound import Identity, pressed_thread
from adapters.slack.people import People
from adapters.slack.text import harmless, unescaped
from bot.budget import Priority
from bot.core import Core
from bot.errors import Refused
from bot.invocation import Invocation
from bot.model import IncomingMessage, Person, ThreadKey
from bot.options import Scope
from bot.order import ThreadOrder

log = structlog.get_logger()

Json = dict[str, Any]

Later = Callable[[Coroutine[Any, Any, None]], None]
"""Begins work that goes on after Slack has its acknowledgement."""

HEARD_KEPT = 20_000
GONE = "I no longer have that answer."


class SlackListeners:
    """One method for each kind of delivery; the pure work is in `inbound` and `forms`."""

    def __init__(
        self,
        core: Core,
        platform: SlackPlatform,
        people: People,
        calls: SlackCalls,
        us: Identity,
        command: str,
        later: Later,
    ) -> None:
        self._core = core
        self._platform = platform
        self._people = people
        self._calls = calls
        self._us = us
        self._command = command
        self._later = later
        self.url = ""
        self._heard: LRUCache[tuple[str, str], None] = LRUCache(HEARD_KEPT)
        self._order = ThreadOrder()

    # ---- messages

    async def said(self, event: Json) -> None:
        """A message, a mention, an edit or a deletion."""
        changed = inbound.edited(event, self._us)
        if changed is not None:
            await self._edited(*changed)
        elif (gone := inbound.deleted(event)) is not None:
            await self._core.intake.deleted(self._us.place(gone[0]), gone[1])
        elif inbound.is_spoken(event, self._us):
            await self.take(await self.message(event))

    async def missed(self, event: Json) -> None:
        """A message that came while nobody listened; one that was heard is not told of again."""
        where = (str(event["channel"]), str(event["ts"]))
        if where not in self._heard and await self._core.choices.is_new(self._platform.name, _heard_id(where)):
            await self.take(await self.message(event))

    async def message(self, event: Json) -> IncomingMessage:
        """A message with who wrote it; one that comes later is not through before one that we have yet to ask about."""
        place = self._us.place(str(event["channel"]), str(event.get("thread_ts") or event["ts"]))
        async with self._order.turn_of(place, inbound.moment(str(event["ts"]))):
            return inbound.message(event, self._us, await self._people.person(str(event["user"])))

    async def take(self, message: IncomingMessage) -> None:
        """Claim a message, once; what is left to do of it is done after Slack has its acknowledgement."""
        where = (message.key.channel, message.message_id)
        if where in self._heard:  # the twin of a mention, or a second delivery
            return
        self._heard[where] = None
        try:
            receipt = await self._core.intake.claim(message, self._platform)
        except Refused as error:  # what is allowed later does not bring back what was refused before
            await self._core.choices.is_new(self._platform.name, _heard_id(where))
            self._later(self._tell(message.key, message.author.id, error.for_people, thread=message.in_thread))
            return
        except BaseException:
            self._heard.pop(where, None)  # not kept: Slack delivers it again
            raise
        if receipt.answer:
            is_config = message.text.strip().lower() in ("config", "config show")
            blocks = outbound.with_form_button(receipt.answer, message.key.thread) if is_config else None
            answer = self._tell(message.key, message.author.id, receipt.answer, blocks, thread=message.in_thread)
            self._later(answer)
        if receipt.turn is not None:
            self._later(self._core.intake.begin(receipt))

    async def _edited(self, channel: str, ts: str, text: str) -> None:
        turn = await self._core.intake.edited(self._us.place(channel), ts, text)
        if turn is not None:
            blocks = outbound.ephemeral_rerun(turn.id)
            await self._tell(turn.key, turn.message.author.id, "You changed a message that I had answered.", blocks)

    async def _tell(
        self, key: ThreadKey, user: str, words: str, blocks: list[Json] | None = None, *, thread: bool = True
    ) -> None:
        """Slack shows what is whispered in a thread only where there is one: not under a message without replies."""
        try:
            await self._platform.whisper(key if thread else self._us.place(key.channel), user, words, blocks)
        except (SlackRefused, OSError) as error:
            log.warning("slack.not_told", error=str(error))

    # ---- commands and forms

    async def command(self, body: Json, respond: Callable[..., Any]) -> None:
        """The slash command; the answer is for who asked alone."""
        if not await self._is_new(str(body.get("trigger_id") or "")):
            return
        words = unescaped(str(body.get("text") or "")).strip()
        key = self._us.place(str(body["channel_id"]))
        person = await self._people.person(str(body["user_id"]))
        if words.lower() in ("config", "config form"):
            await self._open_form(body, key, person)
            return
        answer = await self._core.commands.run(Invocation(key=key, person=person, words=words, scope="channel"))
        await respond(text=harmless(answer), response_type="ephemeral")

    async def _open_form(self, body: Json, key: ThreadKey, person: Person) -> None:
        scope: Scope = "thread" if key.thread else "channel"
        fields = await self._core.commands.fields(key, person, scope)
        view = forms.config_form(key, scope, fields)
        await self._calls.call("views.open", priority=Priority.FINAL, trigger_id=body["trigger_id"], view=view)

    async def submitted(self, body: Json, view: Json) -> dict[str, str]:
        """The form of options came back: the mistakes by field."""
        key, scope, values = forms.submitted(view)
        person = await self._people.person(str(body["user"]["id"]))
        return await self._core.commands.submit(key, person, scope, values)

    async def home(self, event: Json) -> None:
        """Somebody opened the Home tab."""
        if event.get("tab") != "home":
            return
        user, key = str(event["user"]), self._us.place("")
        person = await self._people.person(user)
        live = await self._core.commands.sandboxes(person, self._platform.name, self._us.team_id)
        fields = await self._core.commands.all_fields(key)
        view = forms.home(self._command, fields, live, self.url)
        await self._calls.call("views.publish", priority=Priority.BACKGROUND, user_id=user, view=view)

    # ---- presses and shortcuts

    async def pressed(self, body: Json, action: Json) -> None:
        """A button under a reply."""
        key = pressed_thread(body, self._us)
        user = str(body["user"]["id"])
        if action["action_id"] == outbound.OPEN_FORM:
            key = self._us.place(key.channel, str(action.get("value") or key.thread))
            await self._open_form(body, key, await self._people.person(user))
            return
        if not await self._is_new(f"{action.get('action_ts')}/{action.get('action_id')}/{user}"):
            return
        try:
            words = await self._press(key, str(action["action_id"]), str(action.get("value") or ""), user)
        except Refused as error:
            words = error.for_people
        except LookupError:
            words = GONE
        if words:
            await self._tell(key, user, words)

    async def _press(self, key: ThreadKey, action: str, value: str, user: str) -> str:
        person = await self._people.person(user)
        commands = self._core.commands
        match action:
            case outbound.STOP:
                return await commands.stop(key, person, turn_id=value)
            case outbound.RETRY | outbound.RERUN:
                await self._core.intake.retry(value, person)
                return ""
            case outbound.RESET:
                return await commands.reset(key, person)
            case outbound.SHOW_CODE | outbound.SHOW_OUTPUT:
                return await self._show(key, value)
            case outbound.FEEDBACK:
                judged, _, turn_id = value.partition(" ")
                return await commands.judge(turn_id, person, 1 if judged == "1" else -1)
            case _:
                return ""

    async def _show(self, key: ThreadKey, reply_key: str) -> str:
        reply = await self._core.history.reply(reply_key)
        if reply is None:
            return GONE
        await self._platform.show_whole(key, reply)
        return ""

    async def shortcut(self, body: Json) -> None:
        """A message shortcut: stop, run this code, delete this reply."""
        user = str(body["user"]["id"])
        if not await self._is_new(str(body.get("trigger_id") or body.get("action_ts"))):
            return
        key = pressed_thread(body, self._us)
        person = await self._people.person(user)
        try:
            match body.get("callback_id"):
                case "threadbox_stop":
                    await self._tell(key, user, await self._core.commands.stop(key, person))
                case "threadbox_run":
                    await self.take(inbound.run_request(body, person, self._us, self._core.clock()))
                case "threadbox_delete":
                    await self._delete(body, key, person)
                case _:
                    log.info("slack.unknown_shortcut")
        except Refused as error:
            await self._tell(key, user, error.for_people)

    async def _delete(self, body: Json, key: ThreadKey, person: Person) -> None:
        message = body.get("message") or {}
        if outbound.key_of(message) is None and message.get("bot_id") != self._us.bot_id:
            raise Refused("That is not a message of mine.")
        turn = await self._core.history.turn((outbound.key_of(message) or "").rpartition(".")[0])
        await self._core.commands.check("delete", key, person, turn.message.author.id if turn is not None else None)
        await self._calls.call("chat.delete", priority=Priority.FINAL, channel=key.channel, ts=message["ts"])

    async def stopped(self, event: Json) -> None:
        """Slack's own Stop button. It may be told of twice; what was asked after it is not meant."""
        at = str(event.get("event_ts") or "")
        if not await self._is_new(f"stopped/{event['channel']}/{event['thread_ts']}/{at}"):
            return
        key = self._us.place(str(event["channel"]), str(event["thread_ts"]))
        try:
            person = await self._people.person(str(event["user"]))
            await self._core.commands.stop(key, person, before=inbound.moment(at) if at else None)
        except Refused as error:
            await self._tell(key, str(event["user"]), error.for_people)

    async def _is_new(self, event_id: str) -> bool:
        """Whether this is no second delivery: a signed body may come again for five minutes."""
        return not event_id or await self._core.choices.is_new(self._platform.name, f"{self._us.team_id}/{event_id}")


def _heard_id(where: tuple[str, str]) -> str:
    return f"heard/{where[0]}/{where[1]}"
