"""What Discord's clients send: the options of a command, the values of a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.doubles.discord_limits import walk

Json = dict[str, Any]
Attach = Callable[[str, bytes], Json]

SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, NUMBER = 1, 2, 3, 4, 5, 6, 7, 10
TEXT_INPUT, STRING_SELECT, FILE_UPLOAD, RADIO, CHECKBOXES, CHECKBOX = 4, 3, 19, 21, 22, 23


def find_command(commands: list[Json], path: str) -> tuple[Json, list[Json]]:
    """A registered command by its whole name, and the parts on the way down. Raises LookupError."""
    names = path.split(" ")
    found = next((one for one in commands if one["type"] == 1 and one["name"] == names[0]), None)
    if found is None:
        raise LookupError(f"there is no /{names[0]}: {[one['name'] for one in commands]}")
    parts: list[Json] = []
    for name in names[1:]:
        level = (parts or [found])[-1].get("options") or []
        part = next((one for one in level if one["name"] == name and one["type"] in (SUBCOMMAND, GROUP)), None)
        if part is None:
            raise LookupError(f"there is no {name} in /{path}: {[one['name'] for one in level]}")
        parts.append(part)
    if any(one["type"] in (SUBCOMMAND, GROUP) for one in (parts or [found])[-1].get("options") or []):
        raise LookupError(f"/{path} is a group")
    return found, parts


def command_options(command: Json, parts: list[Json], given: Mapping[str, Any], *, focused: str = "") -> list[Json]:
    """The `options` of a command's payload, refused as the client would refuse them."""
    declared = {one["name"]: one for one in (parts or [command])[-1].get("options") or []}
    if unknown := set(given) - set(declared):
        raise LookupError(f"no such options: {sorted(unknown)}; there are {sorted(declared)}")
    if not focused and (missing := {n for n, one in declared.items() if one.get("required")} - set(given)):
        raise ValueError(f"these options are required: {sorted(missing)}")
    options: list[Json] = []
    for name in (name for name in declared if name in given):
        option = {"name": name, "type": declared[name]["type"], "value": given[name]}
        if name == focused:
            option["focused"] = True
        else:
            _fits(declared[name], given[name])
        options.append(option)
    for part in reversed(parts):
        options = [{"name": part["name"], "type": part["type"], "options": options}]
    return options


def _fits(option: Json, value: Any) -> None:
    kinds = {STRING: str, INTEGER: int, BOOLEAN: bool, NUMBER: (int, float)}
    if not isinstance(value, kinds.get(option["type"], object)):
        raise TypeError(f"{option['name']} takes no {value!r}")
    choices = [choice["value"] for choice in option.get("choices") or []]
    if choices and value not in choices:
        raise ValueError(f"{option['name']} offers {choices}, not {value!r}")


def form_components(modal: Json, values: Mapping[str, Any], attach: Attach, resolved: Json) -> list[Json]:
    """The `components` of a form sent back; fields that `values` does not name stay as they were shown."""
    fields = {one["custom_id"] for one in walk(modal["components"]) if one.get("custom_id")}
    if unknown := set(values) - fields:
        raise LookupError(f"no such fields: {sorted(unknown)}; there are {sorted(fields)}")
    return [_sent(number, one, values, attach, resolved) for number, one in enumerate(modal["components"], 1)]


def _sent(number: int, component: Json, values: Mapping[str, Any], attach: Attach, resolved: Json) -> Json:
    own = {"type": component["type"], "id": component.get("id") or number}
    if "components" in component:
        return own | {"components": [_sent(number, one, values, attach, resolved) for one in component["components"]]}
    if "component" in component:
        return own | {"component": _sent(number, component["component"], values, attach, resolved)}
    if "custom_id" not in component:
        return own
    own["custom_id"] = component["custom_id"]
    given = values.get(component["custom_id"])
    match component["type"]:
        case 4:
            return own | {"value": _text(component, given)}
        case 19:
            files = [attach(name, data) for name, data in given or []]
            resolved.setdefault("attachments", {}).update({file["id"]: file for file in files})
            return own | {"values": [file["id"] for file in files]}
        case 21:
            return own | {"value": given if given is not None else next(iter(_defaults(component)), None)}
        case 23:
            return own | {"value": bool(component.get("default") if given is None else given)}
    chosen = _defaults(component) if given is None else [given] if isinstance(given, str) else list(given)
    _offered(component, chosen)
    return own | {"values": chosen}


def _text(field: Json, given: Any) -> str:
    text = str(field.get("value") or "" if given is None else given)
    if field.get("required", True) and not text:
        raise ValueError(f"{field['custom_id']} is required")
    if not (field.get("min_length") or 0) <= len(text) <= (field.get("max_length") or 4000) and text:
        raise ValueError(f"{field['custom_id']} does not take {len(text)} characters")
    return text


def _defaults(field: Json) -> list[str]:
    return [option["value"] for option in field.get("options") or [] if option.get("default")]


def _offered(field: Json, chosen: list[str]) -> None:
    options = [option["value"] for option in field.get("options") or []]
    if options and not set(chosen) <= set(options):
        raise ValueError(f"{field['custom_id']} offers {options}, not {chosen}")
    low = field.get("min_values")
    if not (1 if low is None else low) <= len(chosen) <= (field.get("max_values") or 1):
        raise ValueError(f"{field['custom_id']} does not take {len(chosen)} values")
