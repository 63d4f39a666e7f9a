"""README.md and docs/ say what the code does, and their examples work."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from switchgear.config import reference, settings_from
from switchgear.core.errors import ConfigError
from switchgear.core.settings import ServerSettings, TimeoutSettings
from switchgear.engine import attempt, connection, discovery, lines, transport
from switchgear.formats import body, sse
from switchgear.policies import metrics
from switchgear.policies.log import Record
from tests.docs import facts
from tests.docs.generate import CONFIGURATION, parts_of, renewed
from tests.docs.pages import Block, anchors, blocks, first_column, links, pages, read
from tests.docs.tables import PARTS
from tests.e2e.gateway import GatewayProcess
from tests.fake import FakeProvider, Script

ADDRESS = "http://127.0.0.1:4000"
REPLY = "Hello out of the fake."
REFRESH = "run: python -m tests.docs.generate"

PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


# --- what the code knows is in the pages -------------------------------------------------------------------------


@PAGES
def test_generated_parts_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == renewed(text), REFRESH


def test_configuration_is_current() -> None:
    assert CONFIGURATION.read_text(encoding="utf-8") == reference.render(), REFRESH


def test_every_generated_part_is_in_a_page() -> None:
    used = {name for page in pages() for name in parts_of(page.read_text(encoding="utf-8"))}
    assert used == set(PARTS)


def test_every_route_is_documented() -> None:
    assert set(first_column("docs/api.md", under="# API")) == facts.routes()


def test_every_reply_header_is_documented() -> None:
    assert set(first_column("docs/headers.md")) == facts.reply_headers()


def test_every_error_code_is_documented() -> None:
    page = read("docs/errors.md")
    assert [code for code in sorted(facts.error_codes()) if f"`{code}`" not in page] == []


def test_no_documented_error_code_is_made_up() -> None:
    own = set(first_column("docs/errors.md", under="## Codes of a 400"))
    assert own | set(first_column("docs/errors.md", under="## Other codes")) <= facts.error_codes()


def test_every_label_of_a_metric_is_explained() -> None:
    labels = {label for one in facts.metrics() for label in one._labelnames}
    assert labels <= set(first_column("docs/metrics.md"))


def test_the_fields_of_a_log_record_are_documented_in_order() -> None:
    assert first_column("docs/logging.md") == list(Record.__struct_fields__)


def test_the_log_record_shown_has_only_fields_there_are() -> None:
    shown = next(block for block in blocks("json") if block.page.name == "logging.md")
    assert list(json.loads(shown.text)) == [name for name in Record.__struct_fields__ if name in shown.text]


def test_settings_that_pages_name_are_settings() -> None:
    tables = {"server": ServerSettings, "timeouts": TimeoutSettings}
    unknown = []
    for page in pages():
        for table, name in re.findall(r"`(server|timeouts)\.(\w+)", page.read_text(encoding="utf-8")):
            if name not in tables[table].__struct_fields__:
                unknown.append(f"{page.name}: {table}.{name}")
    assert unknown == []


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("api.md", f"{body.MAX_DEPTH} levels"),
        ("api.md", f"older than {discovery.FRESH_S:g} s"),
        ("errors.md", f"{body.MAX_DEPTH} levels"),
        ("metrics.md", f"beyond {metrics.MAX_LABEL_SETS:,} combinations"),
        ("logging.md", f"past {lines.MAX_HELD_BYTES >> 20} MB of waiting"),
        ("operations.md", f"closed after {connection.IDLE_EXPIRY_S:g} s of silence"),
        ("operations.md", f"Once {connection.PAUSE_AT_BYTES >> 10} KB of a stream wait"),
        ("operations.md", f"A line of a stream may be {sse.MAX_LINE_BYTES >> 20} MB"),
        ("operations.md", f"an unstreamed answer {attempt.MAX_REPLY_BYTES >> 20} MB"),
        ("operations.md", f"headers {connection.MAX_HEAD_BYTES >> 10} KB"),
        ("operations.md", f"up to {transport.SWEEP_INTERVAL_S:g} s late"),
        ("streams.md", f"longer than {sse.MAX_LINE_BYTES >> 20} MB"),
        ("streams.md", f"past {connection.PAUSE_AT_BYTES >> 10} KB in hand"),
        ("streams.md", sse.KEEPALIVE.decode().strip()),
    ],
)
def test_numbers_in_pages_are_those_of_the_code(page: str, said: str) -> None:
    assert said in " ".join(read(f"docs/{page}").split())


def test_the_targets_of_make_are_documented() -> None:
    words = re.findall(r"^([a-z]+):.*##", read("Makefile"), re.MULTILINE)
    page = read("docs/cli.md")
    assert [word for word in words if f"`make {word}`" not in page and word not in ("lint", "types", "imports")] == []


# --- the pages hang together -------------------------------------------------------------------------------------


@PAGES
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    index = facts.ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert [page.name for page in pages() if page.parent.name in ("docs", "decisions") and page not in linked] == [
        "index.md"
    ]


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_examples_are_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_configuration_examples_pass_every_check(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in re.findall(r"\./([\w.\-]+)", block.text):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    environ = {name: f"{name.lower()}-value" for name in re.findall(r"\$\{(\w+)\}", block.text)}
    settings = settings_from(_with_the_providers_it_leaves_out(block.text), environ)
    assert settings.providers


def _with_the_providers_it_leaves_out(text: str) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(text)
    return {"providers": {"ollama": {}}} | tree


def test_the_check_of_examples_can_fail() -> None:
    with pytest.raises(ConfigError):
        settings_from(_with_the_providers_it_leaves_out("default_provider: nobody"), {})


# --- the examples run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(one_fake: FakeProvider) -> dict[str, Any]:
    """What the examples are run with: the models they name, answered by the fake provider."""
    return {
        "providers": {"up": {"kind": "openai_compatible", "base_url": f"{one_fake.url}/v1"}},
        "models": {name: {"targets": ["up/fake-model"]} for name in ("smollm2", "fast")},
    }


@pytest.fixture(scope="module")
def running(settings: dict[str, Any]) -> Iterator[GatewayProcess]:
    with GatewayProcess(settings) as gateway:
        yield gateway


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], fake: FakeProvider) -> Path:
    """A folder with a ``switchgear.yaml``, to run an example in; the fake provider knows what to say."""
    fake.script("fake-model", Script(text=REPLY))
    (tmp_path / "switchgear.yaml").write_text(json.dumps({**settings, "server": {"log_requests": False}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(block: Block, address: str = ADDRESS) -> dict[str, Any]:
    """Execute an example as a program; its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block.text.replace(ADDRESS, address), str(block), "exec"), names)
    return names


