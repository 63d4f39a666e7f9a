"""Messages and their parts as hypothesis draws them, each as OpenAI's format can carry it."""

from hypothesis import strategies as st

from switchgear.core.types import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

NAMES = st.text("abcdef_-0123456789", min_size=1, max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SAID = TEXTS.filter(bool)
BASE64 = st.sampled_from(["iVBORw0KGgo=", "AA==", "JVBERi0="])
IMAGES = st.one_of(
    st.builds(Image, url=st.just("https://example.org/a,b.png"), detail=st.none() | st.sampled_from(["low", "auto"])),
    st.builds(Image, data=BASE64, media_type=st.just("image/png"), detail=st.none() | st.just("high")),
)
DOCUMENTS = st.one_of(
    st.builds(Document, file_id=NAMES),
    st.builds(Document, data=BASE64, media_type=st.just("application/pdf"), filename=st.just("a.pdf")),
    st.builds(Document, data=BASE64, filename=st.just("a.pdf")),
)
CALLS = st.builds(ToolCall, id=NAMES, name=NAMES, arguments=TEXTS)


@st.composite
def contents(draw: st.DrawFn) -> list[Part]:
    """Parts as the format carries them: one text, or pieces of which not all are text."""
    if draw(st.booleans()):
        return [Text(draw(TEXTS))]
    pieces = draw(st.lists(st.one_of(st.builds(Text, TEXTS), IMAGES, DOCUMENTS), max_size=3))
    sound = Audio(draw(BASE64), draw(st.sampled_from(["wav", "mp3"])))
    return [*pieces, sound, *draw(st.lists(st.builds(Text, TEXTS), max_size=2))]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A turn of any role, its parts in the order the format has them."""
    role = draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"]))
    name = draw(st.none() | NAMES)
    if role in ("system", "developer"):
        return Message(role, [Text(draw(TEXTS))], name)  # type: ignore[arg-type]  # hypothesis widens the literals
    if role == "user":
        return Message("user", draw(contents()), name)
    if role == "tool":
        shown = draw(st.one_of(st.just([]), st.builds(lambda t: [Text(t)], TEXTS), st.builds(lambda i: [i], IMAGES)))
        return Message("tool", [ToolResult(draw(NAMES), shown)], name)
    thought = [Thinking(draw(SAID))] if draw(st.booleans()) else []
    text = [Text(draw(TEXTS))] if draw(st.booleans()) else []
    refusal = [Refusal(draw(SAID))] if draw(st.booleans()) else []
    return Message("assistant", [*thought, *text, *refusal, *draw(st.lists(CALLS, max_size=2))], name)
