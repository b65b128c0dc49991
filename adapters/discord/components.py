"""Buttons, selects and modals as discord.py builds them.

What comes back is told from the raw interaction (`presses`), so that it works after a restart: nothing here is kept in
discord.py's store of views, which `stop` sees to.
"""

from __future__ import annotations

from collections.abc import Sequence

import discord

from adapters.discord.outbound import INPUT, OPTION, Button, custom_id
from bot.views import Field
from bot.with_input import INPUT_CHARS

STYLES = {
    "secondary": discord.ButtonStyle.secondary,
    "primary": discord.ButtonStyle.primary,
    "danger": discord.ButtonStyle.danger,
}
OPTIONS_MOST = 25
VALUE, TEXT, ARGUMENTS = "value", "text", "arguments"


def as_view(buttons: Sequence[Button]) -> discord.ui.View | None:
    """Buttons under a message; None for none, which takes away those that were there."""
    if not buttons:
        return None
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(
            discord.ui.Button(
                style=STYLES[button.style], label=button.label, custom_id=button.custom_id, row=button.row
            )
        )
    view.stop()
    return view


def options_view(fields: Sequence[Field], scope: str, thread: str) -> discord.ui.View:
    """The list from which an option is chosen to change it."""
    view = discord.ui.View(timeout=None)
    options = [
        discord.SelectOption(label=field.name, description=f"{field.value or '(empty)'} · {field.says}"[:100])
        for field in fields[:OPTIONS_MOST]
    ]
    name = custom_id(OPTION, f"{scope}:{thread}")
    view.add_item(discord.ui.Select(custom_id=name, placeholder="Change an option…", options=options))
    view.stop()
    return view


def option_form(field: Field, scope: str, thread: str) -> discord.ui.Modal:
    """One option to change."""
    modal = discord.ui.Modal(
        title=f"{field.name} for the {scope}"[:45], custom_id=custom_id(OPTION, f"{scope}:{thread}:{field.name}")
    )
    item: discord.ui.Item[discord.ui.View]
    if field.choices:
        item = discord.ui.Select(
            custom_id=VALUE,
            options=[
                discord.SelectOption(label=choice, default=choice == field.value)
                for choice in field.choices[:OPTIONS_MOST]
            ],
        )
    else:
        style = discord.TextStyle.paragraph if field.name in ("prompt", "allow", "deny") else discord.TextStyle.short
        item = discord.ui.TextInput(
            custom_id=VALUE, default=field.value[:INPUT_CHARS] or None, required=False, style=style
        )
    modal.add_item(discord.ui.Label(text=field.name, description=field.says[:100], component=item))
    modal.stop()
    return modal


def input_form(key: str) -> discord.ui.Modal:
    """What code is to read and to be called with."""
    modal = discord.ui.Modal(title="Run with input", custom_id=custom_id(INPUT, key))
    text: discord.ui.TextInput[discord.ui.View] = discord.ui.TextInput(
        custom_id=TEXT, style=discord.TextStyle.paragraph, required=False, max_length=INPUT_CHARS
    )
    words: discord.ui.TextInput[discord.ui.View] = discord.ui.TextInput(
        custom_id=ARGUMENTS, required=False, max_length=500
    )
    modal.add_item(discord.ui.Label(text="Standard input", description="What input() reads", component=text))
    modal.add_item(discord.ui.Label(text="Arguments", description="As a shell splits them", component=words))
    modal.stop()
    return modal
