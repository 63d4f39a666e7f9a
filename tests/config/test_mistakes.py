"""Every mistake is found at once, each with its path, what was expected and what may have been meant."""

from pathlib import Path

import pytest

from switchgear.config import settings_from
from switchgear.core.errors import ConfigError


def mistakes(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from(text, environ or {})
    return list(caught.value.problems)


CASES = [
    # Names of settings
    ("server: {prot: 1}", "server.prot: unknown setting; did you mean 'port'?"),
    ("providrs: {}", "providrs: unknown setting; did you mean 'providers'?"),
    (
        "keys: [{key: k, name: n, limits: {burst: 1}}]",
        "keys[0].limits.burst: unknown setting; known here: requests_per_minute",
    ),
    ("providers: {ollama: {base_ulr: x}}", "providers.ollama.base_ulr: unknown setting; did you mean 'base_url'?"),
    # Types and ranges
    ("server: {port: abc}", "server.port: expected a whole number from 0 to 65535, got 'abc'"),
    ("server: {port: 65536}", "server.port: expected a whole number from 0 to 65535, got 65536"),
    ("server: {port: 1.5}", "server.port: expected a whole number from 0 to 65535, got 1.5"),
    ("server: {port: true}", "server.port: expected a whole number from 0 to 65535, got true"),
    ("server: {port: }", "server.port: expected a whole number from 0 to 65535, got nothing"),
    ("server: {workers: 0}", "server.workers: expected a whole number of at least 1, got 0"),
    ("server: {host: 1}", "server.host: expected text, got 1; put it in quotes"),
    ("server: {host: ''}", "server.host: empty; expected an address such as 127.0.0.1"),
    ("server: {log_requests: maybe}", "server.log_requests: expected true or false, got 'maybe'"),
    ("server: []", "server: expected a table of settings, got a list"),
    ("server: {cors_origins: x}", "server.cors_origins: expected a list, got text"),
    ("timeouts: {connect_s: 0}", "timeouts.connect_s: expected a number above 0, got 0"),
    ("timeouts: {total_s: -1}", "timeouts.total_s: expected a number above 0, got -1"),
    ("timeouts: {total_s: .inf}", "timeouts.total_s: expected a number above 0, got inf"),
    ("timeouts: {total_s: .nan}", "timeouts.total_s: expected a number above 0, got nan"),
    ("default_provider: 2024-01-01", "default_provider: expected text, got a date; put it in quotes"),
    ("providers: [ollama]", "providers: expected a table of names and values, got a list"),
    ("models: {m: {}}", "models.m.targets: missing; expected a list"),
    ("keys: [{key: k}]", "keys[0].name: missing; expected text"),
    ("keys: [{name: n}]", "keys[0].key: missing; expected text"),
    # Providers
    ("providers: {x: {kind: vlm}}", "providers.x.kind: there is no kind 'vlm'; did you mean 'vllm'?"),
    ("providers: {opena: }", "providers.opena.kind: missing, and 'opena' is no known provider; did you mean 'openai'?"),
    (
        "providers: {zzz: }",
        "providers.zzz.kind: missing, and 'zzz' is no known provider; "
        "say openai_compatible for any server that speaks OpenAI chat completions",
    ),
    (
        "providers: {x: {kind: openai_compatible}}",
        "providers.x.base_url: missing; kind openai_compatible needs the address of its server",
    ),
    (
        "providers: {tgi: }",
        "providers.tgi.base_url: missing; kind tgi needs the address of its server, here or in LLM_BACKEND_URL",
    ),
    (
        "providers: {x: {kind: custom}}",
        "providers.x.path: missing; kind custom needs the Python file that holds it",
    ),
    (
        "providers: {vllm: {base_url: localhost:8000}}",
        "providers.vllm.base_url: expected an http:// or https:// URL such as http://127.0.0.1:8000/v1",
    ),
    (
        "providers: {vllm: {base_url: 'http://h:99999/v1'}}",
        "providers.vllm.base_url: expected an http:// or https:// URL such as http://127.0.0.1:8000/v1",
    ),
    (
        "providers: {vllm: {base_url: 'http://u:p@h/v1'}}",
        "providers.vllm.base_url: holds a user name or password; say api_key or headers instead",
    ),
    (
        "providers: {vllm: {base_url: 'http://h/v1?x=1'}}",
        "providers.vllm.base_url: expected a URL of plain characters without '?' and '#', for paths are added to it",
    ),
    (
        "providers: {a/b: {kind: ollama}}",
        "providers.a/b: a provider's name may not be empty nor hold '/', ':', '*' or spaces",
    ),
    (
        "providers: {ollama: {headers: {Connection: close}}}",
        "providers.ollama.headers.Connection: the gateway sets this header itself; remove it",
    ),
    ("providers: {ollama: {headers: {'a b': x}}}", 'providers.ollama.headers."a b": not the name of a header'),
    (
        'providers: {ollama: {headers: {a: "x\\r\\ny: z"}}}',
        "providers.ollama.headers.a: holds a line end or another character that a header cannot have",
    ),
    (
        'providers: {vllm: {api_key: "k\\n"}}',
        "providers.vllm.api_key: holds a space, a line end or another character that a key cannot have",
    ),
    # Models
    (
        "providers: {openai: {api_key: k}}\nmodels: {fast: {targets: [opnai/x]}}",
        "models.fast.targets[0]: there is no provider 'opnai'; did you mean 'openai'?",
    ),
    (
        "providers: {openai: {api_key: k}}\nmodels: {gpt-4.1: {targets: [openai/]}}",
        "models.\"gpt-4.1\".targets[0]: no model after the '/'; 'openai' alone keeps the name the client asked for",
    ),
    ("models: {m: {targets: [x]}}", "models.m.targets[0]: there is no provider 'x'; there are no providers"),
    ("models: {m: {targets: []}}", "models.m.targets: empty; expected at least one 'provider/model' or 'provider'"),
    (
        "providers: {ollama: }\nmodels: {a*b: {targets: [ollama]}}",
        "models.a*b: a model's name may not be empty, and '*' may only be its last character",
    ),
    (
        "providers: {ollama: , vllm: }\ndefault_provider: x",
        "default_provider: there is no provider 'x'; there are ollama, vllm",
    ),
    # Keys and who may call
    (
        "keys: [{key: a, name: n}, {key: b, name: n}]",
        "keys[1].name: already the name of keys[0]; names must differ",
    ),
    (
        "keys: [{key: a, name: n}, {key: a, name: m}]",
        "keys[1].key: the same key as keys[0]; keys must differ",
    ),
    ("keys: [{key: '', name: n}]", "keys[0].key: empty; expected the key itself"),
    ("keys: [{key: a, name: ''}]", "keys[0].name: empty; expected what logs shall call this key"),
    (
        "keys: [{key: a, name: n, models: ['*x']}]",
        "keys[0].models[0]: a model's name may not be empty, and '*' may only be its last character",
    ),
    (
        "keys: [{key: a, name: n, limits: {requests_per_minute: 0}}]",
        "keys[0].limits.requests_per_minute: expected a whole number of at least 1, got 0",
    ),
    (
        "server: {host: 0.0.0.0}",
        "server.host: '0.0.0.0' can be reached from other machines and there are no keys, so anyone could use your "
        "providers; add keys, or listen on 127.0.0.1",
    ),
    (
        "server: {cors_origins: ['https://a.example/']}",
        "server.cors_origins[0]: expected '*' or an origin such as https://app.example.com, "
        "without a path or a slash at its end",
    ),
    # References
    (
        "default_provider: ${NOPE}",
        "default_provider: the environment variable NOPE is not set; set it, or write ${NOPE:-} where it may be absent",
    ),
    (
        "default_provider: ${not a name}",
        "default_provider: expected ${NAME} or ${NAME:-default} after '${'; write $${ for the characters themselves",
    ),
    # The text itself
    ("a: [1\nb: 2", "the document: line 2, column 2: expected ',' or ']', but got ':' (while parsing a flow sequence)"),
    ("a: b: c", "the document: line 1, column 5: mapping values are not allowed here"),
    (
        "server:\n  port: 1\n  host: ::1\n  port: 2\n",
        "the document: line 4, column 3: 'port' is given twice, first in line 2; keep one",
    ),
    ("- 1", "the document: expected a table of settings such as 'server:' and 'providers:'"),
    ("a: \x00", "the document: not YAML: it holds a character that text files do not"),
    ("{" * 5000, "the document: not YAML that can be used; quote dates, and nest less deeply"),
    ("a: &a [*a]", "a[0][0][0]"),
]


@pytest.mark.parametrize(("text", "line"), CASES, ids=[text[:60] for text, _ in CASES])
def test_a_mistake_is_said_in_one_line(text: str, line: str) -> None:
    found = mistakes(text)
    assert len(found) == 1, f"one mistake, one line: {found}"
    assert found[0] == line or (line.endswith("[0]") and found[0].startswith(line))


def test_all_mistakes_are_found_at_once(tmp_path: Path) -> None:
    found = mistakes(
        """
        server: {prot: 1, port: abc, host: 0.0.0.0}
        default_provider: opnai
        providers:
          vllm-1: {kind: vlm, timeouts: {connect_s: -1}}
          openai: {api_key: "${UNSET_KEY}"}
        models: {fast: {targets: [vllm1/x]}}
        """,
        {"SWITCHGEAR__SERVER__WORKER": "2", "API_KEYS_JSON": "{"},
    )
    assert [line.split(": ")[0] for line in found] == [
        "providers.openai.api_key",
        "API_KEYS_JSON",
        "SWITCHGEAR__SERVER__WORKER",
        "server.prot",
        "server.port",
        "providers.vllm-1.timeouts.connect_s",
        "server.host",
        "providers.vllm-1.kind",
        "models.fast.targets[0]",
        "default_provider",
    ]


def test_a_misspelt_name_is_not_missed_as_well() -> None:
    assert len(mistakes("providers: {x: {knd: tgi, base_url: 'http://h'}}")) == 1
    assert len(mistakes("keys: [{kye: k, name: n}]")) == 1
    assert len(mistakes("keys: [text]")) == 1
