"""Calls offered against outcomes and records, and what the schedule explains."""

from __future__ import annotations

import json

from loadtests.faults.calls import Account, Placed, Recorded, account, placed, recorded
from loadtests.faults.schedule import Fault

START = 1000.0
ON_THE_WAY = {"n1": "10.0.0.1", "n2": "10.0.0.2", "e1": "10.0.0.3", "a1": "10.0.0.4", "a2": "10.0.0.40"}
KILLED = Fault(5.0, 6.0, "kill", "n1")


def said(at: float, direction: str, cseq: str, begins: str, call_id: str = "1@c") -> str:
    return f"2026-11-28\t06:00:39.5\t{START + at:.6f}\t{direction}\t{call_id}\tCSeq:{cseq}\t{begins}\n"


INVITE = said(1.0, "S", "1 INVITE", "INVITE sip:+14155550101@e SIP/2.0")
ANSWER = said(1.2, "R", "1 INVITE", "SIP/2.0 200 OK")
BYE = said(3.2, "S", "2 BYE", "BYE sip:n SIP/2.0")
GOODBYE = said(3.3, "R", "2 BYE", "SIP/2.0 200 OK")


def outcomes(*lines: str) -> list[str]:
    return [call.outcome for call in placed(lines, "c1", START)]


def test_a_call_has_one_outcome() -> None:
    assert outcomes(INVITE, ANSWER, BYE, GOODBYE) == ["completed"]
    assert outcomes(INVITE) == ["unanswered"]
    assert outcomes(INVITE, said(1.1, "R", "1 INVITE", "SIP/2.0 100 Trying")) == ["unanswered"]
    assert outcomes(INVITE, said(1.1, "R", "1 INVITE", "SIP/2.0 503 Full")) == ["refused 503"]
    assert outcomes(INVITE, ANSWER, BYE) == ["vanished"]
    assert outcomes(INVITE, ANSWER, BYE, said(3.3, "R", "2 BYE", "SIP/2.0 481 No")) == ["vanished"]
    assert outcomes(INVITE, ANSWER, said(2, "R", "1 BYE", "BYE sip:c SIP/2.0")) == ["cut off"]


def test_what_is_torn_or_of_another_process_is_left_out() -> None:
    assert outcomes(INVITE, ANSWER, "2026-11-28\t06:00:3") == ["vanished"]
    assert outcomes(said(1, "R", "7 BYE", "BYE sip:c SIP/2.0", "other@c")) == []


def test_times_count_from_the_start_of_the_load() -> None:
    (call,) = placed([INVITE, ANSWER, BYE, GOODBYE], "c1", START)
    assert (round(call.at, 3), round(call.over, 3)) == (1.0, 3.3)


def test_records_are_read_from_logs() -> None:
    tried = [{"endpoint": "sip:a"}]
    row = {"call_id": "x", "sip_call_id": "1@c", "outcome": "agent", "tried": tried, "number": "+1"}
    lines = [json.dumps(row), '{"event": "ready"}', "no JSON", json.dumps(row)[:-8]]
    assert recorded(lines, "n1") == [Recorded("x", "1@c", "n1", "agent", ("sip:a",), "+1")]


def call(at: float, over: float, *, completed: bool, call_id: str = "1@c") -> Placed:
    made = Placed(call_id, "c1", at, 200, "carrier" if completed else "", over)
    made.answers[200] = 1
    return made


def of_node(node: str, call_id: str = "1@c") -> Recorded:
    return Recorded("x", call_id, node, "agent", ())


def balance(calls: list[Placed], records: list[Recorded], *faults: Fault) -> Account:
    return account(calls, records, faults, ON_THE_WAY)


def test_all_is_well() -> None:
    result = balance([call(1, 3, completed=True)], [of_node("n1")])
    assert (result.offered, dict(result.outcomes), result.unexplained) == (1, {"completed": 1}, [])


def test_a_failed_call_needs_a_fault_on_its_way_and_in_its_time() -> None:
    lost = call(4, 5.5, completed=False)
    assert not balance([lost], [], KILLED).unexplained
    assert not balance([lost], [of_node("n1")], KILLED).unexplained
    assert balance([lost], [of_node("n2")], KILLED).unexplained  # another node had it
    assert balance([call(1, 3, completed=False)], [of_node("n1")], KILLED).unexplained  # long before
    assert balance([call(60, 63, completed=False)], [of_node("n1")], KILLED).unexplained  # long after
    assert balance([lost], [of_node("n1")], Fault(5.0, 6.0, "kill", "r1")).unexplained  # Redis loses no call
    assert balance([lost], [of_node("n1")], Fault(5.0, 6.0, "skew", "n1", 90)).unexplained  # nor does a clock


def test_an_agent_is_a_cause_only_of_calls_that_it_was_tried_for() -> None:
    lost, killed = call(4, 5.5, completed=False), Fault(5.0, 6.0, "kill", "a1")
    tried = Recorded("x", lost.call_id, "n1", "agent", ("sip:agent@10.0.0.4:5060;media=direct",))
    another = Recorded("x", lost.call_id, "n1", "agent", ("sip:agent@10.0.0.40:5060;media=direct",))
    assert not balance([lost], [tried], killed).unexplained
    assert balance([lost], [another], killed).unexplained


def test_the_gateway_that_had_a_call_is_a_cause_whoever_has_its_record() -> None:
    lines = [INVITE, ANSWER, said(1.3, "S", "1 ACK", "ACK sip:10.0.0.1:5060 SIP/2.0"), BYE]
    (lost,) = placed(lines, "c1", START)
    assert lost.targets == {"10.0.0.1", "n"}
    killed = Fault(2.0, 3.0, "kill", "n1")
    assert not balance([lost], [of_node("n2")], killed).unexplained


def test_a_gateway_that_ends_in_good_order_costs_no_call() -> None:
    lost = call(4, 5.5, completed=False)
    assert balance([lost], [of_node("n1")], Fault(5.0, 6.0, "restart", "n1")).unexplained
    assert not balance([lost], [of_node("n1")], Fault(5.0, 6.0, "restart", "e1")).unexplained


def test_a_cut_between_the_regions_costs_only_calls_that_it_met() -> None:
    cut = Fault(5.0, 14.0, "cut", "sea")
    met, later = call(4, 5.5, completed=False), call(11.5, 12, completed=False)
    assert not balance([met], [of_node("n1")], cut).unexplained
    assert balance([later], [of_node("n1")], cut).unexplained
    result = balance([met, later, call(12, 13, completed=True, call_id="2@c")], [], cut)
    assert dict(result.local) == {"vanished": 1, "completed": 1}


def test_a_call_that_went_well_needs_one_record() -> None:
    well = call(1, 3, completed=True)
    assert balance([well], []).unexplained
    assert balance([well], [of_node("n1"), of_node("n2")]).unexplained
    assert balance([well], [of_node("n1"), of_node("n2", "2@c")]).unexplained
