from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sip import hosts_file
from gateway.sip.hosts_file import HostsFile

TEXT = """\
# comment
127.0.0.1   localhost
192.0.2.1   agents Agents.example   # the first one
2001:db8::1 agents
192.0.2.1   agents
nonsense    agents
192.0.2.2

"""


async def test_names_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(TEXT)
    hosts = HostsFile(path)
    assert await hosts.addresses("agents") == ("192.0.2.1", "2001:db8::1")
    assert await hosts.addresses("agents.example") == ("192.0.2.1",)
    assert await hosts.addresses("localhost") == ("127.0.0.1",)
    assert await hosts.addresses("api.localhost") == ("127.0.0.1", "::1")
    assert await hosts.addresses("other") == ()


async def test_it_is_read_again_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts"
    hosts = HostsFile(path)
    assert await hosts.addresses("agents") == ()  # no file is no error
    path.write_text(TEXT)
    assert await hosts.addresses("agents") == ()
    monkeypatch.setattr(hosts_file, "REREAD", -1.0)
    assert await hosts.addresses("agents") == ("192.0.2.1", "2001:db8::1")


async def test_a_huge_file_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_file, "MAX_HOSTS_BYTES", 30)
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 first\n192.0.2.2 second\n192.0.2.3 third\n")
    hosts = HostsFile(path)
    assert await hosts.addresses("first") == ("192.0.2.1",)
    assert await hosts.addresses("third") == ()