def written(page: str) -> list[Block]:
    """The Python examples of a page that are not copies of a tested file."""
    return [block for block in blocks("python") if block.page.name == page and not block.generated]


def test_every_python_example_is_run_or_a_copy() -> None:
    assert {block.page.name for block in blocks("python") if not block.generated} == {"README.md", "embedding.md"}


def test_the_example_with_the_openai_sdk(
    running: GatewayProcess, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = written("README.md")
    run(example, running.url)
    assert capsys.readouterr().out == f"{REPLY}\n{REPLY}"


@pytest.mark.parametrize("block", [one for one in blocks("sh") if "curl http" in one.text], ids=str)
def test_the_curl_line_works_when_pasted(running: GatewayProcess, here: Path, block: Block) -> None:
    line = block.text.replace(ADDRESS, running.url)
    said = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=10)
    assert json.loads(said.stdout)["choices"][0]["message"]["content"] == REPLY


@pytest.mark.parametrize("block", written("embedding.md")[:2], ids=str)
def test_the_example_of_mounting(here: Path, block: Block) -> None:
    app = run(block)["app"]
    asyncio.run(_talk_to(app))


async def _talk_to(app: Any) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://host/llm/v1") as client:
        asked = {"model": "fast", "messages": [{"role": "user", "content": "hello"}]}
        whole = await client.post("/chat/completions", json=asked)
        assert (whole.status_code, whole.json()["choices"][0]["message"]["content"]) == (200, REPLY)
        streamed = await client.post("/chat/completions", json={**asked, "stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
        models = await client.get("/models")
        assert "fast" in [model["id"] for model in models.json()["data"]]
        one = await client.get("/models/up/fake-model")
        assert one.json()["id"] == "up/fake-model"


def test_the_example_of_the_library(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(written("embedding.md")[2])
    said = capsys.readouterr().out
    assert said.count(REPLY) == 2
    assert "404 model_not_found" in said
    assert "'fast'" in said
