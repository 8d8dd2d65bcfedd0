"""A backup of a store that is being written to, restored elsewhere; and everything that must stop a restore."""

from __future__ import annotations

import asyncio
import io
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from api.backup import ASIDE, MANIFEST, BackupError, back_up, restore
from api.secret_keys import KEY_FILE
from api.store.database import SQLITE_FILE
from storage.greetings import greeting_key
from tests.api.conftest import Store
from tests.api.http.rig import Api, running_api
from tests.api.http.test_greetings import audio, upload
from tests.postgres import PostgresServer, program


async def populate(api: Api) -> None:
    await api.agent("agt_sales")
    await api.number(
        "+14155550190",
        agent_id="agt_sales",
        inbound_routing={"voicemail_message": "Hello."},
        provider_config={"auth_username": "u", "auth_password": "hunter2"},
    )
    bought = await api.post("/v1/phone-numbers/purchase", {"phone_number": "+14155550123"})
    assert bought.status == 201


async def everything(api: Api) -> list[object]:
    return [(await api.get(path)).body for path in ("/v1/phone-numbers", "/v1/agents", "/v1/integrations")]


async def test_what_was_backed_up_is_restored_whole(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    async with running_api(tmp_path / "data") as api:
        await populate(api)
        before = await everything(api)
        manifest = await asyncio.to_thread(back_up, tmp_path / "data", archive)
        await api.number("+14155550191")  # after it
    assert (manifest.numbers, manifest.agents, manifest.has_key) == (2, 1, True)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    await asyncio.to_thread(restore, archive, tmp_path / "elsewhere")
    assert stat.S_IMODE((tmp_path / "elsewhere" / KEY_FILE).stat().st_mode) == 0o600
    async with running_api(tmp_path / "elsewhere") as api:
        assert await everything(api) == before
        number = before[0]["items"][0]  # type: ignore[index]
        config = {"provider_config": {"auth_username": "v"}}
        changed = await api.patch(f"/v1/phone-numbers/{number['id']}", config)
        assert changed.body["provider_config"]["auth_password_set"] is True, "secrets can be opened"
        found = await api.get("/v1/phone-numbers/search?country=US&contains=5550123&area_code=415")
        assert found.body["items"] == [], "the sandbox remembers what it sold"


async def test_uploaded_greetings_are_heard_after_a_restore(tmp_path: Path) -> None:
    archive, data, elsewhere = tmp_path / "backup.tar", tmp_path / "data", tmp_path / "elsewhere"
    async with running_api(data) as api:
        kept, lost, gone = [(await upload(api)).body["id"] for _ in range(3)]
        (data / "rec" / greeting_key(lost)).unlink()
        await api.delete(f"/v1/greetings/{gone}")
        before = await audio(api, kept)
        manifest = await asyncio.to_thread(back_up, data, archive, audio=data / "rec")
    assert manifest.greetings == 1
    assert before[0] == 200
    await asyncio.to_thread(restore, archive, elsewhere, audio=elsewhere / "rec")
    async with running_api(elsewhere) as api:
        assert await audio(api, kept) == before
        listed = (await api.get("/v1/greetings")).body["items"]
        assert {each["id"] for each in listed} == {kept, lost}
    without = await asyncio.to_thread(restore, archive, tmp_path / "bucket")
    assert without.greetings == 1, "they are in the archive, and left there"
    assert not list((tmp_path / "bucket").rglob("*.wav"))


async def test_a_backup_while_numbers_are_registered_is_of_one_moment(tmp_path: Path) -> None:
    async with running_api(tmp_path / "data") as api:
        stop, begun = asyncio.Event(), asyncio.Event()

        async def register() -> None:
            for index in range(200):
                if stop.is_set():
                    return
                await api.number(f"+1415555{index:04}")
                begun.set()

        work = asyncio.create_task(register())
        await begun.wait()
        manifest = await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "backup.tar")
        stop.set()
        await work
    await asyncio.to_thread(restore, tmp_path / "backup.tar", tmp_path / "elsewhere")
    async with running_api(tmp_path / "elsewhere") as api:
        page = (await api.get("/v1/phone-numbers?limit=1")).body
        assert page["total"] == manifest.numbers > 0


