"""Calls that are over, as the console asks for them, wherever its desk stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api_service import StoreUnavailable
from gateway.web.console.desk import HistoryAway
from routing.call_records import CallShown

if TYPE_CHECKING:
    from gateway.api_service import Calls


class KeptHistory:
    """The part of `gateway.web.console.desk.Desk` that asks the history.

    Args:
        calls: the history.

    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def find(self, call_id: str) -> CallShown | None:
        """See `Desk`."""
        try:
            return await self._calls.find(call_id)
        except StoreUnavailable as error:
            raise HistoryAway(str(error)) from None

    async def search(
        self, text: str, *, refused: bool, cursor: str, limit: int
    ) -> tuple[list[CallShown], str]:
        """See `Desk`."""
        try:
            return await self._calls.search(text, refused=refused, cursor=cursor, limit=limit)
        except StoreUnavailable as error:
            raise HistoryAway(str(error)) from None
