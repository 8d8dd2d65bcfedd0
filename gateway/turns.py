"""How the event loop and the threads beside it take turns with the interpreter.

Those that write traces, the history of calls and the log run Python as well, and one that wants the
interpreter waits until whoever has it goes to the kernel, or has had it for the interval that is set here.
The event loop goes there for every datagram. With Python's own interval, 5 ms, a thread that has 20 ms of
work lets four datagrams by, and the caller whose call they belong to waits for all of it.
"""

from __future__ import annotations

import sys
from typing import Final

TURN_SECONDS: Final = 0.0002
"""As long as the work of the event loop for one message. Changing hands costs some 10 µs, and only while two
want the interpreter."""


def shorten() -> None:
    """For this process, from now on."""
    sys.setswitchinterval(TURN_SECONDS)
