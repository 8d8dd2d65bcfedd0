"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.local import LocalStore
from storage.opening import Credentials, StorageUrlError, from_url, parse_url
from storage.s3 import S3Store


def test_nothing_means_the_local_directory(tmp_path: Path) -> None:
    store = from_url("", tmp_path)
    assert isinstance(store, LocalStore)
    assert store.directory == tmp_path


def test_a_directory_by_url(tmp_path: Path) -> None:
    store = from_url("file:///srv/calls%20of%20ours", tmp_path)
    assert isinstance(store, LocalStore)
    assert store.directory == Path("/srv/calls of ours")


def test_a_bucket_says_where_it_is_without_its_keys(tmp_path: Path) -> None:
    credentials = Credentials("AKIAKEY", "very-secret")
    store = from_url(
        "s3://bucket/a/b/?endpoint=https://minio.example&region=eu-central-1", tmp_path, credentials
    )
    assert isinstance(store, S3Store)
    assert store.place == "s3://bucket/a/b"
    assert "very-secret" not in repr(credentials)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://", "write s3://bucket"),
        ("gs://bucket", "write s3://bucket"),
        ("/srv/recordings", "write s3://bucket"),
        ("file://host/directory", "write s3://bucket"),
        ("s3://key:secret@bucket", "keys do not belong into the URL"),
        ("s3://bucket?endpont=https://x", "'endpont': known after the question mark"),
        ("s3://bucket?endpoint=minio:9000", "write it as https://host"),
        ("s3://bucket?=", "known after the question mark"),
        ("s3://[", "no URL"),
        ("s3://bucket/../x", "a prefix has letters"),
    ],
)
def test_other_urls_are_told_what_to_write(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(StorageUrlError, match=says.replace("?", r"\?")) as told:
        from_url(url, tmp_path)
    assert "secret" not in str(told.value).replace("secret_access_key", "")


@given(st.text())
def test_no_url_raises_anything_else(url: str) -> None:
    try:
        parse_url(url)
    except StorageUrlError:
        return
