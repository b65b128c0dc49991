"""What the guard lets through: a pure decision on one request, which the docker SDK sent or somebody who lies.

Nothing of a request is sent on as it came. A Forward names method, path, query and body anew, in the one spelling that
its route knows, so that the engine cannot read in it what we did not. What only the engine knows (whose container is
this, which image has this name) is asked by the server: `Forward.container`, `Forward.image`.
Engine API: https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from sandbox.contract import LABEL
from sandbox.guard_create import IMAGE_ID, GuardLimits, Unlike, checked_spec

CREATE_BYTES = 64 * 1024  # our spec has six; no other call may have a body
TARGET_CHARS = 4096
QUERY_FIELDS = 10
LEAST_API = 41  # Engine 20.10; before 1.24 a start could bring a whole HostConfig along
OURS = f"{LABEL}=1"
BUILDS = "engine-guard makes the sandbox image itself, when it starts; threadbox image update and list run beside it."

_YES, _NO, _BOOL = "1|true|True", "0|false|False", "0|1|true|false|True|False"
_CONTAINER = r"/containers/(?P<container>[0-9a-f]{64}|threadbox-[0-9a-z-]{4,64})"
# no percent sign: none of our paths needs one; and each route below is one exact spelling, so that no .. or // matches
_TARGET = re.compile(r"(?:/v1\.(?P<api>[0-9]{1,3}))?(?P<path>/[A-Za-z0-9._:/-]*)(?:\?(?P<query>[\x21-\x7e]*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it was read; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A request for the engine. `path` has {} for the full id of `container`, once that is known to be ours."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    container: str = ""
    image: str = ""
    creates: bool = False
    upgrades: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """No, and why."""

    why: str
    status: int = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator allows: the images by name, and the maxima."""

    images: frozenset[str]
    limits: GuardLimits


Further = Callable[[Call, Forward, Rules], Forward | Refuse]


@dataclass(frozen=True, slots=True)
class _Route:
    methods: str
    path: re.Pattern[str]
    query: Mapping[str, str]  # each field with the pattern of its value; no other field passes
    further: Further = lambda call, forward, rules: forward
    takes_body: bool = False


def decide(call: Call, rules: Rules) -> Forward | Refuse:
    """Whether the call may go on to the engine, and in which words."""
    target = _TARGET.fullmatch(call.target)
    if target is None or len(call.target) > TARGET_CHARS:
        return Refuse(why="The target is not a plain path of the Engine API.")
    if target["api"] is not None and int(target["api"]) < LEAST_API:
        return Refuse(why=f"API 1.{target['api']} is too old: 1.{LEAST_API} or newer.")
    for route in _ROUTES:
        found = route.path.fullmatch(target["path"])
        if found and call.method in route.methods.split():
            return _routed(call, rules, route, found, target)
    if target["path"].startswith(("/build", "/images/")):
        return Refuse(why=BUILDS)
    return Refuse(why=f"{call.method} {target['path'][:120]} is not among the calls that engine-guard lets through.")


def _routed(call: Call, rules: Rules, route: _Route, found: re.Match[str], target: re.Match[str]) -> Forward | Refuse:
    query = _query(target["query"] or "", route.query)
    if isinstance(query, Refuse):
        return query
    if "transfer-encoding" in call.headers:
        return Refuse(why="A body has a Content-Length, or it does not pass.")
    if call.body and not route.takes_body:
        return Refuse(why="This call has no body.")
    container = found.groupdict().get("container") or ""
    path = found.string.replace(container, "{}") if container else found.string
    version = f"/v1.{target['api']}" if target["api"] else ""
    forward = Forward(method=call.method, path=version + path, query=query, container=container)
    return route.further(call, forward, rules)


def _query(text: str, allowed: Mapping[str, str]) -> tuple[tuple[str, str], ...] | Refuse:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=QUERY_FIELDS)
    except ValueError:
        pairs = [("?", "")] if text else []
    if len({name for name, _ in pairs}) < len(pairs):
        return Refuse(why="A field of the query is there twice.")
    for name, value in pairs:
        if name not in allowed or not re.fullmatch(allowed[name], value):
            return Refuse(why=f"{name[:40]}={value[:40]} may not be in the query of this call.")
    return tuple(pairs)


