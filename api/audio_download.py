"""Sends a recording over HTTP, whole or in part (RFC 9110 §14), without having it in memory."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from api.operations import matches
from api.problems import Problem
from api.ranges import NotSatisfiableError, http_date, still_the_same, wanted
from storage.objects import ObjectNotFound, ObjectStore, StorageError

AUDIO_TYPES: Final = ("audio/wav", "audio/ogg", "application/octet-stream")
"""What recordings are."""

MAX_DOWNLOADS: Final = 64
"""At once; they may be slow, and must not take the place of other requests."""

STALL_SECONDS: Final = 30.0
"""For a client to take the next piece; then it is given up."""


class AudioDownload:
    """Sends recordings.

    Args:
        recordings: where they are; None if this process does not know.

    """

    def __init__(self, recordings: ObjectStore | None) -> None:
        self._recordings = recordings
        self._under_way = 0

    async def send(self, request: web.Request, key: str, name: str) -> web.StreamResponse:
        """Answer a GET or HEAD.

        key: of the recording; name: what a file of it is called, without suffix.

        Raises:
            Problem: there is no such recording, not that part of it, or it cannot be had now.

        """
        if self._under_way >= MAX_DOWNLOADS:
            detail = f"{MAX_DOWNLOADS} downloads are under way"
            raise Problem("unavailable", detail, headers={"Retry-After": "1"})
        self._under_way += 1
        try:
            return await self._send(request, key, name)
        except ObjectNotFound:
            raise Problem("not-found", "its audio is not there: not yet, or not any more") from None
        except StorageError as error:
            detail = f"the store of recordings does not answer: {error}"
            raise Problem("unavailable", detail, headers={"Retry-After": "5"}) from None
        finally:
            self._under_way -= 1

    async def _send(self, request: web.Request, key: str, name: str) -> web.StreamResponse:
        if self._recordings is None:
            raise Problem("not-found", "this API has no store of recordings")
        info = await self._recordings.head(key)
        suffix = key.rpartition(".")[2]
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": info.etag,
            "Last-Modified": http_date(info.modified_at),
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f'inline; filename="{name}.{suffix}"',
        }
        unless = request.headers.get("If-None-Match")
        if unless is not None and matches(unless, info.etag):
            return web.Response(status=304, headers=headers)
        start, end, status = 0, info.size, 200
        if request.method == "GET" and still_the_same(
            request.headers.get("If-Range"), info.etag, info.modified_at
        ):
            try:
                part = wanted(request.headers.get("Range"), info.size)
            except NotSatisfiableError:
                detail = f"the audio has {info.size} bytes"
                unsatisfied = {"Content-Range": f"bytes */{info.size}"}
                raise Problem("range-not-satisfiable", detail, headers=unsatisfied) from None
            if part is not None:
                start, end, status = *part, 206
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{info.size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_type = info.content_type
        response.content_length = end - start
        if request.method == "HEAD" or start == end:
            await response.prepare(request)
            return response
        pieces = self._recordings.read(key, start, end)
        first = await anext(pieces)  # what can fail fails before the status is sent
        await response.prepare(request)
        try:
            await _write(response, first)
            async for piece in pieces:
                await _write(response, piece)
            await response.write_eof()
        except (StorageError, TimeoutError, ConnectionError):
            if request.transport is not None:  # the length was told: only a cut tells that this is not all
                request.transport.abort()
        return response


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await response.write(piece)
