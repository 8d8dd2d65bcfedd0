"""Who is there: three gateways, their Redis with its sentinels, the store, the API, two carriers, six agents.

Each carrier's calls go through an edge of `configs/kamailio`: that is how a carrier that knows several
origination URIs behaves, which SIPp alone does not.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loadtests.faults.calls import Recorded, recorded
from loadtests.faults.changes import Changes, Routed, Routes
from loadtests.faults.clock import set_wrong
from loadtests.faults.hosts import Host, Lan, Program
from loadtests.faults.schedule import SEA
from tests import postgres
from tests.e2e.gateway_process import to_toml

ROOT: Final = Path(__file__).parents[2]
SCENARIOS: Final = Path(__file__).parent
PROGRAMS: Final = Path(sys.executable).parent

NODES: Final = ("n1", "n2", "n3")
REDIS: Final = ("r1", "r2", "r3")
CARRIERS: Final = ("c1", "c2")
EDGES: Final = ("e1", "e2")
AGENTS: Final = ("a1", "a2", "a3", "a4", "a5", "a6")
STORES: Final = ("pg",)
APIS: Final = ("api",)

CROWDS: Final = ((*NODES, SEA), REDIS, AGENTS, EDGES, CARRIERS, STORES, APIS)
"""Hosts that do the same work; see `loadtests.faults.schedule`. The cable between the regions is among the
nodes: with one of them down, a region that is cut off might be left with none."""

NEAR: Final = ("n1", "r1", "c1", "e1", "a1", "a2", "a5")
"""The hosts of one region: a gateway, a third of Redis, a carrier with its edge, agents. All others are in
the other one, the store and the API among them."""

PAIRS: Final = tuple(
    Routed(f"agt_{first}", f"agt_{second}")
    for first in AGENTS
    for second in AGENTS
    if (first in NEAR) != (second in NEAR)
)
"""What numbers may be routed to: of an agent and its fallback one is in each region."""

CLOCKS: Final = (*NODES, "api")
"""Hosts whose clocks can be set wrong: those that run our own programs. Redis's is not: libfaketime, which
could, makes programs late. PostgreSQL's nobody asks for the time."""

NUMBERS: Final = tuple(f"+1415555010{number}" for number in range(1, 7))
STREAMING: Final = ("a5", "a6")
"""Agents that speak WebSocket; the others are SIPp."""

PLACES: Final = 50
"""Calls that each agent takes at a time: more than ever come, so that places are leased and nobody is
refused."""

KEY: Final = "oi_sk_under_all_these_faults"
SECRET: Final = "c2VjcmV0IG9mIHRoZSBmYXVsdCBoYXJuZXNzIDMyIGI="
MEDIA_PORTS: Final = (30_000, 30_998)
START_SECONDS: Final = 90.0
_RUN_APP: Final = "web.run_app(app, host='HOST', port=8765)"

EDGE_PATIENCE: Final = 4000
"""Milliseconds, twice the shipped value: some twenty hosts share one machine here."""


def _first_pair(agent: str) -> Routed:
    return next(pair for pair in PAIRS if pair.agent == f"agt_{agent}")