def _create(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    try:
        spec = checked_spec(call.body, dict(forward.query).get("name", ""), rules.limits)
    except Unlike as error:
        return Refuse(why=str(error))
    return replace(forward, body=json.dumps(spec).encode(), image=spec["Image"], creates=True)


def _attach(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    wishes = {word.strip().lower() for word in call.headers.get("connection", "").split(",")}
    if "upgrade" not in wishes or call.headers.get("upgrade", "").lower() != "tcp":
        return Refuse(why="An attach asks for Connection: Upgrade and Upgrade: tcp.")
    return replace(forward, upgrades=True)


def _wait(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    return replace(forward, waits=True)


def _stats(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    if "stream" not in dict(forward.query):
        return Refuse(why="Statistics come once: stream=false.")
    return forward


def _containers(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    asked = _filters(forward, "label")
    if asked is None or not all(label == LABEL or label.startswith((f"{LABEL}=", f"{LABEL}.")) for label in asked):
        return Refuse(why=f"Containers are listed by labels of {LABEL} only.")
    return _filtered(forward, "label", [OURS, *asked])


def _image(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    name = forward.path.partition("/images/")[2].removesuffix("/json")
    if name in rules.images:
        return forward
    if IMAGE_ID.fullmatch(name):
        return replace(forward, image=name)
    return Refuse(why=f"{name[:120]} is not the image of this guard ({', '.join(sorted(rules.images))}). {BUILDS}")


def _images(call: Call, forward: Forward, rules: Rules) -> Forward | Refuse:
    asked = _filters(forward, "reference")
    if not asked or not rules.images.issuperset(asked):
        return Refuse(why=f"Images are listed by the name of the sandbox image only. {BUILDS}")
    return _filtered(forward, "reference", asked)


def _filters(forward: Forward, allowed: str) -> list[str] | None:
    """The values of the one filter that is allowed; None where there is another, or a form that is not the SDK's."""
    try:
        filters = json.loads(dict(forward.query).get("filters", "{}"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(filters, dict) or not filters.keys() <= {allowed}:
        return None
    values = filters.get(allowed, [])
    return values if isinstance(values, list) and all(isinstance(value, str) for value in values) else None


def _filtered(forward: Forward, name: str, values: list[str]) -> Forward:
    rest = tuple(pair for pair in forward.query if pair[0] != "filters")
    return replace(forward, query=(*rest, ("filters", json.dumps({name: values}))))


_ATTACH = {"stream": _YES, "stdin": _BOOL, "stdout": _BOOL, "stderr": _BOOL, "logs": _NO}
_LIST = {"all": _BOOL, "limit": "-1", "size": _NO, "trunc_cmd": _BOOL, "filters": ".*"}
_ROUTES = (
    _Route("GET HEAD", re.compile("/_ping"), {}),
    _Route("GET", re.compile("/version|/info"), {}),
    _Route("GET", re.compile("/images/json"), {"only_ids": _BOOL, "all": _BOOL, "filters": ".*"}, _images),
    _Route("GET", re.compile("/images/.+/json"), {}, _image),
    _Route("GET", re.compile("/containers/json"), _LIST, _containers),
    _Route("POST", re.compile("/containers/create"), {"name": "threadbox-[0-9a-z-]+"}, _create, takes_body=True),
    _Route("GET", re.compile(f"{_CONTAINER}/json"), {"size": _NO}),
    _Route("GET", re.compile(f"{_CONTAINER}/stats"), {"stream": _NO, "one-shot": _BOOL}, _stats),
    _Route("POST", re.compile(f"{_CONTAINER}/(?:start|pause|unpause)"), {}),
    _Route("POST", re.compile(f"{_CONTAINER}/kill"), {"signal": "KILL|SIGKILL"}),
    _Route("POST", re.compile(f"{_CONTAINER}/attach"), _ATTACH, _attach),
    _Route("POST", re.compile(f"{_CONTAINER}/wait"), {"condition": "not-running|next-exit|removed"}, _wait),
    _Route("DELETE", re.compile(_CONTAINER), {"force": _BOOL, "v": _BOOL, "link": _NO}),
)
