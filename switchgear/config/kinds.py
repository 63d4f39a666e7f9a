"""The kinds of provider there are, what each needs, and which one a provider of the settings is."""

from urllib.parse import urlsplit

from msgspec import Struct

from switchgear.providers.compat import KINDS as COMPATIBLE


class Kind(Struct, frozen=True, kw_only=True):
    """What the settings of a provider of this kind must and may hold.

    ``url_suffix`` is the path its ``base_url`` ends with, for people who write an address without one; None where the
    address is the server's root, whatever path of another API people write behind it.
    """

    about: str
    needs_base_url: bool = False
    needs_path: bool = False
    needs_key: bool = False
    key_variables: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    base_url: str = ""
    url_suffix: str | None = None


_ABOUT = {
    "openai_compatible": "any server that speaks OpenAI chat completions",
    "llamacpp": "llama.cpp's server, started by Switchgear where no base_url is given",
}

KINDS: dict[str, Kind] = {
    name: Kind(
        about=_ABOUT.get(name, f"{row.base_url} (OpenAI-compatible)"),
        needs_base_url=name == "openai_compatible",
        needs_key=row.needs_key,
        key_variables=row.key_variables,
        prefixes=row.prefixes,
        base_url=row.base_url,
        url_suffix=urlsplit(row.base_url).path if row.base_url else "/v1",
    )
    for name, row in COMPATIBLE.items()
} | {
    "ollama": Kind(about="Ollama's own API", base_url="http://127.0.0.1:11434"),
    "tgi": Kind(about="Text Generation Inference's own API", needs_base_url=True),
    "custom": Kind(about="a Python file of your own", needs_path=True),
}


def kind_named(word: str) -> str | None:
    """The kind somebody means by ``word``, whatever the case, dashes and dots; None if there is none."""
    wanted = _letters(word)
    return next((name for name in KINDS if _letters(name) == wanted), None)


def _letters(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())
