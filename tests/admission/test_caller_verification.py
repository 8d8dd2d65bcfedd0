"""PASSporTs: a signing authority of our own, and everything that can be wrong with what its providers sign."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.caller_verification import (
    KEPT_SECONDS,
    KNOWN_CERTIFICATES,
    REFUSED_SECONDS,
    CallerVerification,
    CertificateFetch,
)
from gateway.admission.passport import IdentityError, Passport, digits, read_chain

NOW = datetime(2026, 11, 28, 1, 0, tzinfo=UTC)
URL = "https://certificates.example.org/passport.pem"
CALLER, CALLED = "+14155550123", "+14155550100"

Key = ec.EllipticCurvePrivateKey


def certificate(
    name: str,
    key: Key,
    issuer: str,
    signer: Key,
    *,
    ca: bool = False,
    begins: datetime = NOW - timedelta(days=1),
    days: int = 30,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


ROOT_KEY, AUTHORITY_KEY, SIGNER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT = certificate("root", ROOT_KEY, "root", ROOT_KEY, ca=True)
AUTHORITY = certificate("authority", AUTHORITY_KEY, "root", ROOT_KEY, ca=True)
SIGNER = certificate("provider", SIGNER_KEY, "authority", AUTHORITY_KEY)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


CHAIN = pem(SIGNER, AUTHORITY)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def identity(
    key: Key = SIGNER_KEY,
    *,
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    info: str = URL,
    tail: str = ";alg=ES256;ppt=shaken",
) -> str:
    heading = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": info} | (header or {})
    said = {
        "attest": "A",
        "dest": {"tn": [digits(CALLED)]},
        "iat": int(NOW.timestamp()),
        "orig": {"tn": digits(CALLER)},
        "origid": "1",
    } | (claims or {})
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (heading, said))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encoded(r.to_bytes(32) + s.to_bytes(32))};info=<{info}>{tail}"


class Rig:
    """A verification with a clock that stands still and a web of one page."""

    def __init__(
        self, page: bytes | Exception = CHAIN, roots: tuple[x509.Certificate, ...] = (ROOT,)
    ) -> None:
        self.now = 1000.0
        self.page = page
        self.fetched: list[str] = []
        self.gate: asyncio.Event | None = None
        self.verification = CallerVerification(self.fetch, roots, lambda: self.now, NOW.timestamp)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.page, Exception):
            raise self.page
        return self.page

    async def judge(self, *identities: str, policy: Any = "require") -> tuple[str, int]:
        verdict = await self.verification.judge(policy, identities, CALLER, CALLED)
        return verdict.verstat, verdict.refusal.status if verdict.refusal is not None else 0


@pytest.mark.parametrize("attest", ["A", "B", "C"])
async def test_a_caller_is_verified(attest: str) -> None:
    verdict = await Rig().judge(identity(claims={"attest": attest}))
    assert verdict == (f"TN-Validation-Passed-{attest}", 0)


async def test_a_passport_of_another_kind_attests_nothing() -> None:
    assert await Rig().judge(identity(claims={"attest": "Z"})) == ("TN-Validation-Passed", 0)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (identity(claims={"orig": {"tn": "15550001111"}}), 438),
        (identity(claims={"dest": {"tn": ["15550001111"]}}), 438),
        (identity(claims={"dest": {"tn": "14155550100"}}), 438),
        (identity(claims={"orig": [], "dest": 3}), 438),
        (identity(claims={"iat": int(NOW.timestamp()) - 61}), 403),
        (identity(claims={"iat": int(NOW.timestamp()) + 61}), 403),
        (identity(claims={"iat": True}), 438),
        (identity(claims={"iat": "now"}), 438),
        (identity(header={"alg": "none"}), 437),
        (identity(header={"alg": "HS256"}), 437),
        (identity(header={"typ": "JWT"}), 437),
        (identity(header={"x5u": "https://other.example.org/"}), 438),
        (identity(tail=";alg=RS256"), 437),
        (identity(info="http://certificates.example.org/"), 436),
        (identity(AUTHORITY_KEY), 438),
        ("nonsense", 436),
        (f"a.b;info=<{URL}>", 438),
        (f"a.b.c;info=<{URL}>", 438),
        (f"..;info=<{URL}>", 438),
        (identity() + ";x=" + "y" * 9000, 438),
    ],
)
async def test_what_is_wrong_with_one(value: str, status: int) -> None:
    assert await Rig().judge(value) == ("TN-Validation-Failed", status)
    assert await Rig().judge(value, policy="record") == ("TN-Validation-Failed", 0)


async def test_none_is_a_refusal_only_where_it_is_required() -> None:
    assert await Rig().judge() == ("No-TN-Validation", 428)
    assert await Rig().judge(policy="record") == ("No-TN-Validation", 0)


async def test_the_first_valid_one_counts() -> None:
    assert await Rig().judge("nonsense", identity()) == ("TN-Validation-Passed-A", 0)


OTHER = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.parametrize(
    ("page", "status"),
    [
        (pem(SIGNER), 437),  # nobody vouches for it
        (pem(AUTHORITY, SIGNER), 438),  # vouched for, but another signed
        (
            pem(
                certificate("provider", SIGNER_KEY, "x", OTHER), certificate("x", OTHER, "x", OTHER, ca=True)
            ),
            437,
        ),
        (pem(certificate("old", SIGNER_KEY, "authority", AUTHORITY_KEY, days=0), AUTHORITY), 437),
        (
            pem(certificate("leaf", SIGNER_KEY, "provider", SIGNER_KEY), SIGNER, AUTHORITY),
            437,
        ),  # no authority
        (pem(certificate("big", P384, "authority", AUTHORITY_KEY), AUTHORITY), 437),
        (pem(*[SIGNER] * 7), 436),
        (b"no certificate", 436),
        (b"", 436),
        (OSError("gone"), 436),
        (TimeoutError(), 436),
    ],
)
async def test_whose_signature_is_not_believed(page: bytes | Exception, status: int) -> None:
    assert await Rig(page).judge(identity()) == ("TN-Validation-Failed", status)


async def test_without_roots_nobody_passes() -> None:
    assert (await Rig(roots=()).judge(identity()))[1] == 437


async def test_a_signer_that_is_a_root_itself_passes() -> None:
    assert (await Rig(pem(SIGNER), (SIGNER,)).judge(identity()))[0] == "TN-Validation-Passed-A"


async def test_a_chain_is_kept_for_an_hour() -> None:
    rig = Rig()
    for _ in range(3):
        await rig.judge(identity())
    assert len(rig.fetched) == 1
    rig.now += KEPT_SECONDS + 1
    await rig.judge(identity())
    assert len(rig.fetched) == 2


async def test_a_place_that_gave_none_is_left_alone_for_a_while() -> None:
    rig = Rig(OSError())
    await rig.judge(identity())
    await rig.judge(identity())
    assert len(rig.fetched) == 1
    rig.page = CHAIN
    rig.now += REFUSED_SECONDS + 1
    assert (await rig.judge(identity()))[0] == "TN-Validation-Passed-A"


async def test_chains_kept_are_bounded() -> None:
    rig = Rig()
    for number in range(KNOWN_CERTIFICATES + 5):
        await rig.judge(identity(info=f"https://example.org/{number}"))
    assert len(rig.verification._known) == KNOWN_CERTIFICATES


async def test_calls_share_one_fetch_and_none_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.admission.caller_verification.PATIENCE", 0.02)
    rig = Rig()
    rig.gate = asyncio.Event()
    waiting = [asyncio.create_task(rig.judge(identity())) for _ in range(3)]
    assert await asyncio.gather(*waiting) == [("TN-Validation-Failed", 436)] * 3
    assert len(rig.fetched) == 1
    rig.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await rig.judge(identity()))[0] == "TN-Validation-Passed-A"
    rig.gate.clear()
    rig.now += 2 * KEPT_SECONDS
    await rig.judge(identity())
    await rig.verification.close()


@given(st.text(max_size=200) | st.text("abc.=;<>info:/AZ09-_", max_size=200))
def test_nothing_but_its_own_error_comes_out(text: str) -> None:
    for value in (text, f"{text};info=<{URL}>"):
        try:
            Passport.parse(value)
        except IdentityError as error:
            assert error.status in {436, 437, 438}


@given(st.binary(max_size=100))
def test_certificates_that_are_none(data: bytes) -> None:
    with pytest.raises(IdentityError):
        read_chain(data)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "[::1]", "169.254.169.254"])
async def test_nothing_inside_is_asked(host: str) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise AssertionError("asked")

    class Session:
        get: Callable[..., None] = unreachable

    with pytest.raises(OSError, match="not public"):
        await CertificateFetch(Session())(f"https://{host}/x")  # type: ignore[arg-type]
