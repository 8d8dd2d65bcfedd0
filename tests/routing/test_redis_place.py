"""URLs of Redis as operators write them, and what is said of those that cannot be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.redis_place import RedisUrlError, parse_place


@pytest.mark.parametrize(
    ("url", "kind", "tls", "hosts", "name", "database"),
    [
        ("redis://h:1/2", "single", False, (), "", 0),
        ("rediss://u:p@h", "single", True, (), "", 0),
        ("unix:///run/redis.sock?db=1", "single", False, (), "", 0),
        ("redis+sentinel://a,b:1,[::1]:2/m", "sentinel", False, (("a", 26379), ("b", 1), ("::1", 2)), "m", 0),
        ("rediss+sentinel://u:p@a/my%20m/3", "sentinel", True, (("a", 26379),), "my m", 3),
        ("redis+cluster://a:7000, b", "cluster", False, (("a", 7000), ("b", 6379)), "", 0),
        ("REDISS+CLUSTER://p%40@[2001:db8::1]", "cluster", True, (("2001:db8::1", 6379),), "", 0),
    ],
)
def test_what_is_written(
    url: str, kind: str, tls: bool, hosts: tuple[tuple[str, int], ...], name: str, database: int
) -> None:
    place = parse_place(url, sentinel_username="", sentinel_password="s")
    assert (place.kind, place.tls, place.hosts, place.name, place.database) == (
        kind,
        tls,
        hosts,
        name,
        database,
    )
    assert place.sentinel_password == ("s" if kind != "single" else None)


def test_users_and_passwords() -> None:
    place = parse_place("redis+sentinel://gw:p%40s%2F%3A%2C@a/m")
    assert (place.username, place.password) == ("gw", "p@s/:,")
    place = parse_place("redis+cluster://:only@a")
    assert (place.username, place.password) == (None, "only")
    place = parse_place("redis+cluster://a")
    assert (place.username, place.password) == (None, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:s3cr3t@h:1/2", "h:1"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("rediss+sentinel://u:s3cr3t@a,[::1]/m", "sentinel m, TLS, a:26379, [::1]:26379"),
        ("redis+cluster://u:s3cr3t@a:1", "cluster, a:1"),
    ],
)
def test_what_people_see(url: str, shown: str) -> None:
    assert parse_place(url).shown == shown


@pytest.mark.parametrize(
    "url",
    [
        *("", "h:6379", "http://h", "redis+h://h", "redis://", "redis://u:s3cr3t/x@h:1", "redis://h:s3cr3t"),
        *("redis://h:99999", "redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel://a/m/x"),
        *("redis+sentinel:///m", "redis+sentinel://a,,b/m", "redis+sentinel://u:s3cr3t/@a/m"),
        *("redis+sentinel://u:s3cr3t#@a/m", "redis+sentinel://a/m?x=1", "redis+sentinel://a:0/m"),
        *("redis+cluster://a/1", "redis+cluster://a:x", "redis+cluster://a b", "redis+cluster://[::1"),
        *("redis+cluster://" + ",".join(["a"] * 65), "redis+sentinel://a/" + "m" * 257),
        *("redis+cluster://a:\u0663", "redis+sentinel://a/m/999999"),
    ],
)
def test_what_cannot_be_used_is_told_without_what_was_written(url: str) -> None:
    with pytest.raises(RedisUrlError) as refused:
        parse_place(url)
    assert "s3cr3t" not in str(refused.value)
    assert len(str(refused.value)) < 250


@given(st.text(max_size=60), st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster"]))
def test_nothing_raises_anything_else(text: str, scheme: str) -> None:
    for url in (text, f"{scheme}://{text}"):
        try:
            place = parse_place(url)
        except RedisUrlError:
            continue
        assert "s3cr3t" not in repr(place)
