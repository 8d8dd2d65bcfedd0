"""Tests of sockets run on both event loops, as those of `tests/sip` do."""

from tests.sip.conftest import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories
