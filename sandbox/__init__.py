"""Run untrusted Python and bash in a sealed container, in milliseconds, with variables and files that last.

    async with docker_engine() as engine, Service(engine) as sandboxes:
        async with sandboxes.lease("thread-1") as lease:
            async for event in lease.run("print(6 * 7)"):
                ...

`docker_engine` is in `sandbox.alone`. For AutoGen: `sandbox.autogen.SandboxCodeExecutor`.
"""

from typing import TYPE_CHECKING, Any

from sandbox.contract import (
    Container,
    Cut,
    Display,
    Engine,
    Outcome,
    Output,
    RunEvent,
    Runner,
    Waiting,
    Wire,
    WorkspaceFile,
)
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from sandbox.service import SandboxService as Service

__all__ = [
    "Container",
    "Cut",
    "Display",
    "Engine",
    "Limits",
    "Outcome",
    "Output",
    "RunEvent",
    "Runner",
    "Sandbox",
    "SandboxError",
    "Service",
    "Waiting",
    "Wire",
    "WorkspaceFile",
]


def __getattr__(name: str) -> Any:
    """`Service` is imported when it is asked for: it brings the blob store, of which the engine's guard has no need."""
    if name == "Service":
        from sandbox.service import SandboxService

        return SandboxService
    raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
