"""Saving audio that the API sends: whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.cli.api_client import ApiClient, ApiTarget, with_api
from gateway.cli.errors import UsageError
from gateway.cli.output import say


def save(api_target: ApiTarget, path: str, target: Path) -> None:
    """Save what is at a path of the API; ``-`` writes to stdout. Raises UsageError."""

    async def work(api: ApiClient) -> int:
        if str(target) == "-":
            return await api.download(path, sys.stdout.buffer)
        draft = target.with_name(target.name + ".part")
        try:
            with draft.open("wb") as out:
                size = await api.download(path, out)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return size

    try:
        size = with_api(api_target, work)
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror or error}") from None
    if str(target) != "-":
        say(f"{size} bytes in {target}")


def save_audio(api_target: ApiTarget, path: str, item_id: str, file: Path | None) -> None:
    """Save the audio of what is at a path: to `file`, or to its id and .wav. Raises UsageError."""
    target = file or Path(f"{os.path.basename(item_id)}.wav")  # noqa: PTH119 - an id is no path
    save(api_target, f"{path}/audio", target)
