from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.sdes import (
    MAX_CRYPTO_LINES,
    SUITES,
    Crypto,
    offered_keys,
    read_crypto,
    secured,
)
from gateway.sip.secure_profiles import cleared, profiles
from gateway.sip.session_description import SdpError

KEY = bytes(range(30))
INLINE = base64.b64encode(KEY).decode()
CM = "AES_CM_128_HMAC_SHA1_80"
PLAIN = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


def offer(*values: str, profile: str = "RTP/SAVP") -> bytes:
    lines = "".join(f"a=crypto:{value}\r\n" for value in values)
    return PLAIN.replace(b"RTP/AVP", profile.encode()) + lines.encode()


@pytest.mark.parametrize(
    "value",
    [
        f"1 {CM} inline:{INLINE}",
        f"1 {CM} inline:{INLINE}|2^20",
        f"1 {CM} inline:{INLINE}|1048576",
        f"1 {CM} inline:{INLINE} WSH=128",
        f"1 {CM} inline:{INLINE}|2^31 -unheard=of",
        f"1  {CM}\tinline:{INLINE} ",
    ],
)
def test_what_is_understood(value: str) -> None:
    assert read_crypto(value) == Crypto(1, CM, KEY)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        f"one {CM} inline:{INLINE}",
        f"1 AES_256_CM_HMAC_SHA1_80 inline:{INLINE}",
        f"1 {CM} inline:{INLINE}|2^20|1:4",  # a master key identifier would be in every packet
        f"1 {CM} inline:{INLINE}|1:4",
        f"1 {CM} inline:{INLINE};inline:{INLINE}",
        f"1 {CM} inline:{INLINE} UNENCRYPTED_SRTP",
        f"1 {CM} inline:{INLINE} UNAUTHENTICATED_SRTP",
        f"1 {CM} inline:{INLINE} KDR=1",
        f"1 {CM} inline:{INLINE} FEC_ORDER=FEC_SRTP",
        f"1 {CM} inline:{INLINE[:-4]}",
        f"1 {CM} inline:{INLINE}AAAA",
        f"1 {CM} inline:!!!{INLINE}",
        f"1 {CM} uri:{INLINE}",
        f"1 AEAD_AES_128_GCM inline:{INLINE}",
    ],
)
def test_what_changes_the_packets_is_not(value: str) -> None:
    assert read_crypto(value) is None


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_round_trips(suite: str) -> None:
    crypto = Crypto(7, suite, bytes(SUITES[suite]))
    assert read_crypto(crypto.line().removeprefix(b"a=crypto:").decode()) == crypto


def test_a_key_is_in_no_repr() -> None:
    assert INLINE not in repr(Crypto(1, CM, KEY))
    assert repr(KEY) not in repr(Crypto(1, CM, KEY))


def test_the_offerers_order_is_kept_and_what_is_foreign_left_out() -> None:
    gcm = base64.b64encode(bytes(44)).decode()
    found = offered_keys(
        offer(
            f"1 F8_128_HMAC_SHA1_80 inline:{INLINE}",
            f"2 AEAD_AES_256_GCM inline:{gcm}",
            f"3 {CM} inline:{INLINE}",
        )
    )
    assert [(each.tag, each.suite) for each in found] == [(2, "AEAD_AES_256_GCM"), (3, CM)]


@pytest.mark.parametrize("profile", ["RTP/AVP", "UDP/TLS/RTP/SAVP", "RTP/AVPF"])
def test_keys_count_only_where_the_profile_asks_for_them(profile: str) -> None:
    assert offered_keys(offer(f"1 {CM} inline:{INLINE}", profile=profile)) == []


def test_keys_of_other_media_are_not_the_audios() -> None:
    video = b"m=video 4002 RTP/SAVP 96\r\na=crypto:1 %s inline:%s\r\n" % (CM.encode(), INLINE.encode())
    assert offered_keys(offer() + video) == []
    refused = b"m=audio 0 RTP/SAVP 0\r\na=crypto:1 %s inline:%s\r\n" % (CM.encode(), INLINE.encode())
    assert offered_keys(PLAIN[: PLAIN.index(b"m=")] + refused) == []


def test_endless_lines_are_read_to_their_cap() -> None:
    lines = [f"{number} {CM} inline:{INLINE}" for number in range(1, 1000)]
    assert len(offered_keys(offer(*lines))) == MAX_CRYPTO_LINES


def test_keys_go_out_of_a_description_and_into_it_again() -> None:
    whole = offer(f"1 {CM} inline:{INLINE}")
    assert cleared(whole) == PLAIN
    assert secured(PLAIN, [Crypto(1, CM, KEY)]) == whole
    assert secured(PLAIN, [Crypto(1, CM, KEY)], profiles(whole)) == whole


def test_an_answer_has_the_profiles_of_its_offer() -> None:
    theirs = offer(f"1 {CM} inline:{INLINE}", profile="RTP/SAVPF") + b"m=video 4002 RTP/SAVP 96\r\n"
    ours = PLAIN + b"m=video 0 RTP/AVP 96\r\n"
    answer = secured(ours, [Crypto(1, CM, KEY)], profiles(theirs))
    assert b"m=audio 4000 RTP/SAVPF" in answer
    assert b"m=video 0 RTP/SAVP 96" in answer
    assert answer.index(b"a=crypto") < answer.index(b"m=video")
    assert offered_keys(answer) == [Crypto(1, CM, KEY)]


@given(st.binary(max_size=300), st.text(max_size=80))
def test_nothing_but_its_own_error(noise: bytes, value: str) -> None:
    read_crypto(value)
    for text in (noise, PLAIN + noise, offer(f"1 {CM} inline:{INLINE}") + noise):
        for function in (cleared, profiles, offered_keys, lambda it: secured(it, [Crypto(1, CM, KEY)])):
            try:
                function(text)
            except SdpError:
                continue
