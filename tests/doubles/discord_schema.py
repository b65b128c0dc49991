"""Discord's own OpenAPI description, held against every request that the bot makes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, validators
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.doubles.discord_limits import FILE_BYTES, limits

Json = dict[str, Any]

VARIABLE = "THREADBOX_DISCORD_SPEC"
_BESIDE = Path(__file__).parents[2] / ".." / "shared" / "discord" / "openapi.json"


def have_spec() -> bool:
    """Whether anything is held against the description. Raises FileNotFoundError where one was promised."""
    return _path() is not None


def check(
    method: str, path: str, body: Any, files: Sequence[tuple[str, bytes]] = (), *, file_bytes: int = FILE_BYTES
) -> list[str]:
    """What is wrong with one request; `body` of a multipart request is its payload_json."""
    found = limits(method, path, body, files, file_bytes=file_bytes)
    if have_spec():
        found += _against_spec(method, path, body)
    return [f"{method} {path}: {words}" for words in found]


def _path() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"{VARIABLE} names {named}, which is not there")
        return Path(named)
    return _BESIDE if _BESIDE.is_file() else None


def _against_spec(method: str, path: str, body: Any) -> list[str]:
    template = _template(path)
    if template is None:
        return ["Discord has no such path"]
    operation = _spec()["paths"][template].get(method.lower())
    if operation is None:
        return [f"Discord has no {method} there"]
    wanted = operation.get("requestBody")
    if wanted is None:
        return [] if body is None else ["Discord takes no body there"]
    if body is None:
        return ["the body is missing"] if wanted.get("required") else []
    validator = _validator(template, method.lower())
    return [_told(error) for error in validator.iter_errors(normal(body))]


def _told(error: Any) -> str:
    """The innermost reason: of a union, the branch that came furthest."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), inner.validator != "enum"))
    return f"{error.json_path}: {error.message[:200]}"


def normal(value: Any, key: str = "") -> Any:
    """Ids as strings, as the description has them: discord.py sends some as numbers. A component's own `id` is one."""
    if isinstance(value, dict):
        component = isinstance(value.get("type"), int)
        return {name: inner if name == "id" and component else normal(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner, key) for inner in value]
    if isinstance(value, bool):
        return value
    if key == "default_member_permissions" and isinstance(value, str):
        return int(value)
    is_id = key in ("id", "users", "roles", "applied_tags", "allow", "deny") or key.endswith(("_id", "_ids"))
    return str(value) if is_id and isinstance(value, int) else value


@lru_cache(maxsize=1)
def _spec() -> Json:
    path = _path()
    assert path is not None
    return json.loads(path.read_bytes())


@lru_cache(maxsize=1)
def _registry() -> Registry[Any]:
    resource: Resource[Any] = Resource.from_contents(_spec(), default_specification=DRAFT202012)
    return Registry().with_resource("urn:discord", resource)


@lru_cache(maxsize=1)
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """The most literal first: `@me` before an id."""
    paths = sorted(_spec()["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]


@lru_cache(maxsize=10_000)
def _template(path: str) -> str | None:
    return next((template for pattern, template in _templates() if pattern.fullmatch(path)), None)


def _kinds(branch: Json) -> list[int] | None:
    """The `type`s that a branch of a union is for."""
    name = branch.get("$ref", "").rpartition("/")[2]
    schema = _spec()["components"]["schemas"].get(name, {})
    kinds: list[int] | None = schema.get("properties", {}).get("type", {}).get("enum")
    return kinds


def _union(validator: Any, branches: list[Json], instance: Any, schema: Json) -> Iterator[Any]:
    """Only the branches of the instance's own `type`: all of them take 20 ms for a message, and name the wrong reason."""
    if isinstance(instance, dict) and "type" in instance:
        own = [branch for branch in branches if instance["type"] in (_kinds(branch) or [instance["type"]])]
        if len(own) == 1:
            yield from validator.descend(instance, own[0])
            return
    yield from Draft202012Validator.VALIDATORS["anyOf"](validator, branches, instance, schema)


_ByType = validators.extend(Draft202012Validator, {"oneOf": _union, "anyOf": _union})


@cache
def _validator(template: str, method: str) -> Any:
    place = template.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    pointer = f"urn:discord#/paths/{place}/{method}/requestBody/content/application~1json/schema"
    return _ByType({"$ref": pointer}, registry=_registry())
