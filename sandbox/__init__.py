"""Run untrusted Python and bash in a sealed container, in milliseconds, with variables and files that last.

    async with docker_engine() as engine, SandboxService(engine) as sandboxes:
        async with sandboxes.lease("thread-1") as lease:
            async for event in lease.run("print(6 * 7)"):
                ...

They are in `sandbox.alone` and `sandbox.service`. For AutoGen: `sandbox.autogen.SandboxCodeExecutor`.
"""

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
    "Waiting",
    "Wire",
    "WorkspaceFile",
]
