"""Deployment files, each put to the tool that knows its format, and to what the code says."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import healthcheck
from gateway.config import Settings, keys, load, variable
from gateway.listening import carrier_places, web_place
from gateway.passed_sockets import DIRECTIVES
from tests.e2e.sipp import require

ROOT = Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs"
KUBERNETES = CONFIGS / "kubernetes"
UNIT = CONFIGS / "systemd" / "voice-gateway.service"
SOCKET = UNIT.with_suffix(".socket")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
VARIABLES = {variable(f"{name}.{key}") for name, section in keys().items() for key in section.model_fields}

EXPOSURE = 2.0
"""What `systemd-analyze security` may give at most; below 4 it says OK, a unit without hardening has 9."""


def run(*command: str | Path, directory: Path = ROOT) -> str:
    """Its output; the test fails unless it ends with 0."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(program: str) -> Path:
    """One that came with the environment."""
    return Path(sys.executable).with_name(program)


@pytest.mark.parametrize(
    "file",
    sorted(path.relative_to(ROOT) for path in [ROOT / "compose.yaml", *CONFIGS.rglob("*.y*ml")]),
    ids=str,
)
def test_yaml_is_written_well(file: Path) -> None:
    rules = (
        "{extends: default, rules: {document-start: disable, line-length: disable, comments: {min-spaces-from-content: 1},"
        " quoted-strings: disable}}"
    )
    run(sys.executable, "-m", "yamllint", "--strict", "-d", rules, file)


# The image.


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    run(installed("hadolint"), "--failure-threshold", "style", "Dockerfile")


def test_what_the_image_copies_is_let_in() -> None:
    patterns = (ROOT / ".dockerignore").read_text().split()
    assert patterns[0] == "*"
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            path = ROOT / source
            assert path.exists(), source
            assert any(let_in == f"!{source}" or let_in.startswith(f"!{source}/") for let_in in patterns), (
                source
            )


def test_the_image_has_every_package_and_says_where_it_may_write() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        assert f"COPY {package} {package}\n" in DOCKERFILE
    assert variable("data.dir") + "=/var/lib/voice-gateway" in DOCKERFILE
    settings = Settings()
    assert f"{settings.media.port_low}-{settings.media.port_high}/udp" in DOCKERFILE


@pytest.fixture
def answering() -> Iterator[tuple[str, list[bytes]]]:
    """A server of one answer: its address, and the answer to give."""
    answers: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(answers[0])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", answers
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 0),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1),
        (b"", 1),
        (b"\xff", 1),
    ],
)
def test_the_health_check_believes_200_alone(
    answering: tuple[str, list[bytes]], answer: bytes, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    address, answers = answering
    answers.append(answer)
    assert healthcheck.main(address) == status
    assert ("not alive" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "127.0.0.1:99999"])
def test_the_health_check_says_what_is_wrong(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main(address) == 1
    assert address in capsys.readouterr().err


# Compose.


def test_compose_follows_the_specification() -> None:
    run(installed("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def environment(service: str) -> dict[str, str]:
    return dict(COMPOSE["services"][service].get("environment", {}))


NODES = ["gateway-1", "gateway-2"]


@pytest.mark.parametrize("node", NODES)
def test_compose_tells_nodes_what_they_know(node: str) -> None:
    assert environment(node).keys() <= VARIABLES
    assert COMPOSE["services"][node]["read_only"] is True


def test_nodes_on_one_machine_share_no_port() -> None:
    listens = [environment(node)["VOICE_GATEWAY_SIP__LISTEN"] for node in NODES]
    webs = [environment(node)["VOICE_GATEWAY_WEB__LISTEN"] for node in NODES]
    ranges = [
        range(
            int(environment(node)["VOICE_GATEWAY_MEDIA__PORT_LOW"]),
            int(environment(node)["VOICE_GATEWAY_MEDIA__PORT_HIGH"]) + 1,
        )
        for node in NODES
    ]
    assert len(set(listens)) == len(set(webs)) == 2
    assert not set(ranges[0]) & set(ranges[1])
    scraped = yaml.safe_load((CONFIGS / "compose" / "nodes.yml").read_text())[0]["targets"]
    assert [web.replace("127.0.0.1", "localhost") for web in webs] == scraped


def test_every_value_that_compose_wants_stands_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    offered = re.findall(r"^(\w+)=", (CONFIGS / "compose" / "example.env").read_text(), re.MULTILINE)
    assert wanted == set(offered)


def test_compose_mounts_what_is_there_and_grafana_finds_its_dashboards() -> None:
    for service in COMPOSE["services"].values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount
    provider = yaml.safe_load((CONFIGS / "grafana/provisioning/dashboards/voice-gateway.yml").read_text())
    path = provider["providers"][0]["options"]["path"]
    assert any(
        mount.endswith(f"configs/grafana:{path}:ro") for mount in COMPOSE["services"]["grafana"]["volumes"]
    )


def test_nodes_have_longer_than_their_drain_takes() -> None:
    drain = Settings().drain.timeout
    assert int(COMPOSE["services"]["gateway-1"]["stop_grace_period"].removesuffix("s")) > drain
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)[0]) > drain
    pod = kubernetes("StatefulSet")["spec"]["template"]["spec"]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    configured = load(KUBERNETES / "base" / "gateway.toml", environ={}).drain.timeout
    assert pod["terminationGracePeriodSeconds"] > before + configured


# Kubernetes.


@functools.cache
def rendered(directory: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(run(require("kubectl"), "kustomize", directory, directory=KUBERNETES)))


def kubernetes(kind: str) -> dict[str, Any]:
    return next(each for each in rendered("base") if each["kind"] == kind)


@pytest.mark.parametrize("directory", ["base", "udp-load-balancer"])
def test_kubernetes_takes_what_kustomize_makes(directory: str, tmp_path: Path) -> None:
    resources = rendered(directory)
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(resources))
    run(installed("kubernetes-validate"), "--strict", file)
    used = yaml.safe_load((KUBERNETES / directory / "kustomization.yaml").read_text())["resources"]
    files = {path.name for path in (KUBERNETES / directory).glob("*.yaml")} - {"kustomization.yaml"}
    assert set(used) == files


