"""Whether a process of this data directory lives: it holds a lock, which the kernel lets go of when it dies.

So a gateway that was killed and starts again knows at once that its calls have nobody, and need not wait for
a lease to run out. Gateways elsewhere cannot know, and wait.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote, unquote

SUFFIX: Final = ".lock"


class Lifelines:
    """The locks of one data directory. All methods block on the disk.

    Args:
        directory: of the locks; may not be there yet.
        owner: who we are: a node's name, ``#``, and what no other process has.

    """

    def __init__(self, directory: Path, owner: str) -> None:
        self._directory = directory
        self._owner = owner
        self._held: IO[bytes] | None = None

    def hold(self) -> None:
        """Take ours, until we end. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._path(self._owner)
        draft = path.with_suffix(".draft")
        file = draft.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and not self._is_free(self._owner):
                raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(path))
            draft.rename(path)  # it is never seen free while we live
        except OSError:
            file.close()
            draft.unlink(missing_ok=True)
            raise
        self._held = file

    def let_go(self) -> None:
        """We end in good order. Idempotent."""
        if self._held is not None:
            self.bury(self._owner)
            self._held.close()
            self._held = None

    def dead(self) -> list[str]:
        """Owners of our node's name that live no more."""
        node = self._owner.rpartition("#")[0]
        return [owner for owner in self.dead_siblings() if owner.rpartition("#")[0] == node]

    def dead_siblings(self) -> list[str]:
        """Owners of any name that do: they were workers of this machine."""
        return [owner for owner in self._known() if owner != self._owner and self._is_free(owner)]

    def bury(self, owner: str) -> None:
        """Nothing is left of an owner."""
        self._path(owner).unlink(missing_ok=True)

    def _known(self) -> list[str]:
        names = sorted(path.name for path in self._directory.glob(f"*{SUFFIX}"))
        return [unquote(name.removesuffix(SUFFIX)) for name in names]

    def _is_free(self, owner: str) -> bool:
        with suppress(OSError), self._path(owner).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _path(self, owner: str) -> Path:
        return self._directory / f"{quote(owner, safe='')}{SUFFIX}"
