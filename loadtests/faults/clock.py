"""A Python program whose wall clock is wrong by what a file says, also if that changes while it runs.

    python -m loadtests.faults.clock FILE PROGRAM [ARGUMENT …]

The file holds one number, seconds, eight bytes as the machine writes them; it is mapped, so that a clock is
set from one instant to the next. Shifted are `time.time`, `time_ns`, `clock_gettime(CLOCK_REALTIME)`,
`gmtime`, `localtime`, `ctime`, `asctime`, `strftime`, and `now`, `utcnow` and `today` of `datetime` and
`date`: these in place, so that whoever has imported the classes before has them, too. Monotonic clocks are
left alone, and so event loops are in time, which they are not under libfaketime.

What reads the clock from C keeps the right time: OpenSSL's look at the validity of certificates, the kernel's
stamps on datagrams (`gateway.sip.receive_queue` takes waits that cannot be for none) and the times of files.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

SECONDS: Final = struct.Struct("@d")


def set_wrong(file: Path, seconds: float) -> None:
    """Have a clock be that far ahead of the right time from now on; the file is made if there is none."""
    with file.open("r+b" if file.exists() else "w+b") as out:
        out.write(SECONDS.pack(seconds))


def _read(file: Path) -> Callable[[], float]:
    """What tells how wrong the clock is now."""
    with file.open("rb") as opened:
        view = memoryview(mmap.mmap(opened.fileno(), SECONDS.size, prot=mmap.PROT_READ)).cast("d")
    return lambda: float(view[0])


def shift(wrong: Callable[[], float]) -> None:
    """From now on this process's clock is ahead by what `wrong` tells."""
    real, real_ns = time.time, time.time_ns
    gettime, gettime_ns = time.clock_gettime, time.clock_gettime_ns

    def now() -> float:
        return real() + wrong()

    def now_ns() -> int:
        return real_ns() + int(wrong() * 1e9)

    time.time, time.time_ns = now, now_ns
    time.clock_gettime = lambda clock: now() if clock == time.CLOCK_REALTIME else gettime(clock)
    time.clock_gettime_ns = lambda clock: now_ns() if clock == time.CLOCK_REALTIME else gettime_ns(clock)
    gmtime, localtime, ctime = time.gmtime, time.localtime, time.ctime
    asctime, strftime = time.asctime, time.strftime
    time.gmtime = lambda seconds=None: gmtime(now() if seconds is None else seconds)
    time.localtime = lambda seconds=None: localtime(now() if seconds is None else seconds)
    time.ctime = lambda seconds=None: ctime(now() if seconds is None else seconds)
    time.asctime = lambda moment=None: asctime(time.localtime() if moment is None else moment)
    time.strftime = lambda form, moment=None: strftime(form, time.localtime() if moment is None else moment)

    def datetime_now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        return cls.fromtimestamp(now(), tz)

    def utcnow(cls: type[datetime]) -> datetime:
        return cls.fromtimestamp(now(), UTC).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        return cls.fromtimestamp(now())

    _replace(datetime, now=classmethod(datetime_now), utcnow=classmethod(utcnow), today=classmethod(today))
    _replace(date, today=classmethod(today))


def _replace(kind: type, **methods: Any) -> None:
    """Replace methods of a class that is written in C: no subclass, which serialisers would not know."""
    (namespace,) = gc.get_referents(kind.__dict__)
    namespace.update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def main() -> None:
    """See the module."""
    file, program = Path(sys.argv[1]), sys.argv[2]
    shift(_read(file))
    sys.argv = sys.argv[2:]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
