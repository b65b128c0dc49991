"""Files on their way in and out of the workspace, several at once, each on a stream of its own."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from .files import Refused, Upload, Workspace
from .frames import MAX_PAYLOAD, Frame, Kind
from .link import HostLink

KEEP_OUTPUTS = 4  # whole outputs kept in memory for a host that wants more than head and tail
MAX_STREAMS = 32  # transfers open at once


@dataclass
class _Download:
    fd: int
    left: int
    credit: int


class Transfers:
    """Uploads written as they come; downloads sent one chunk each in turn, as far as the host gave credit."""

    def __init__(self, link: HostLink, workspace: Workspace) -> None:
        self._link = link
        self._workspace = workspace
        self._uploads: dict[int, Upload] = {}
        self._downloads: OrderedDict[int, _Download] = OrderedDict()
        self._outputs: OrderedDict[str, int] = OrderedDict()

    def open(self, stream: int, request: dict[str, Any]) -> None:
        """Begin a `put`, `get` or `output` request; what cannot be done ends the stream with a reason."""
        try:
            if len(self._uploads) + len(self._downloads) >= MAX_STREAMS:
                raise Refused(f"{MAX_STREAMS} transfers are open already")
            op, path = request.get("op"), str(request.get("path", ""))
            if op == "put":
                self._uploads[stream] = self._workspace.upload(path)
            elif op == "get":
                fd, size = self._workspace.open_for_reading(path, int(request.get("limit", 0)))
                self._downloads[stream] = _Download(fd, size, 0)
            elif op == "output":
                self._open_output(stream, str(request.get("id")))
            else:
                raise Refused(f"{op!r} is no operation")
        except (Refused, OSError, ValueError, TypeError) as error:
            self._end(stream, str(error))

    def _open_output(self, stream: int, request_id: str) -> None:
        if request_id not in self._outputs:
            raise Refused("that output is no longer kept")
        fd = os.dup(self._outputs[request_id])
        size = os.lseek(fd, 0, os.SEEK_END)
        os.lseek(fd, 0, os.SEEK_SET)
        self._downloads[stream] = _Download(fd, size, 0)

    def reset(self) -> None:
        """Another host came, which knows nothing of what is under way."""
        for upload in self._uploads.values():
            upload.error = "cut off"
            upload.finish()
        for download in self._downloads.values():
            os.close(download.fd)
        self._uploads.clear()
        self._downloads.clear()

    def frame(self, frame: Frame) -> None:
        """A frame that belongs to a transfer; others are dropped."""
        upload = self._uploads.get(frame.stream)
        download = self._downloads.get(frame.stream)
        if upload is not None and frame.kind is Kind.DATA:
            upload.write(frame.payload)
        elif upload is not None and frame.kind is Kind.END:
            del self._uploads[frame.stream]
            error = upload.finish()
            self._workspace.changes()  # a file that the host brought is none that the next cell made
            self._end(frame.stream, error)
        elif download is not None and frame.kind is Kind.CREDIT:
            download.credit += int.from_bytes(frame.payload[:4], "big")

    def pump(self) -> None:
        """Send one chunk of each download that may send; the loop comes back while more is due."""
        for stream, download in list(self._downloads.items()):
            while download.credit > 0 and not self._link.is_full:
                data = os.read(download.fd, min(MAX_PAYLOAD, download.left, download.credit) or 1)
                if data and download.left > 0:
                    download.left -= len(data)
                    download.credit -= len(data)
                    self._link.send(Kind.DATA, stream, data)
                    continue
                os.close(download.fd)
                del self._downloads[stream]
                self._end(stream, None if download.left == 0 else "the file shrank while it was read")
                break

    def keep_output(self, request_id: str, fd: int) -> None:
        """Keep a run's whole output for an `output` request; the oldest goes."""
        self._outputs[request_id] = fd
        while len(self._outputs) > KEEP_OUTPUTS:
            os.close(self._outputs.popitem(last=False)[1])

    def _end(self, stream: int, error: str | None) -> None:
        self._link.send_json(
            Kind.END, stream, {"status": "ok"} if error is None else {"status": "refused", "error": error}
        )
