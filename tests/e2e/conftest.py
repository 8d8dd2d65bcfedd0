"""One gateway for the whole folder; after every test it must hold nothing any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.exchange import Exchange
from tests.e2e.gateway_process import wait_until

LONGEST_TIMER = 32.0  # seconds: 64·T1, RFC 3261 §17 timers B, D, F, H, J and RFC 6026 timers L, M


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that use the shared gateway come before those that start their own.

    Its last wait, for transactions to be over, then passes beside those; it took half a minute at the end.
    """
    here = Path(__file__).parent
    sharing = {each.path for each in items if shared_exchange.__name__ in getattr(each, "fixturenames", ())}
    items.sort(key=lambda each: each.path.parent == here and each.path not in sharing)


@pytest.fixture(scope="session")
def shared_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Started once. At its end no transaction may outlive its timers, and SIGTERM must end it cleanly."""
    exchange = Exchange(tmp_path_factory.mktemp("gateway"))
    with exchange.gateway as gateway:
        yield exchange
        wait_until(
            lambda: gateway.metric("gateway_sip_transactions") == 0,
            "all transactions are over",
            LONGEST_TIMER + 5,
        )


@pytest.fixture
def exchange(shared_exchange: Exchange) -> Iterator[Exchange]:
    """The shared gateway, which must be without calls again when the test ends."""
    yield shared_exchange
    gateway = shared_exchange.gateway
    wait_until(lambda: gateway.metric("gateway_calls_active") == 0, "no call is left")
    wait_until(lambda: gateway.metric("gateway_agent_calls") == 0, "no agent is held")
