from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.dns_records import Srv, in_order

SERVERS = st.builds(
    Srv, st.integers(0, 3), st.integers(0, 100), st.just(5060), st.sampled_from(["a", "b", "c", "d", "."])
)


@given(st.lists(SERVERS, max_size=12), st.lists(st.floats(0, 1, exclude_max=True), min_size=12, max_size=12))
def test_every_server_once_and_priorities_in_order(servers: list[Srv], dice: list[float]) -> None:
    ordered = in_order(servers, iter(dice).__next__)
    assert Counter(ordered) == Counter(server for server in servers if server.target != ".")
    assert [server.priority for server in ordered] == sorted(server.priority for server in ordered)


def test_equal_priorities_share_by_weight() -> None:
    chance = random.Random(1).random
    servers = [Srv(1, 30, 5060, "often"), Srv(1, 10, 5060, "seldom"), Srv(1, 0, 5060, "hardly")]
    first = Counter(in_order(servers, chance)[0].target for _ in range(4000))
    assert 0.68 < first["often"] / 4000 < 0.80
    assert 0 < first["hardly"] < 200  # weight 0 has a very small chance (RFC 2782)
