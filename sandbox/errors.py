"""What can go wrong with a sandbox through no fault of the user's code; what the code does is an Outcome."""

from __future__ import annotations


class SandboxError(Exception):
    """The sandbox could not do its work."""

    code = "sandbox"
    mend = ""
    """What an operator can do, in one sentence; empty where there is nothing."""

    def __init__(self, message: str = "", *, mend: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.mend = mend or self.mend


class EngineUnavailable(SandboxError):
    """The Docker Engine does not answer."""

    code = "engine_unavailable"
    mend = "Start Docker (or set DOCKER_HOST to where it listens) and try again."


class ImageMissing(SandboxError):
    """The sandbox image has not been built."""

    code = "image_missing"
    mend = "threadbox run builds it; or unset THREADBOX_IMAGE, if that names one that is not there."


class ImageBuildFailed(SandboxError):
    """The sandbox image could not be built."""

    code = "image_build_failed"


class SandboxGone(SandboxError):
    """The container ended; its variables and files are lost."""

    code = "sandbox_gone"


class SandboxSilent(SandboxError):
    """The sandbox does not answer, although it may live; try again in a while, or reset it."""

    code = "sandbox_silent"


class SandboxBusy(SandboxError):
    """A run is under way in this sandbox already."""

    code = "sandbox_busy"


class FileRefused(SandboxError):
    """A file was not handed over."""

    code = "file_refused"


class UnsupportedLanguage(SandboxError):
    """The sandbox runs Python and bash only."""

    code = "unsupported_language"


class BlobsUnavailable(SandboxError):
    """The store for saved state does not take or give it."""

    code = "blobs_unavailable"
    mend = "Look at the disk or the bucket that THREADBOX_BLOBS_URL names."


class StateMissing(SandboxError):
    """The saved state is not in the store."""

    code = "state_missing"


class WaitGivenUp(SandboxError):
    """The wait for a sandbox was given up."""

    code = "wait_given_up"


class TooManyWait(SandboxError):
    """Too many wait for a sandbox already; try again in a while."""

    code = "too_many_wait"
