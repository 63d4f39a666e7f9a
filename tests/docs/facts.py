"""What the code says about itself: routes, error codes, reply headers, refusals. Read from objects or from syntax."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from switchgear.app import create_app
from switchgear.core import errors
from switchgear.core.errors import SwitchgearError
from switchgear.policies.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "switchgear"

_HEADER = re.compile(rb"[a-z]+(-[a-z]+)*")
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")
_CODE_WORDS = ("code", "upstream_code")
_NOT_SERVING = ("bench", "cli", "config", "local")


def routes() -> set[str]:
    """``METHOD /path`` of all that is served; ``{id}`` stands for the rest of a path."""
    provider = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}
    world = create_app({"providers": {"one": provider}}).edge.world
    found = {f"POST {path}" for path in world.chat_routes}
    for path, route in world.plain_routes.items():
        found |= {f"{method} {path}" for method in route.methods}
    for path, route in world.prefix_routes.items():
        found |= {f"{method} {path}{{id}}" for method in route.methods}
    return found


def error_classes() -> list[type[SwitchgearError]]:
    """What a reply may be an error of, in the order of core/errors.py."""
    groups = (SwitchgearError, errors.CallerError, errors.UpstreamError, errors.ConfigError)
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SwitchgearError)]
    return [one for one in found if one not in groups]


def error_codes() -> set[str]:
    """Every ``code`` the gateway itself can put into an error."""
    found = {one.code for one in error_classes() if one.code}
    for tree in _serving_code():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in _CODE_WORDS:
                words = (one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant))
                found |= {word for word in words if isinstance(word, str) and _CODE.fullmatch(word)}
    return found


def reply_headers() -> set[str]:
    """The names of all headers the gateway puts into replies: every ``(b"name", …)`` of the edge and the policies."""
    files = [CODE / "edge.py", CODE / "core" / "errors.py", *sorted((CODE / "policies").glob("*.py"))]
    found: set[str] = set()
    for file in files:
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
                name = node.elts[0].value
                if isinstance(name, bytes) and _HEADER.fullmatch(name):
                    found.add(name.decode())
    return found


def refusals(module: str) -> list[tuple[str, str]]:
    """Per field that a format refuses outright, the field and why: its ``untranslatable("field", "why")`` calls.

    A format is ``module`` and all the modules beside it whose names begin with that name.
    """
    files = [CODE / "formats" / f"{module}.py", *sorted((CODE / "formats").glob(f"{module}_*.py"))]
    found = []
    for node in (node for file in files for node in ast.walk(_tree(file))):
        match node:
            case ast.Call(
                func=ast.Name(id="untranslatable"),
                args=[ast.Constant(value=str(field)), ast.Constant(value=str(why))],
            ):
                found.append((field, why))
    return found


def metrics() -> list[MetricWrapperBase]:
    """The metrics, in the order of policies/metrics.py."""
    made = vars(Metrics(CollectorRegistry())).values()
    return [one for one in made if isinstance(one, MetricWrapperBase)]


def _serving_code() -> Iterator[ast.Module]:
    for file in sorted(CODE.rglob("*.py")):
        if file.relative_to(CODE).parts[0] not in _NOT_SERVING:
            yield _tree(file)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
