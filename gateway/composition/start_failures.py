"""What may keep a gateway, or its office, from starting, told as an operator can use it."""

from __future__ import annotations

from typing import Final

from gateway.admission.carriers import CarriersError
from gateway.faults import StartError, file_fault
from gateway.sip.listeners import ListenError
from gateway.speech.errors import SpeechError
from gateway.web.server import PortTaken
from gateway.workers.nursery import NurseryGone
from gateway.workers.supervisor import WorkerFailed
from routing.numbers_file import NumbersFileError
from routing.redis_server import RedisUnavailable

FAILURES: Final = (
    CarriersError,
    ListenError,
    NumbersFileError,
    NurseryGone,
    PortTaken,
    RedisUnavailable,
    SpeechError,
    WorkerFailed,
)
"""What an operator can mend: each message names the key and the fix."""


def start_error(error: BaseException) -> StartError | None:
    """What to raise in place of what ended a start; None: the error itself."""
    if isinstance(error, FAILURES):
        return StartError(str(error))
    if isinstance(error, OSError):
        return StartError(file_fault(error))
    return None
