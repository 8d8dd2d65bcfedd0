"""What is wrong with a Redis, from what it answers: one word for it, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Kind: TypeAlias = Literal[
    "away", "silent", "slow", "full", "read_only", "loading", "refused", "incomplete", "empty", "other"
]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

FIXES: Final[dict[Kind, str]] = {
    "away": "is it running, and do host and port in redis.url lead there?",
    "silent": "is its machine overloaded or frozen, or does a firewall drop packets?",
    "slow": "look at SLOWLOG GET and at the way there: calls wait 0.2 s for it at most, and then do without",
    "full": "raise maxmemory, or remove what others keep there; maxmemory-policy must stay noeviction",
    "read_only": "redis.url leads to a replica, or the primary was demoted: name the primary, or Sentinels",
    "loading": "wait: it loads its data set from disk",
    "refused": "check user and password in redis.url, and what the user may do (docs/redis.md)",
    "incomplete": "a part of the cluster or of its slots is down: redis-cli --cluster check",
    "empty": "it has no routes: it was flushed or is new; the API or the numbers file fills it in seconds",
    "other": "read the error; docs/redis.md tells what is needed of Redis",
}
"""What to do about each."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong. text: as Redis, or the way there, says it; without secrets."""

    kind: Kind
    text: str

    @property
    def fix(self) -> str:
        """What to do."""
        return FIXES[self.kind]


def trouble_of(error: BaseException) -> Trouble:
    """What an error that a command raised tells."""
    return Trouble(_kind(error), str(error) or type(error).__name__)


def _kind(error: BaseException) -> Kind:
    text = str(error)
    match error:
        case OutOfMemoryError():
            return "full"
        case ReadOnlyError():
            return "read_only"
        case BusyLoadingError():
            return "loading"
        case AuthenticationError() | AuthorizationError() | NoPermissionError():
            return "refused"
        case ClusterDownError() | MasterDownError():
            return "incomplete"
        case RedisTimeoutError() | TimeoutError():
            return "silent"
    for begins, kind in _ANSWERS.items():
        if begins in text:
            return kind
    return "away" if isinstance(error, OSError | RedisConnectionError) else "other"


_ANSWERS: Final[dict[str, Kind]] = {
    "OOM command": "full",
    "READONLY": "read_only",
    "previous master is now a slave": "read_only",
    "LOADING": "loading",
    "NOPERM": "refused",
    "NOAUTH": "refused",
    "WRONGPASS": "refused",
    "CLUSTERDOWN": "incomplete",
    "MASTERDOWN": "incomplete",
    "NOREPLICAS": "read_only",
    "MISCONF": "full",
}
"""How answers begin that redis-py has no class for, or that a script wraps in its own words."""