def test_pods_are_found_by_what_selects_them() -> None:
    labels = kubernetes("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    ports = {
        port["name"]
        for port in kubernetes("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    selectors = [
        kubernetes("StatefulSet")["spec"]["selector"]["matchLabels"],
        kubernetes("Service")["spec"]["selector"],
        kubernetes("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        kubernetes("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(each["spec"]["selector"] for each in rendered("udp-load-balancer")),
        rendered("prometheus-operator")[0]["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    for service in [kubernetes("Service"), *rendered("udp-load-balancer")]:
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert {
        each["port"] for each in rendered("prometheus-operator")[0]["spec"]["podMetricsEndpoints"]
    } <= ports


def test_the_pods_configuration_is_one_that_the_gateway_takes() -> None:
    settings = load(KUBERNETES / "base" / "gateway.toml", environ={})
    pod = kubernetes("StatefulSet")["spec"]["template"]["spec"]
    assert settings.web.listen.endswith(":8080")
    allowed = json.dumps(kubernetes("NetworkPolicy")["spec"]["ingress"])
    assert f'"port": {settings.media.port_low}' in allowed
    assert f'"endPort": {settings.media.port_high}' in allowed
    assert kubernetes("ConfigMap")["metadata"]["name"] == pod["volumes"][1]["configMap"]["name"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


# systemd.


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, its program where this environment has it."""
    require("systemd-analyze")
    text = UNIT.read_text()
    home = "/srv/voice-gateway"
    copy = tmp_path / UNIT.name
    copy.write_text(
        text.replace(f"{home}/.venv/bin", str(Path(sys.executable).parent)).replace(home, str(ROOT))
    )
    return copy


@pytest.mark.parametrize("also_sockets", [False, True], ids=["alone", "with its sockets"])
def test_systemd_takes_the_unit(unit: Path, also_sockets: bool) -> None:
    units = [unit]
    if also_sockets:
        units.append(unit.with_name(SOCKET.name))
        shutil.copy(SOCKET, unit.parent)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60
    )
    about_us = [line for line in done.stderr.splitlines() if UNIT.stem in line]
    assert not about_us
    assert done.returncode == 0, done.stderr


def test_the_socket_unit_opens_what_the_gateway_expects() -> None:
    """As the gateway is configured where nobody says otherwise; the line of TLS is one to be uncommented."""
    lines = re.findall(r"^(?:# )?(Listen\w+)=(.*)$", SOCKET.read_text(), re.MULTILINE)
    certified = Settings(sip={"tls_certificate": Path("some.pem")})  # type: ignore[arg-type]
    places = [*carrier_places(certified), web_place(certified)]
    assert lines == [(DIRECTIVES[place.kind], place.text) for place in places]


def test_the_unit_is_hardened(unit: Path) -> None:
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    run("systemd-analyze", "security", "--offline=true", threshold, unit)


def test_files_that_name_variables_name_known_ones() -> None:
    for path in [UNIT, ROOT / "Dockerfile", *KUBERNETES.rglob("*.*"), ROOT / "docs" / "deploy.md"]:
        named = set(re.findall(r"VOICE_GATEWAY_[A-Z]+__[A-Z_]+", path.read_text()))
        assert named <= VARIABLES, path


def test_the_wheel_runs_alone_and_writes_to_its_data_directory_only(tmp_path: Path) -> None:
    """As in the image: the wheel beside its dependencies, with nothing of the checkout at hand."""
    wheels, site, place = tmp_path / "wheels", tmp_path / "site", tmp_path / "place"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels)
    shutil.unpack_archive(next(wheels.glob("*.whl")), site, "zip")
    (place / "configs").mkdir(parents=True)
    shutil.copy(CONFIGS / "carriers.toml", place / "configs")
    before = set(tmp_path.rglob("*"))
    program = (
        "import sys, gateway.cli; assert gateway.cli.__file__.startswith(sys.argv.pop(1)), gateway.cli.__file__;"
        "gateway.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(site), "check"],
        cwd=place,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VOICE_GATEWAY_DATA__DIR": str(tmp_path / "data"),
            "VOICE_GATEWAY_SIP__LISTEN": "127.0.0.1:0",
            "VOICE_GATEWAY_WEB__LISTEN": "127.0.0.1:0",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = set(tmp_path.rglob("*")) - before
    assert all(tmp_path / "data" in (path, *path.parents) for path in written)
