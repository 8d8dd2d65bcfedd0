"""The Reason header (RFC 3326), as it passes from one side to the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.reason import MAX_REASON_TEXT, passed_reason


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        ('SIP;cause=200;text="Call completed elsewhere"', 'SIP;cause=200;text="Call completed elsewhere"'),
        ("Q.850;cause=16", "Q.850;cause=16"),
        ('q.850 ; cause = 16 ; text="x"', 'Q.850;cause=16;text="x"'),
        ('SIP;cause=600;text="x", Q.850;cause=16', 'SIP;cause=600;text="x"'),
        ("Q.850;cause=16;secret=internal", "Q.850;cause=16"),
        ('SIP;cause=1;text="a\r\nb"', 'SIP;cause=1;text="ab"'),
        ('SIP;cause=503;text="10.1.0.1"', "SIP;cause=503"),
        ('SIP;cause=503;text="no route to bot.internal:5060"', "SIP;cause=503"),
        ("preemption;cause=1", None),
        ("SIP", None),
        ("", None),
        (None, None),
    ],
)
def test_what_passes(value: str | None, passed: str | None) -> None:
    assert passed_reason(value) == passed


@given(st.text(max_size=300))
def test_whatever_comes_stays_one_short_line(text: str) -> None:
    for value in (text, f'SIP;cause=1;text="{text}"'):
        passed = passed_reason(value)
        if passed is not None:
            assert passed.isprintable()
            assert len(passed) <= MAX_REASON_TEXT + 30
            assert passed_reason(passed) == passed
