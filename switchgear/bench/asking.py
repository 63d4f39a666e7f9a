"""Single requests to a gateway: is it up, does it answer rightly, does it ask for a key."""

import http.client
import time
from collections.abc import Mapping

from switchgear.bench import payloads
from switchgear.bench.children import Child
from switchgear.bench.gateway import Gateway, Place

_POLL_S = 0.005


class NotRightError(Exception):
    """A gateway did not start, or did not answer what it had to; the text says what it did."""


def ask(gateway: Gateway, place: Place, body: str, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    """Send one request and return status and body; raise `OSError` or `HTTPException` where that fails."""
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=timeout_s)
    try:
        connection.request("POST", gateway.path, body=body.encode(), headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def wait_for_first_answer(gateway: Gateway, place: Place, child: Child, started_s: float) -> float:
    """Ask until a request is answered well and return the seconds since `started_s` (of `time.monotonic`)."""
    body, headers = payloads.body(gateway.model), gateway.request_headers(place)
    last = "nothing listens"
    while (elapsed_s := time.monotonic() - started_s) < gateway.start_within_s:
        if child.has_ended():
            raise NotRightError(f"{gateway.name} ended by itself:\n{child.log_tail()}")
        try:
            status, text = ask(gateway, place, body, headers, timeout_s=gateway.start_within_s)
        except (OSError, http.client.HTTPException) as error:
            last = repr(error)
        else:
            if status == 200 and payloads.fault_of_answer(text) is None:
                return time.monotonic() - started_s
            last = f"{status}: {text[:300]}"
        time.sleep(_POLL_S)
    raise NotRightError(f"{gateway.name} gave no answer in {elapsed_s:.0f} s; last: {last}\n{child.log_tail()}")


def check(gateway: Gateway, place: Place) -> None:
    """Ask for each kind of reply, and once with a wrong key; raise `NotRightError` if anything is amiss."""
    headers = gateway.request_headers(place)
    status, text = ask(gateway, place, payloads.body(gateway.model), headers, timeout_s=60)
    fault = payloads.fault_of_answer(text) if status == 200 else f"status {status}: {text[:300]}"
    if fault:
        raise NotRightError(f"{gateway.name}: answer: {fault}")
    for mark in (payloads.BURST, payloads.PACED):
        status, text = ask(gateway, place, payloads.body(gateway.model, mark), headers, timeout_s=60)
        fault = payloads.fault_of_stream(text) if status == 200 else f"status {status}: {text[:300]}"
        if fault:
            raise NotRightError(f"{gateway.name}: {mark} stream: {fault}")
    if gateway.auth:
        wrong = headers | {"Authorization": "Bearer sk-some-other-key"}
        status, _ = ask(gateway, place, payloads.body(gateway.model), wrong, timeout_s=60)
        if status not in (400, 401, 403):
            raise NotRightError(f"{gateway.name}: a wrong key was answered with {status}")
