"""The fake is a process: it starts, takes orders, keeps its pace and dies with its parent."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fake import FakeProvider, Script
from tests.fake.process import REPOSITORY

ASK = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello there"}]})


def start_by_hand(journal: str) -> tuple["subprocess.Popen[bytes]", dict[str, int]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.fake.provider", "--journal", journal],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    ports: dict[str, int] = json.loads(child.stdout.readline())
    return child, ports


def test_it_says_where_it_listens_and_ends_with_its_stdin(tmp_path: os.PathLike[str]) -> None:
    child, ports = start_by_hand(os.path.join(tmp_path, "journal"))
    assert ports.keys() == {"port", "control_port"}
    child.communicate(timeout=3)  # closes stdin
    assert child.returncode == 0


def test_it_ends_on_sigterm(tmp_path: os.PathLike[str]) -> None:
    child, _ = start_by_hand(os.path.join(tmp_path, "journal"))
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=3) == 0
    child.communicate()


def test_it_comes_back_on_the_same_port_with_its_journal() -> None:
    with FakeProvider() as fake:
        port = fake.port
        ask(fake)
        fake.stop()
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection("127.0.0.1", port).request("GET", "/v1/models")
        fake.start()
        ask(fake)
        assert fake.port == port
        assert len(fake.requests("m")) == 2


def test_a_wrong_order_is_reported() -> None:
    with FakeProvider() as fake, pytest.raises(RuntimeError, match="IndexError"):
        fake.script("m", [])


def test_any_model_can_be_scripted_at_once() -> None:
    with FakeProvider() as fake:
        fake.script("*", Script(text="anyone"))
        fake.script("m", Script(text="only m"))
        assert (b"only m" in ask(fake), b"anyone" in ask(fake, "other")) == (True, True)


def test_it_answers_more_than_a_thousand_requests_a_second() -> None:
    requests = 2000
    one = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(ASK)}\r\n\r\n{ASK}".encode()
    with FakeProvider() as fake:
        connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=10)
        connection.connect()
        # Pipelined, so that the fake is measured and not this client.
        start_s = time.monotonic()
        for _ in range(requests // 50):
            connection.sock.sendall(one * 50)
            received = 0
            while received < 50:
                received += connection.sock.recv(1 << 20).count(b"HTTP/1.1 200")
        rate = requests / (time.monotonic() - start_s)
        connection.close()
        assert len(fake.finished()) == requests
    assert rate > 1000


def ask(fake: FakeProvider, model: str = "m") -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=5)
    connection.request("POST", "/v1/chat/completions", ASK.replace('"m"', json.dumps(model)))
    answer = connection.getresponse().read()
    connection.close()
    return answer
