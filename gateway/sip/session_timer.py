"""The session timer of a leg: a session that nobody refreshes any more has lost its peer (RFC 4028).

Both sides agree, in each INVITE or UPDATE and its 2xx, on an interval and on who refreshes:

    we refresh      at half of the interval, by UPDATE where the peer takes that, else by re-INVITE   §10
    the peer does   and if it has not by shortly before the end, we say BYE                           §10

A peer that has agreed to no timer, and of which we asked one, is refreshed by us: any answer but 408 and 481
shows that it is alive, also a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.sip.extensions import MIN_INTERVAL, TIMER, lists_option
from gateway.sip.grammar import SipParseError
from gateway.sip.headers import parse_number
from gateway.sip.leg_state import TimerState

if TYPE_CHECKING:
    from gateway.sip.core import Core
    from gateway.sip.leg import HeaderList, Leg
    from gateway.sip.message import Message, Request, Response
    from gateway.sip.timers import Timer

LONGEST_INTERVAL = 86_400
"""Seconds; a peer that wants more than a day between refreshes is not followed, and refreshed daily."""

GRACE = 32.0
"""Seconds before the end at which an unrefreshed session is given up; a third of a short interval (§10)."""

RETRY_PAUSE = 10.0
"""Seconds until a refused refresh is tried again, as long as the session lasts."""


class Expires(NamedTuple):
    """A Session-Expires header: seconds, and who refreshes (``"uac"``, ``"uas"``, or None: not said)."""

    seconds: int
    refresher: str | None


def session_expires(message: Message) -> Expires | None:
    """The Session-Expires of a message. Raises SipParseError (400)."""
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    seconds, *params = value.split(";")
    refresher = None
    for param in params:
        name, _, who = param.partition("=")
        if name.strip().lower() == "refresher":
            refresher = who.strip().lower()
    if refresher not in {None, "uac", "uas"}:
        raise SipParseError(400, "Bad Session-Expires")
    return Expires(parse_number("Session-Expires", seconds, 2**31), refresher)


def min_se(message: Message) -> int:
    """The shortest interval that everybody on the way would take (§5). Raises SipParseError (400)."""
    value = message.headers.get("Min-SE")
    if value is None:
        return MIN_INTERVAL
    return max(MIN_INTERVAL, parse_number("Min-SE", value.partition(";")[0], 2**31))


class SessionTimer:
    """What was agreed last on one leg, and the deadlines that follow from it.

    Args:
        core: the surroundings.
        leg: is told `refresh` and `session_expired`.
        state: what was agreed in another process; the time until the next refresh begins anew.

    """

    __slots__ = (
        "_agreed",
        "_core",
        "_expiry",
        "_floor",
        "_interval",
        "_leg",
        "_ours",
        "_patience",
        "_refresh",
    )

    def __init__(self, core: Core, leg: Leg, state: TimerState | None = None) -> None:
        self._core = core
        self._leg = leg
        self._interval = 0
        self._floor = MIN_INTERVAL
        self._patience = 0.0
        self._ours = True
        self._agreed = False
        self._refresh: Timer | None = None
        self._expiry: Timer | None = None
        if state is not None:
            self._floor, self._agreed = state.floor, state.agreed
            self._start(state.interval, ours=state.ours)

    @property
    def state(self) -> TimerState | None:
        """What is in force; None if there is no timer now."""
        if self._refresh is None and self._expiry is None:
            return None
        return TimerState(self._interval, self._floor, self._ours, self._agreed)

    # --- what is agreed

    def request_headers(self) -> HeaderList:
        """What an INVITE or UPDATE of ours asks for (§7.1, §7.4)."""
        interval = max(self._interval or self._core.extensions.session_expires, self._floor)
        refresher = "uac" if self._ours else "uas"
        expires = ("Session-Expires", f"{interval};refresher={refresher}")
        return (expires, ("Min-SE", str(self._floor))) if self._floor > MIN_INTERVAL else (expires,)

    def accept(self, request: Request) -> HeaderList:
        """Agree to what an INVITE or UPDATE of the peer's asks for: the headers of its 2xx (§9)."""
        wanted, supports = session_expires(request), lists_option(request, "Supported", TIMER)
        configured = self._core.extensions.session_expires
        if wanted is None and not configured:
            self.stop()  # the peer has let go of it
            return ()
        floor = max(min_se(request), self._core.extensions.min_se)
        if wanted is None:
            interval, ours = max(configured, floor), True
        else:
            interval = min(wanted.seconds, LONGEST_INTERVAL)
            if configured:
                interval = min(interval, max(configured, floor))
            ours = not supports or wanted.refresher == "uas"
        self._agreed = supports
        self._start(interval, ours=ours)
        if ours:
            return (("Session-Expires", f"{interval};refresher=uas"),)
        return ("Require", TIMER), ("Session-Expires", f"{interval};refresher=uac")

    def answered(self, response: Response) -> None:
        """Take what the 2xx to an INVITE or UPDATE of ours says (§7.2)."""
        try:
            agreed = session_expires(response)
        except SipParseError:
            agreed = None
        interval = self._interval or self._core.extensions.session_expires
        if agreed is not None:
            self._agreed = True
            seconds = min(max(agreed.seconds, MIN_INTERVAL), LONGEST_INTERVAL)
            self._start(seconds, ours=agreed.refresher != "uas")
        elif interval:
            self._agreed = False
            self._start(max(interval, self._floor), ours=True)

    def too_short(self, response: Response) -> bool:
        """Learn from a 422; False if it names nothing that could be tried instead (§7.3)."""
        try:
            floor = min_se(response)
        except SipParseError:
            return False
        if not self._floor < floor <= LONGEST_INTERVAL:
            return False
        self._floor = floor
        self._interval = max(self._interval, floor) if self._interval else 0
        return True

    def refused(self) -> None:
        """A refresh of ours came back with a refusal that says nothing of the session's end."""
        if not self._agreed:
            self._start(self._interval, ours=True)
        elif self._expiry is not None:
            self._refresh = self._core.timers.schedule(RETRY_PAUSE, self._due)

    def stop(self) -> None:
        """Wait for nothing any more. Idempotent."""
        for timer in (self._refresh, self._expiry):
            if timer is not None:
                timer.cancel()
        self._refresh = self._expiry = None

    # --- what follows

    def _start(self, interval: int, *, ours: bool) -> None:
        self.stop()
        self._interval, self._ours = interval, ours
        timers = self._core.timers
        self._patience = interval - min(GRACE, interval / 3)
        if ours:  # the end is watched for once a refresh is out: most calls are over before
            self._refresh = timers.schedule(interval / 2, self._due)
        else:
            self._expiry = timers.schedule(self._patience, self._leg.session_expired)

    def _due(self) -> None:
        self._refresh = None
        if self._agreed and self._expiry is None:
            left = self._patience - self._interval / 2
            self._expiry = self._core.timers.schedule(left, self._leg.session_expired)
        self._leg.refresh()
