"""Whatever is written, the answer is settings or a list of mistakes, never a crash."""

import json
from contextlib import suppress

import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from switchgear.config import settings_from
from switchgear.config.kinds import KINDS
from switchgear.core.errors import ConfigError
from switchgear.core.settings import (
    KeySettings,
    LimitSettings,
    ModelSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
    TimeoutSettings,
)

TABLES = (KeySettings, LimitSettings, ModelSettings, ProviderSettings, ServerSettings, Settings, TimeoutSettings)
NAMES = sorted({field.name for table in TABLES for field in fields(table)})

words = st.sampled_from([*NAMES, *KINDS, "a", "gpt-*", "a/b", "x y", ""]) | st.text(max_size=5)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.floats()
    | words
    | st.sampled_from(["${A}", "${B:-1}", "${", "http://h/v1", "http://[", "0.0.0.0", "::1", "4000", "1e5"])
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4))
documents = st.dictionaries(st.sampled_from([field.name for field in fields(Settings)]) | words, trees, max_size=4)
paths = st.lists(st.sampled_from([name.upper() for name in [*NAMES, "0", "A", "OLLAMA"]]), min_size=1, max_size=4)
variables = st.dictionaries(
    st.sampled_from(["A", "LLM_BACKEND", "LLM_BACKEND_URL", "MAX_CONCURRENT", "API_KEYS_JSON", "OPENAI_API_KEY"])
    | paths.map(lambda path: "SWITCHGEAR__" + "__".join(path)),
    words | trees.map(json.dumps),
    max_size=3,
)


@given(documents, variables)
def test_a_tree(document: dict[str, object], environ: dict[str, str]) -> None:
    with suppress(ConfigError):
        settings_from(document, environ)


@given(st.text(max_size=40) | documents.map(yaml.safe_dump), variables)
def test_a_text(text: str, environ: dict[str, str]) -> None:
    with suppress(ConfigError):
        settings_from(text, environ)
