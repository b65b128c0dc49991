"""The modal of the options and the Home tab; pure."""

from __future__ import annotations

import json
from typing import Any

from adapters.slack.inbound import thread_key
from adapters.slack.text import plain
from bot.model import ThreadKey
from bot.options import Scope
from bot.text import cut_middle
from bot.views import Field, LiveSandbox

Json = dict[str, Any]

CONFIG_FORM = "threadbox_config"
VALUE = "value"
FIELDS_MOST = 40  # a view takes 100 blocks
INPUT_CHARS = 3_000


def config_form(key: ThreadKey, scope: Scope, fields: list[Field]) -> Json:
    """Every option that may be set here, as it holds now."""
    place = json.dumps({"workspace": key.workspace, "channel": key.channel, "thread": key.thread, "scope": scope})
    blocks: list[Json] = [_input(field) for field in fields[:FIELDS_MOST]]
    if not blocks:
        words = f"Only an admin may set options for the {scope}. `config show` says how they stand."
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": words}}]
    view: Json = {
        "type": "modal",
        "callback_id": CONFIG_FORM,
        "private_metadata": place,
        "title": {"type": "plain_text", "text": f"Options: {scope}"},
        "close": {"type": "plain_text", "text": "Close"},
        "blocks": blocks,
    }
    return view | ({"submit": {"type": "plain_text", "text": "Save"}} if fields else {})


def _input(field: Field) -> Json:
    element: Json
    if field.choices:
        options = [{"text": {"type": "plain_text", "text": choice[:75]}, "value": choice[:150]}
                   for choice in field.choices]  # fmt: skip
        element = {"type": "static_select", "action_id": VALUE, "options": options}
        current = [option for option in options if option["value"] == field.value]
        if current:
            element["initial_option"] = current[0]
    else:
        element = {"type": "plain_text_input", "action_id": VALUE, "initial_value": field.value[:INPUT_CHARS],
                   "max_length": INPUT_CHARS, "multiline": field.name == "prompt"}  # fmt: skip
    return {
        "type": "input",
        "block_id": field.name,
        "optional": True,
        "label": {"type": "plain_text", "text": field.name},
        "hint": {"type": "plain_text", "text": f"{field.says}. Now from: {field.source}."[:150]},
        "element": element,
    }


def submitted(view: Json) -> tuple[ThreadKey, Scope, dict[str, str]]:
    """Place, scope and values of a form that came back. Raises ValueError, KeyError."""
    place = json.loads(view["private_metadata"])
    values: dict[str, str] = {}
    for name, actions in view["state"]["values"].items():
        given = actions[VALUE]
        chosen = given.get("selected_option")
        values[name] = chosen["value"] if chosen else str(given.get("value") or "")
    key = thread_key(str(place["workspace"]), str(place["channel"]), str(place["thread"]))
    return key, place["scope"], values


def home(command: str, fields: list[Field], live: list[LiveSandbox], url: str) -> Json:
    """The Home tab: what I do, how the workspace is set up, which of your threads have a sandbox."""
    hello = (
        "*Mention me in a channel, or write to me here.* I write code, run it in a sandbox that belongs to the thread "
        "alone, and answer with the code, the output, plots and files. Reply in the thread and it goes on: same "
        f"variables, same files.\n`{command} help` says the rest; `{command} config` has the options."
    )
    blocks: list[Json] = [
        {"type": "header", "text": {"type": "plain_text", "text": "Threadbox"}},
        _section(hello),
        {"type": "divider"},
        {"type": "header", "text": {"type": "plain_text", "text": "Your threads with a live sandbox"}},
    ]
    blocks += [_live(one, url) for one in live] or [_section("None at the moment.")]
    settings = "\n".join(f"*{field.name}*: {plain(field.value) or '(empty)'} ({field.source})" for field in fields)
    blocks += [
        {"type": "divider"},
        {"type": "header", "text": {"type": "plain_text", "text": "Options of this workspace"}},
        _section(cut_middle(settings, 2_900)[0] or "None."),
    ]
    return {"type": "home", "blocks": blocks}


def _section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _live(one: LiveSandbox, url: str) -> Json:
    where = f"{url.rstrip('/')}/archives/{one.key.channel}/p{one.key.thread.replace('.', '')}" if url else ""
    place = f"<{where}|The thread> in <#{one.key.channel}>" if where else f"A thread in <#{one.key.channel}>"
    cell = plain(one.last_cell).replace("`", "'")
    return _section(f"{place}: {one.state}, last used {one.idle_seconds // 60} min ago · `{cell or ' '}`")