async def test_a_store_that_is_there_is_replaced_only_by_force_and_not_in_use(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    async with running_api(tmp_path / "data") as api:
        await populate(api)
        await asyncio.to_thread(back_up, tmp_path / "data", archive)
        await api.number("+14155550199")
        with pytest.raises(BackupError, match="--force"):
            await asyncio.to_thread(restore, archive, tmp_path / "data")
        with pytest.raises(BackupError, match="in use"):
            await asyncio.to_thread(restore, archive, tmp_path / "data", force=True)
        assert (await api.get("/v1/phone-numbers")).body["total"] == 3
    await asyncio.to_thread(restore, archive, tmp_path / "data", force=True)
    assert (tmp_path / "data" / f"{SQLITE_FILE}{ASIDE}").exists()
    async with running_api(tmp_path / "data") as api:
        assert (await api.get("/v1/phone-numbers")).body["total"] == 2


async def test_without_the_key_the_store_is_of_no_use_to_others(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    async with running_api(tmp_path / "data") as api:
        await populate(api)
        await asyncio.to_thread(back_up, tmp_path / "data", archive, with_key=False)
    key = (tmp_path / "data" / KEY_FILE).read_bytes()
    assert key.strip() not in archive.read_bytes()
    assert b"hunter2" not in archive.read_bytes()
    await asyncio.to_thread(restore, archive, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / KEY_FILE).exists()
    (tmp_path / "elsewhere" / KEY_FILE).touch(0o600)
    (tmp_path / "elsewhere" / KEY_FILE).write_bytes(key)
    async with running_api(tmp_path / "elsewhere") as api:
        assert (await api.get("/v1/phone-numbers")).body["total"] == 2


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


MANIFEST_TEXT = (
    b'{"format":1,"created_at":"2026-11-23T12:00:00.000Z","store_id":"x","schema":"0001",'
    b'"numbers":0,"agents":0,"has_key":false}'
)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"other.txt": b""}, "no backup of ours"),
        ({MANIFEST: b"{"}, "no backup of ours"),
        ({MANIFEST: MANIFEST_TEXT.replace(b'"format":1', b'"format":3')}, "newer version"),
        ({MANIFEST: MANIFEST_TEXT}, "not whole"),
        ({MANIFEST: MANIFEST_TEXT, "../evil": b"x"}, "evil"),
        ({MANIFEST: MANIFEST_TEXT, "greetings/../../evil.wav": b"x"}, "evil"),
        ({MANIFEST: MANIFEST_TEXT, SQLITE_FILE: b"nonsense" * 1000}, "damaged"),
        ({MANIFEST: MANIFEST_TEXT.replace(b"0001", b"9999"), SQLITE_FILE: b""}, "newer version"),
    ],
)
def test_what_is_no_sound_backup_changes_nothing(
    tmp_path: Path, members: dict[str, bytes], told: str
) -> None:
    archive = archive_of(tmp_path / "bad.tar", members)
    with pytest.raises(BackupError, match=told):
        restore(archive, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_no_store_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"data\.dir"):
        back_up(tmp_path, tmp_path / "backup.tar")
    assert not (tmp_path / "backup.tar").exists()
    (tmp_path / "text.tar").write_text("not a tar file")
    with pytest.raises(BackupError, match="no backup of ours"):
        restore(tmp_path / "text.tar", tmp_path / "data")


async def test_postgresql_by_its_own_tools_as_the_docs_say(tmp_path: Path, postgres: PostgresServer) -> None:
    """`pg_dump | pg_restore` into a fresh database, with the same key."""
    first, second = await postgres.create_database(), await postgres.create_database()
    stores = [Store("postgresql", postgres.url(name), tmp_path / "data") for name in (first, second)]
    async with running_api(tmp_path / "data", database_url=stores[0].url) as api:
        await populate(api)
        before = await everything(api)

    def dsn(name: str) -> str:
        return postgres.url(name).replace("+asyncpg", "")

    def dump_and_restore() -> None:
        dump = subprocess.run([program("pg_dump"), "-Fc", dsn(first)], check=True, stdout=subprocess.PIPE)
        subprocess.run(
            [program("pg_restore"), "--clean", "--if-exists", "-d", dsn(second)],
            check=True,
            input=dump.stdout,
        )

    await asyncio.to_thread(dump_and_restore)
    async with running_api(tmp_path / "data", database_url=stores[1].url) as api:
        assert await everything(api) == before
    for name in (first, second):
        await postgres.drop_database(name)
