"""`voice-gateway carriers` as an operator types it, against a local Twilio; and what is admitted, against what is published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from gateway.admission.carriers import Carrier, CarrierTable
from gateway.admission.carriers_file import load_carriers
from gateway.admission.published_ranges import OLD_DAYS
from gateway.cli.carrier_checks import admission_findings
from tests.carriers import twilio_server
from tests.carriers.faults import Fault
from tests.carriers.twilio_server import TwilioServer
from tests.cli.shell import Shell, running_api

NUMBER = "+14155550111"
SHIPPED = Path(__file__).parents[2] / "configs" / "carriers.toml"
TODAY = date(2026, 11, 27)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, TwilioServer]]:
    """An API that runs, with one integration, at a local Twilio."""
    directory, server = tmp_path_factory.mktemp("office"), TwilioServer()
    server.own(NUMBER)
    with server.running_in_a_thread():
        more = (
            f'[carriers]\nnodes = "voice.example.com:5060"\ntwilio_url = "{server.address}"\n'
            f'[admission]\ncarriers_files = "{SHIPPED}"\n'
        )
        with running_api(directory, more) as shell:
            shell.environ["VOICE_GATEWAY_CONFIG"] = str(directory / "gateway.toml")
            integration(shell, twilio_server.AUTH_TOKEN)
            yield shell, server


@pytest.fixture
def shell(office: tuple[Shell, TwilioServer]) -> Shell:
    """Commands to the API."""
    return office[0]


@pytest.fixture
def twilio(office: tuple[Shell, TwilioServer]) -> Iterator[TwilioServer]:
    """An account that has a number, and nothing else."""
    server = office[1]
    for left in (server.asked, server.trunks, server.origination, server.trunk_credentials):
        left.clear()
    for kept in (server.credential_lists, server.credentials, server.passwords):
        kept.clear()
    server.number(NUMBER)["trunk_sid"] = None
    yield server
    server.check()


def integration(shell: Shell, token: str) -> str:
    body = {
        "name": "My Twilio Account",
        "provider": "twilio",
        "api_key": token,
        "metadata": {"account_sid": twilio_server.ACCOUNT_SID, "phone_number": NUMBER},
    }
    return str(shell.post("/v1/integrations", body)["id"])


def test_set_up_from_the_plan_to_a_clean_bill_of_health(shell: Shell, twilio: TwilioServer):
    sick = shell.run("carriers", "doctor")
    assert sick.returncode == 1 and "number not attached" in sick.stdout and "fix: " in sick.stdout
    plan = shell.ok("carriers", "setup", "twilio", "--dry-run")
    assert "create trunk" in plan and "sip:voice.example.com:5060, priority 10, weight 10" in plan
    assert twilio.changes() == []
    assert "--yes" in shell.fails("carriers", "setup", "twilio")  # nobody is there to ask
    assert twilio.changes() == []
    done = shell.ok("carriers", "setup", "twilio", "--yes")
    assert "✓ attach number" in done and "voice-gateway-000000000001.pstn.twilio.com" in done
    assert "nothing to change" in shell.ok("carriers", "setup", "twilio", "--yes")
    well = shell.json("carriers", "doctor", "twilio", "--country", "US")
    assert well["healthy"] is True and well["admission"] == []
    assert [each["findings"] for each in well["integrations"]] == [[]]


def test_a_step_that_fails_ends_in_status_1_and_the_next_run_goes_on(shell: Shell, twilio: TwilioServer):
    body = twilio_server.twilio_error(400, 21219, "that is not allowed here")
    twilio.fail("POST /v1/Trunks/{TrunkSid}/PhoneNumbers", Fault("refused", 400, body))
    failed = shell.run("carriers", "setup", "twilio", "--yes")
    assert failed.returncode == 1 and "✗ attach number" in failed.stdout
    assert (
        "twilio says: " in failed.stderr
        and "not allowed here" in failed.stderr
        and "run it again" in failed.stderr
    )
    again = json.loads(shell.ok("carriers", "setup", "twilio", "--yes", "--json"))
    assert [each["change"] for each in again["steps"]] == ["attach number"] and again["complete"] is True


def test_credentials_come_from_standard_input_and_are_never_shown(shell: Shell, twilio: TwilioServer):
    arguments = ("carriers", "setup", "twilio", "--yes", "--auth-username", "gateway")
    done = shell.run(*arguments, stdin="IWasAtTheGate2026\n")
    assert done.returncode == 0 and "IWasAtTheGate2026" not in done.stdout + done.stderr
    assert twilio.passwords == {"gateway": "IWasAtTheGate2026"}
    assert "empty" in shell.fails(*arguments)


def test_which_integration_is_meant(shell: Shell, twilio: TwilioServer):
    assert "no integration of telnyx" in shell.fails("carriers", "setup", "telnyx", "--dry-run")
    wrong = integration(shell, "a-wrong-token")
    assert "--integration" in shell.fails("carriers", "setup", "twilio", "--dry-run")
    assert "no integration of twilio" in shell.fails(
        "carriers", "setup", "twilio", "--dry-run", "--integration", "crd_none"
    )
    refused = shell.run("carriers", "doctor", "--integration", wrong)
    assert (
        refused.returncode == 1 and "credentials" in refused.stdout and "a-wrong-token" not in refused.stdout
    )


def shipped(name: str = "twilio") -> Carrier:
    return next(each for each in load_carriers([SHIPPED]) if each.name == name)


def checks(trunk: Carrier | None, today: date = TODAY) -> list[dict[str, Any]]:
    return admission_findings(CarrierTable([trunk] if trunk else []), "twilio", today)


def test_what_is_admitted_is_compared_with_what_is_published():
    assert checks(shipped()) == []
    narrower = checks(replace(shipped(), sources=shipped().sources[2:]))
    assert [each["check"] for each in narrower] == ["source not admitted"] * 2
    assert all(each["grave"] and "twilio.com" in each["detail"] for each in narrower)
    silent = checks(replace(shipped(), media_sources=(ip_network("192.0.2.0/24"),)))
    assert [each["check"] for each in silent] == ["media not admitted"]
    wider = checks(replace(shipped(), sources=(*shipped().sources, ip_network("203.0.113.0/24"))))
    assert [(each["check"], each["grave"]) for each in wider] == [("source not published", False)]
    later = TODAY + timedelta(days=OLD_DAYS + 1)
    assert [(each["check"], each["grave"]) for each in checks(shipped(), later)] == [("ranges old", False)]


def test_without_an_entry_every_range_is_missing():
    assert {each["check"] for each in checks(None)} == {"source not admitted"}
    other = CarrierTable([replace(shipped(), name="my-twilio")])
    assert [each["check"] for each in admission_findings(other, "twilio", TODAY)] == ["trunk entry"]