class World:
    """All hosts, each with what it runs.

    lan: theirs; directory: for everything they write.
    """

    def __init__(self, lan: Lan, directory: Path) -> None:
        self.lan = lan
        self.directory = directory
        names = (*NODES, *REDIS, *CARRIERS, *EDGES, *AGENTS, *STORES, *APIS)
        self.hosts = {
            name: Host(lan, name, 11 + number, directory, "near" if name in NEAR else "far")
            for number, name in enumerate(names)
        }
        for name in CLOCKS:
            self.skew(name, 0)
        # As they are in the beginning, and as the API has taken them since.
        self.routes = Routes(
            {f"phn_{name}": _first_pair(name) for name in AGENTS},
            {f"agt_{name}": self._url(name) for name in AGENTS},
        )

    def at(self, name: str) -> str:
        """A host's address."""
        return self.hosts[name].address

    # What each host runs.

    def start(self) -> None:
        """Everything, in an order in which it can."""
        for name in REDIS:
            self._redis(self.hosts[name])
        self._postgres(self.hosts["pg"])
        for name in AGENTS:
            self._agent(self.hosts[name])
        self._api(self.hosts["api"])
        self.until(lambda: self.get("api", "/healthz") is not None, "the API answers")
        for name in NODES:
            self._node(self.hosts[name])
        self.until(self.all_ready, "all nodes are ready")
        for name in EDGES:
            self._edge(self.hosts[name])
        time.sleep(1)  # the edges' first OPTIONS

    def _redis(self, host: Host) -> None:
        common = ["--bind", host.address, "--protected-mode", "no", "--dir", str(host.directory)]
        replica = [] if host.name == REDIS[0] else ["--replicaof", self.at(REDIS[0]), "6379"]
        # Its configuration is a file, for a sentinel makes it write there whose replica it is.
        config = host.directory / "redis.conf"
        # And as docs/redis.md wants it: a primary that is cut off takes no writes that nobody will keep.
        config.write_text(
            'save ""\nappendonly yes\nappendfsync no\nrepl-diskless-sync-delay 0\n'
            "min-replicas-to-write 1\nmin-replicas-max-lag 2\n"
        )
        host.runs("redis", ["redis-server", str(config), "--port", "6379", *common, *replica])
        sentinel = host.directory / "sentinel.conf"
        sentinel.write_text(
            f"sentinel monitor main {self.at(REDIS[0])} 6379 2\n"
            "sentinel down-after-milliseconds main 1500\nsentinel failover-timeout main 5000\n"
        )
        host.runs("sentinel", ["redis-server", str(sentinel), "--sentinel", "--port", "26379", *common])

    def _postgres(self, host: Host) -> None:
        data = host.directory / "data"
        data.mkdir()
        self.directory.chmod(0o755)
        as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(data, "postgres", "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        made = ["-D", str(data), "--no-sync", "--auth=trust", "--username=postgres", "--locale=C"]
        subprocess.run(
            [*as_user, str(postgres.program("initdb")), *made], check=True, capture_output=True, cwd="/"
        )
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 trust\n")
        settings = {"listen_addresses": host.address, "unix_socket_directories": str(data), "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = host.runs("postgres", [*as_user, str(postgres.program("postgres")), "-D", str(data), *words])
        server.polite = signal.SIGINT  # it does not wait for those that are connected

    def _settings(self, host: Host) -> dict[str, dict[str, object]]:
        return {
            "data": {"dir": str(host.directory / "data")},
            "redis": {"url": self.redis_url},
            "api": {
                "serve": False,
                "database_url": f"postgresql+asyncpg://postgres@{self.at('pg')}/postgres",
                "bootstrap_key": KEY,
                "secret_key": SECRET,
                "seed_file": str(self.directory / "numbers.toml"),
            },
            "web": {"listen": f"{host.address}:8080"},
            "node": {"region": "near" if host.name in NEAR else "far"},
        }

    @property
    def redis_url(self) -> str:
        """Of all three, by their sentinels."""
        return "redis+sentinel://" + ",".join(f"{self.at(name)}:26379" for name in REDIS) + "/main"

    def _api(self, host: Host) -> None:
        (self.directory / "numbers.toml").write_text(self._numbers())
        config = host.directory / "gateway.toml"
        config.write_text(to_toml(self._settings(host)))
        listen = f"{host.address}:8080"
        self._ours(host, "api", ["api", "--config", str(config), "--listen", listen])

    def _ours(self, host: Host, name: str, words: Sequence[str]) -> None:
        """Have it run a program of ours, whose clock can be set wrong."""
        command = [sys.executable, "-m", "loadtests.faults.clock", str(self._clock(host.name))]
        command += [str(PROGRAMS / "voice-gateway"), *words]
        host.runs(name, command, {"PYTHONPATH": str(ROOT)})

    def _numbers(self) -> str:
        rows: list[str] = []
        for agent, url in self.routes.endpoints.items():
            rows += ["[[agents]]", f'id = "{agent}"', f'name = "{agent}"']
            rows += [f'endpoints = [{{ url = "{url}", max_calls = {PLACES} }}]', ""]
        for number, (number_id, routed) in zip(NUMBERS, self.routes.numbers.items(), strict=True):
            rows += ["[[numbers]]", f'id = "{number_id}"', f'phone_number = "{number}"']
            second = f'{{ agent_id = "{routed.fallback}" }}'
            rows += [f'inbound_routing = {{ agent_id = "{routed.agent}", fallback = {second} }}', ""]
        return "\n".join(rows)

    def _url(self, agent: str, version: int = 0) -> str:
        """An agent's; those that speak SIP answer to every name."""
        if agent in STREAMING:
            return f"ws://{self.at(agent)}:8765/ws"
        return f"sip:agent-{version}@{self.at(agent)}:5060;media=direct"

    def _node(self, host: Host) -> None:
        carriers = host.directory / "carriers.toml"
        carriers.write_text(
            "".join(f'[[trunk]]\nname = "{name}"\nsources = ["{self.at(name)}"]\n' for name in CARRIERS)
        )
        settings = self._settings(host) | {
            "sip": {
                "listen": [f"{host.address}:5060"],
                "agent_listen": [f"{host.address}:5070"],
                "session_expires": 90,  # so that who has lost its other end notices while we wait
            },
            "admission": {
                "carriers_files": [str(carriers)],
                "trusted_proxies": [self.at(name) for name in EDGES],
                # The machine that all hosts share is slow, and that is not the question.
                "overload_delay": 10.0,
            },
            "agents": {"probe_interval": 2.0},
            "dispatch": {"response_timeout": 1.0, "ring_timeout": 3.0},
            "media": {"port_low": MEDIA_PORTS[0], "port_high": MEDIA_PORTS[1]},
            "voicemail": {"max_seconds": 10, "silence_seconds": 2.0},
        }
        config = host.directory / "gateway.toml"
        config.write_text(to_toml(settings))
        self._ours(host, "gateway", ["serve", "--config", str(config)])

    def _edge(self, host: Host) -> None:
        directory = host.directory
        shutil.copy(ROOT / "configs/kamailio/kamailio.cfg", directory)
        (directory / "site.cfg").write_text(
            f'#!define EDGE_DIRECTORY "{directory}"\n#!define EDGE_CONTROL "unix:/tmp/{host.name}.ctl"\n'
            f"#!define NODE_PATIENCE {EDGE_PATIENCE}\n"
            f"listen=udp:{host.address}:5060\nlisten=tcp:{host.address}:5060\n"
        )
        (directory / "nodes.list").write_text("".join(f"1 sip:{self.at(name)}:5060\n" for name in NODES))
        (directory / "carriers.list").write_text(f"1 {self.at('c' + host.name[1:])} 32 0 carrier\n")
        command = ["kamailio", "-f", str(directory / "kamailio.cfg"), "-DD", "-E", "-m", "32", "-M", "8"]
        command += ["-Y", str(directory), "-P", str(directory / "kamailio.pid"), "-w", str(directory)]
        host.runs("kamailio", command)

    def _agent(self, host: Host) -> None:
        if host.name in STREAMING:
            serve = f"from aiohttp import web; from examples.echo_agent import app; {_RUN_APP}"
            command = [sys.executable, "-c", serve.replace("HOST", host.address)]
            host.runs("agent", command, {"PYTHONPATH": str(ROOT)})
            return
        command = ["sipp", "-sf", str(SCENARIOS / "agent.xml"), "-i", host.address, "-p", "5060"]
        agent = host.runs("agent", [*command, "-bind_local", "-nostdin", "-aa", "-timeout", "3600s"])
        agent.polite, agent.lingers = signal.SIGUSR1, True  # its calls go on to their ends

    def edge_of(self, carrier: str) -> str:
        """The address of a carrier's edge."""
        return self.at("e" + carrier[1:])

    def carrier(
        self, name: str, target: str, sheet_name: str, *, rate: int, calls: int, talk: float
    ) -> Program:
        """Have a carrier place that many calls at an address, so many a second, of `talk` seconds each.

        sheet_name: of its files.
        """
        host = self.hosts[name]
        sheet = host.directory / f"{sheet_name}.xml"
        scenario = (ROOT / "tests/e2e/scenarios/carrier_behind_proxy.xml").read_text()
        sheet.write_text(scenario.replace("{talk}", str(round(talk * 1000))).replace("[service]", "[field0]"))
        numbers = host.directory / "numbers.csv"
        numbers.write_text("SEQUENTIAL\n" + "".join(f"{number}\n" for number in NUMBERS))
        command = ["sipp", f"{target}:5060", "-sf", str(sheet), "-inf", str(numbers)]
        command += ["-i", host.address, "-p", "5060", "-bind_local", "-nostdin", "-aa"]
        command += ["-r", str(rate), "-m", str(calls), "-l", "500", "-recv_timeout", "15000"]
        command += ["-trace_shortmsg", "-shortmessage_file", str(self.messages(name, sheet_name))]
        command += ["-trace_err", "-error_file", str(host.directory / f"{sheet_name}.err")]
        caller = host.runs("sipp", command)
        caller.may_fail = True  # so it does when a call did not go as written
        return caller

    def messages(self, carrier: str, sheet_name: str) -> Path:
        """Where a carrier's messages stand."""
        return self.hosts[carrier].directory / f"{sheet_name}.tsv"

    # Clocks.

    def _clock(self, name: str) -> Path:
        return self.hosts[name].directory / "clock"

    def skew(self, name: str, seconds: int) -> None:
        """Have the clock of one of `CLOCKS` be that far from the others'."""
        set_wrong(self._clock(name), seconds)

    # Changes, and what gateways make of them.

    def changes(self, seed: int) -> Changes:
        """Changes of the routes, from now on."""
        return Changes(
            seed,
            self._patch,
            self.routes,
            pairs=PAIRS,
            movable=[f"agt_{name}" for name in AGENTS if name not in STREAMING],
            endpoint=lambda agent, version: self._url(agent.removeprefix("agt_"), version),
            places=PLACES,
        )

    def _patch(self, path: str, body: Mapping[str, Any]) -> int | None:
        request = urllib.request.Request(
            f"http://{self.at('api')}:8080{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/merge-patch+json"},
            method="PATCH",
        )
        try:
            with urllib.request.urlopen(request, timeout=3) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, http.client.HTTPException):
            return None

    def shown(self) -> Routes:
        """The routes as the API says them."""
        shown = Routes({}, {})
        for number_id in self.routes.numbers:
            routing = json.loads(self.get("api", f"/v1/phone-numbers/{number_id}") or "{}").get(
                "inbound_routing"
            )
            if routing and routing.get("fallback"):
                shown.numbers[number_id] = Routed(routing["agent_id"], routing["fallback"]["agent_id"])
        for agent in self.routes.endpoints:
            endpoints = json.loads(self.get("api", f"/v1/agents/{agent}") or "{}").get("endpoints")
            if endpoints and len(endpoints) == 1:
                shown.endpoints[agent] = endpoints[0]["url"]
        return shown

    @property
    def number_ids(self) -> dict[str, str]:
        """Of each telephone number."""
        return dict(zip(NUMBERS, self.routes.numbers, strict=True))

    def ask(self, node: str) -> list[Recorded]:
        """What a gateway does with a call of the first carrier to each number: the records of these calls."""
        known = len(self.records(node))
        caller = self.carrier(
            CARRIERS[0],
            self.at(node),
            f"ask-{node}",
            rate=len(NUMBERS),
            calls=len(NUMBERS),
            talk=0.2,
        )
        self.until(lambda: not caller.running, f"{node} has answered", 60)
        with contextlib.suppress(TimeoutError):
            self.until(lambda: len(self.records(node)) >= known + len(NUMBERS), "all are recorded", 10)
        return self.records(node)[known:]

    def records(self, node: str) -> list[Recorded]:
        """Those in a gateway's log."""
        log = self.hosts[node].directory / "gateway.log"
        return recorded(log.read_text(errors="replace").splitlines(), node)

    # What can be asked.

    def get(self, name: str, path: str) -> str | None:
        """What a host's web server answers with 200; None for everything else."""
        request = urllib.request.Request(
            f"http://{self.at(name)}:8080{path}", headers={"Authorization": f"Bearer {KEY}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=3) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.HTTPError):
            return None

    def all_ready(self) -> bool:
        """Whether every node takes calls."""
        return all(self.get(name, "/readyz") is not None for name in NODES)

    def metric(self, name: str, sample: str) -> float:
        """The sum of a node's samples of that name, with those labels if it has some."""
        text = self.get(name, "/metrics")
        if text is None:
            return float("nan")
        lines = (line for line in text.splitlines() if line.startswith((f"{sample}{{", f"{sample} ")))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def stalls(self, name: str) -> float:
        """How often a node's event loop was late by more than a second since it started."""
        timely = self.metric(name, 'gateway_event_loop_lag_seconds_bucket{le="1.0"}')
        return self.metric(name, "gateway_event_loop_lag_seconds_count") - timely

    def history(self) -> list[dict[str, Any]]:
        """The calls that the API knows."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            text = self.get("api", f"/v1/calls?limit=100{cursor}")
            if text is None:
                return rows
            page = json.loads(text)
            rows += page["items"]
            if not page.get("next_cursor"):
                return rows
            cursor = f"&cursor={page['next_cursor']}"

    def kept_in_redis(self) -> list[str]:
        """What Redis's primary holds of calls under way: places at agents, records of calls and their
        dialogs."""
        for name in REDIS:
            if self._redis_cli(name, "ROLE")[:1] == ["master"]:
                keys = self._redis_cli(name, "--scan", "--pattern", "{vg:*")
                return [told for key in keys if (told := self._kept(name, key))]
        return ["no primary"]

    def _kept(self, name: str, key: str) -> str:
        """A key of a call under way, in words; empty for others, and where there is no call."""
        if not key.endswith((":calls", ":dialogs")):
            return ""
        total = self._redis_cli(name, "HGET", key, "total")
        if total and total[0]:
            return "" if total[0] == "0" else f"{key}: {total[0]} places"
        count = self._redis_cli(name, "HLEN", key)
        return f"{key}: {count[0]} kept" if count and count[0] not in ("0", "") else ""

    def _redis_cli(self, name: str, *words: str) -> list[str]:
        command = ["redis-cli", "-h", self.at(name), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.split("\n")[:-1]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Wait for it.

        Raises:
            TimeoutError: it did not come, or somebody ended meanwhile who should not.

        """
        deadline = time.monotonic() + seconds
        while not condition():
            for host in self.hosts.values():
                for program in host.programs:
                    if program.failed:
                        raise TimeoutError(f"{program.name} of {host.name} ended:\n{program.said}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:g} s: {what}")
            time.sleep(0.2)
