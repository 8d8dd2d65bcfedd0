"""The phone-number API as a whole: store, keys, operations, and what runs besides."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web
from redis.asyncio import Redis

from api import deliveries, event_intake, seed, voicemails
from api.access import Principal
from api.agents import Agents
from api.api_keys import ApiKeys, KeyRing, bootstrap
from api.call_history import CallHistory
from api.calls import Calls
from api.carrier_accounts import SANDBOX, Accounts
from api.carrier_setup import CarrierSetup
from api.carrier_webhooks import CarrierWebhooks
from api.carriers.connect import CarrierUrls, connect
from api.carriers.sandbox import FILE, SandboxCarrier
from api.carriers.wiring import MAX_NODES, Node, Place
from api.deliveries import Deliveries
from api.email_box import EmailBox
from api.email_sender import EmailSender, Mailbox
from api.event_intake import EventIntake, Taken
from api.greetings import Greetings
from api.idempotency import Replays
from api.integrations import Integrations
from api.live_gateway import LiveGateway
from api.metrics import ApiMetrics
from api.nodes import NodeDirectory, Nodes
from api.number_import import NumberImport
from api.number_records import NumberRecords
from api.openapi import document_of
from api.operations import Operation
from api.outbox import Outbox
from api.phone_numbers import PhoneNumbers
from api.pipeline import Pipeline
from api.provisioning import Provisioner
from api.provisioning_worker import ProvisioningWorker
from api.publisher import Publisher
from api.purchases import Purchases
from api.reference_pages import ReferencePages
from api.secret_box import SecretBox, SecretKeyError
from api.secret_keys import KEY_FILE, KeyFileWatch, Rotation, check_keys, obtain_keys
from api.seed import SeedError
from api.store.database import StoreUnavailable, Transaction, open_database
from api.store.schema import SchemaError
from api.transcriber import Endpoint as TranscriptionEndpoint
from api.transcriber import Transcriber
from api.transcriptions import Transcriptions
from api.voicemail_emails import VoicemailEmails
from api.voicemails import Voicemails
from api.web import install
from api.webhook_sender import WebhookSender
from api.webhooks import Webhooks
from routing.cache import RoutingCache
from routing.event_stream import EventReader
from storage.objects import ObjectStore, StorageError

log = structlog.get_logger("api")

CLEANING_SECONDS: Final = 600.0
"""Between deletions of what nobody will ask for again."""

RESTART_SECONDS: Final = 5.0
"""Before background work that failed by a fault of ours is tried again."""

FIRST_SYNC_SECONDS: Final = 10.0
"""That a start waits for the routes to be in Redis; afterwards they come when they come."""


class ApiStartError(Exception):
    """The API cannot start; the message is one line that names the key and the fix."""


class ApiService:
    """Serves the API once it is open and installed.

    Args:
        directory: of data.
        version: of the product, for the OpenAPI document.
        database_url, database_replica_urls, bootstrap_key, secret_key, seed_file: as in the configuration;
            empty for none.
        rate_limit: requests a second for each key.
        verify_interval: seconds between comparisons of the whole cache with the store.
        carrier_nodes: where carriers reach this deployment, as `api.carriers.wiring.Node` reads it.
        carrier_urls: where Twilio's and Telnyx's APIs are; empty for theirs.
        seller: whom numbers are bought from, as `api.carrier_accounts.Accounts` reads it.
        public_url: where carriers reach us with webhooks; empty for what a request names.
        webhooks_private: whether webhooks may go to addresses that are not public.
        mailbox: hears of voicemails by email, if there is one.
        transcription: writes voicemails down, if there is one.
        node: the gateway of this process; None if it is none.
        nodes: who knows all gateways; None if nobody does.
        history: what is kept of calls.
        recordings: opens the store of recordings, if there is one; may block, and raise StorageError.
        metrics: counts.

    """

    def __init__(
        self,
        directory: Path,
        *,
        version: str,
        database_url: str = "",
        database_replica_urls: Sequence[str] = (),
        bootstrap_key: str = "",
        secret_key: str = "",
        seed_file: Path | None = None,
        rate_limit: float = 200.0,
        verify_interval: float = 300.0,
        carrier_nodes: Sequence[str] = (),
        carrier_urls: tuple[str, str] = ("", ""),
        seller: str = SANDBOX,
        public_url: str = "",
        webhooks_private: bool = False,
        mailbox: Mailbox | None = None,
        transcription: TranscriptionEndpoint | None = None,
        recordings: Callable[[], ObjectStore] | None = None,
        node: LiveGateway | None = None,
        nodes: NodeDirectory | None = None,
        history: CallHistory | None = None,
        metrics: ApiMetrics | None = None,
    ) -> None:
        self._directory = directory
        self._version = version
        self._database_url = database_url
        self._replica_urls = database_replica_urls
        self._bootstrap_key = bootstrap_key
        self._secret_key = secret_key
        self._seed_file = seed_file
        self._rate_limit = rate_limit
        self._verify_interval = verify_interval
        self._carrier_nodes = carrier_nodes
        self._carrier_urls = CarrierUrls(*carrier_urls)
        self._seller = seller
        self._public_url = public_url
        self._webhooks_private = webhooks_private
        self._mailbox = mailbox
        self._transcription = transcription
        self._open_recordings = recordings
        self._node = node
        self._nodes = nodes
        self._history = history or CallHistory()
        self.metrics = metrics or ApiMetrics()
        self.first_key: str | None = None
        """Made by this start, because there was none; to be shown once."""
        self._exit = AsyncExitStack()

    async def open(self) -> None:
        """Open the store, and make what is missing.

        Raises:
            ApiStartError: naming the configuration key.

        """
        try:
            await self._open()
        except (SecretKeyError, SchemaError, SeedError) as error:
            await self._exit.aclose()
            raise ApiStartError(str(error)) from error
        except StorageError as error:
            await self._exit.aclose()
            raise ApiStartError(f"storage.url: {error}") from error
        except StoreUnavailable as error:
            await self._exit.aclose()
            text = str(error)
            raise ApiStartError(text if text.startswith("api.") else f"api.database_url: {text}") from error
        except OSError as error:
            await self._exit.aclose()
            raise ApiStartError(f"{error.filename or 'data.dir'}: {error.strerror or error}") from error
        except BaseException:
            await self._exit.aclose()
            raise

    async def _open(self) -> None:
        await asyncio.to_thread(self._directory.mkdir, parents=True, exist_ok=True)
        self.box = SecretBox(await asyncio.to_thread(obtain_keys, self._secret_key, self._directory))
        place = Place(_nodes(self._carrier_nodes))
        first = None
        if self._seed_file is not None:
            first = await asyncio.to_thread(seed.read, self._seed_file)
        self.database = await asyncio.to_thread(
            open_database, self._database_url, self._directory, self._replica_urls
        )
        self.database.on_replica = lambda replica, lag: self.metrics.replica_lag.labels(replica).set(lag)
        self.database.on_read_lately = lambda where: self.metrics.replica_reads.labels(where).inc()
        self._exit.push_async_callback(self.database.close)
        await self.database.open()
        recordings = None
        if self._open_recordings is not None:
            recordings = await asyncio.to_thread(self._open_recordings)
            self._exit.push_async_callback(recordings.close)
        self.voicemails = Voicemails(self.database, recordings)
        self.calls = Calls(self.database, self._history, self._node)
        sender = WebhookSender(allow_private=self._webhooks_private)
        self._exit.push_async_callback(sender.close)
        self.webhooks = Webhooks(self.database, self.box, sender)
        self.emails: VoicemailEmails | None = None
        if self._mailbox is not None:
            mail = EmailSender(self._mailbox)
            self.emails = VoicemailEmails(
                self.database,
                recordings,
                mail,
                self.metrics,
                transcribed=self._transcription is not None,
            )
        self.email_box = EmailBox(self.database, self._mailbox)
        self.transcriptions: Transcriptions | None = None
        if self._transcription is not None:
            transcriber = Transcriber(self._transcription)
            self._exit.push_async_callback(transcriber.close)
            self.transcriptions = Transcriptions(
                self.database,
                recordings,
                transcriber,
                self.metrics,
                timeout=self._transcription.timeout,
                on_transcribed=self.webhooks.take,
            )
        self.deliveries = Deliveries(self.database, self.box, sender, self.metrics)
        self.records = NumberRecords(self.box)
        self.agents = Agents(self.box, self.records)
        self.greetings = Greetings(self.database, recordings, self._directory, self.records, self.agents)
        self.integrations = Integrations(self.box, self.records)
        self.keys = KeyRing(self.database)
        self._replays = Replays(self.box)
        self._outbox = Outbox(self.agents)
        sandbox = SandboxCarrier(self._directory / FILE)
        self._exit.push_async_callback(sandbox.close)
        self.accounts = Accounts(
            self.database,
            self.integrations,
            lambda credentials: connect(credentials, self._carrier_urls),
            sandbox,
            self._seller,
        )
        self.provisioner = Provisioner(self.database, self.records, self.accounts, place)
        self.worker = ProvisioningWorker(self.database, self.records, self.provisioner, self.metrics)
        self.purchases = Purchases(
            self.database, self.records, self.accounts, self.provisioner, self.worker, place
        )
        self.carrier_setup = CarrierSetup(self.database, self.accounts, self.records, place)

        def prepare(tx: Transaction) -> tuple[str | None, bool]:
            check_keys(tx, self.box)
            planted = first is not None and seed.plant(tx, self.agents, self.records, first)
            return bootstrap(tx, self._bootstrap_key), planted

        self.first_key, planted = await self.database.write(prepare)
        if planted:
            log.info("store filled for the first time", file=str(self._seed_file))

    async def close(self) -> None:
        """Close the store."""
        await self._exit.aclose()

    def operations(self) -> list[Operation]:
        """All that can be asked."""
        parts: Sequence[Any] = (
            PhoneNumbers(self.records),
            self.purchases,
            NumberImport(self.records),
            self.agents,
            self.integrations,
            self.carrier_setup,
            self.voicemails,
            self.email_box,
            self.greetings,
            self.webhooks,
            self.calls,
            *([] if self._nodes is None else [Nodes(self._nodes)]),
            ApiKeys(self.keys),
        )
        return [operation for part in parts for operation in part.operations()]

    async def install(self, app: web.Application) -> None:
        """Serve the API, its description and its pages; before the application starts."""
        pipeline = Pipeline(
            self.database, self.keys, self._replays, self.metrics, rate=self._rate_limit, clock=time.monotonic
        )
        operations = self.operations()
        webhooks = CarrierWebhooks(
            self.database,
            self.integrations,
            self.metrics,
            public_url=self._public_url,
            on_order=self.worker.hasten,
        )
        webhooks.install(app)
        install(app, operations, pipeline)
        pages = await asyncio.to_thread(ReferencePages, document_of(operations, self._version))
        pages.install(app)

    def admit(self, key: str) -> None:
        """Let a command on this machine do everything with a key of its own."""
        self.keys.admit(key, Principal("local", frozenset({"read", "write"})))

    def rotation(self) -> Rotation:
        """Replaces the secret key."""
        return Rotation(self.database, self.box, self.records, self.agents, self.integrations, self.webhooks)

    def publisher(self, redis: Redis) -> Publisher:
        """Brings changes to Redis; redis: a client with timeouts."""
        publisher = Publisher(
            self.database,
            self._outbox,
            RoutingCache(redis),
            verify_interval=self._verify_interval,
            metrics=self.metrics,
            on_error=lambda text: log.error("routes not published", detail=text),
            on_repaired=lambda count: log.info("routing cache brought up to date", records=count),
        )
        self.database.on_committed = publisher.wake
        return publisher

    def intake(self, redis: Redis) -> EventIntake:
        """Takes what gateways tell of calls; redis: a client with timeouts."""
        reader = EventReader(redis, f"{socket.gethostname()}-{os.getpid()}")
        takers: list[Taken] = [self.voicemails.take, self.webhooks.take]
        takers += [each.take for each in (self.emails, self.transcriptions) if each is not None]
        return EventIntake(
            self.database, reader, takers, self.metrics, self.deliveries.wake, self._history.keep
        )

    async def run(self, publisher: Publisher | None, intake: EventIntake | None = None) -> None:
        """Do what goes on besides requests, until cancelled. Failures are logged and tried again."""
        work: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("numbers at carriers", self.worker.run),
            ("cleaning", self._clean),
            ("deliveries", self.deliveries.run),
        ]
        if self.emails is not None:
            work.append(("emails", self.emails.run))
        if self.transcriptions is not None:
            work.append(("transcriptions", self.transcriptions.run))
        if publisher is not None:
            work.append(("publisher", publisher.run))
        if intake is not None:
            work.append(("call events", intake.run))
        if not self._secret_key:
            work.append(("key file", KeyFileWatch(self._directory / KEY_FILE, self.box).run))
        async with asyncio.TaskGroup() as group:
            for name, each in work:
                group.create_task(_kept_running(name, each), name=f"api-{name}")

    async def _clean(self) -> None:
        while True:
            try:
                for forget in (
                    self._replays.forget_old,
                    event_intake.forget_old,
                    voicemails.forget_old,
                    deliveries.forget_old,
                    self._history.forget_old,
                ):
                    await self.database.write(forget)
            except StoreUnavailable as error:
                log.warning("old records not deleted", detail=str(error))
            await asyncio.sleep(CLEANING_SECONDS)


def _nodes(texts: Sequence[str]) -> tuple[Node, ...]:
    """The configuration's nodes. Raises ApiStartError."""
    try:
        nodes = tuple(Node.parse(text) for text in texts)
    except ValueError as error:
        raise ApiStartError(f"carriers.nodes: {error}") from None
    if len(nodes) > MAX_NODES:
        raise ApiStartError(f"carriers.nodes: more than {MAX_NODES}: carriers take no more")
    return nodes


async def _kept_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("background task failed", task=f"api {name}")
        await asyncio.sleep(RESTART_SECONDS)
