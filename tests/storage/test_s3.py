"""A bucket: large files, and services that do not do what they should."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import storage.s3
from storage.objects import StorageError
from storage.opening import Credentials, from_url
from storage.s3 import S3Store


async def test_a_large_file_goes_up_in_parts(bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "large.wav"
    data = random.Random(2).randbytes(storage.s3.PART_BYTES * 2 + 100)
    source.write_bytes(data)
    store = from_url(bucket, tmp_path, Credentials("key", "secret"))
    info = await store.put("large.wav", source)
    assert info.size == len(data)
    assert info.content_type == "audio/wav"
    assert info.etag.strip('"').endswith("-3")  # what S3 calls an upload in three parts
    assert b"".join([piece async for piece in store.read("large.wav")]) == data


async def test_a_prefix_keeps_what_is_beside_it_apart(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    within = from_url(bucket, tmp_path, Credentials("key", "secret"))
    above = from_url(bucket.replace("/some/prefix", ""), tmp_path, Credentials("key", "secret"))
    await within.put("a.wav", tmp_path / "x")
    await above.put("b.wav", tmp_path / "x")
    assert [info.key async for info in within.list()] == ["a.wav"]
    assert [info.key async for info in above.list()] == ["b.wav", "some/prefix/a.wav"]


async def test_a_bucket_that_is_not_there_is_told(s3_server: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    store = from_url(
        f"s3://no-such-bucket?endpoint={s3_server}&region=us-east-1", tmp_path, Credentials("k", "s")
    )
    with pytest.raises(StorageError):
        await store.put("a.wav", tmp_path / "x")


async def test_a_service_that_is_away_is_told_and_retryable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.s3, "RETRIES", 0)
    store = S3Store(
        "bucket", endpoint="http://127.0.0.1:1", access_key_id="AKIAKEY", secret_access_key="very-secret"
    )
    with pytest.raises(StorageError) as told:
        await store.head("a.wav")
    assert told.value.retryable
    assert "very-secret" not in str(told.value) + repr(store)
    assert len(str(told.value)) < 400


async def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    store = S3Store("bucket", endpoint="http://127.0.0.1:1", access_key_id="a", secret_access_key="b")
    with pytest.raises(StorageError, match="No such file"):
        await store.put("a.wav", tmp_path / "missing")
