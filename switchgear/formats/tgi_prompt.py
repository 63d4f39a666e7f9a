"""A conversation as the one text that TGI takes: chat templates, turns, and the tools or JSON the system turn asks for.

* **Turns become text** by one of CHAT_TEMPLATES, which the operator picks to suit the model. The template writes no
  beginning-of-sequence mark: TGI's tokenizer adds it. A tool's result is a turn of the user, because most templates
  know no other. As with every template, text that spells out a control token is read as that token.
* **Tools are described in the system turn**, and a call is written ``{"tool_calls": [{"name": …, "arguments": {…}}]}``.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple

from switchgear.core.types import (
    Image,
    Message,
    Prompt,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    to_json,
)
from switchgear.formats.body import read_arguments, untranslatable
from switchgear.formats.tgi_grammar import must_call, parameters_of

# --- chat templates ----------------------------------------------------------------------------------------------


class Turn(NamedTuple):
    """One turn as text; ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    text: str


def chatml(turns: list[Turn]) -> str:
    """ChatML, as Qwen, SmolLM2 and many others: https://huggingface.co/HuggingFaceTB/SmolLM2-1.7B-Instruct."""
    return "".join(f"<|im_start|>{t.role}\n{t.text}<|im_end|>\n" for t in turns) + "<|im_start|>assistant\n"


def llama3(turns: list[Turn]) -> str:
    """Llama 3: https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3."""
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    said = "".join(f"{head.format(turn.role)}{turn.text.strip()}<|eot_id|>" for turn in turns)
    return said + head.format("assistant")


def mistral(turns: list[Turn]) -> str:
    """Mistral 7B v0.3: https://huggingface.co/mistralai/Mistral-7B-Instruct-v0.3. The system's words open the last
    turn of the user, and turns of one role that follow each other are one."""
    system = [turn.text for turn in turns if turn.role == "system"]
    rest = [turn for turn in turns if turn.role != "system"]
    runs = [Turn(role, "\n\n".join(t.text for t in run)) for role, run in groupby(rest, lambda t: t.role)]
    last = max((number for number, turn in enumerate(runs) if turn.role == "user"), default=len(runs))
    if last == len(runs):
        runs.append(Turn("user", ""))
    runs[last] = Turn("user", "\n\n".join(filter(None, [*system, runs[last].text])))
    return "".join(f"[INST] {t.text}[/INST]" if t.role == "user" else f" {t.text}</s>" for t in runs)


def zephyr(turns: list[Turn]) -> str:
    """Zephyr: https://huggingface.co/HuggingFaceH4/zephyr-7b-beta."""
    return "".join(f"<|{turn.role}|>\n{turn.text}</s>\n" for turn in turns) + "<|assistant|>\n"


CHAT_TEMPLATES: dict[str, Callable[[list[Turn]], str]] = {
    "chatml": chatml, "llama3": llama3, "mistral": mistral, "zephyr": zephyr,
}  # fmt: skip


# --- turns -------------------------------------------------------------------------------------------------------


def write_inputs(prompt: Prompt, tools: list[Tool], chat_template: str) -> str:
    """The conversation as text, up to where the model goes on; ``tools`` are those it may call now.

    ``chat_template`` is a name in CHAT_TEMPLATES. Raises InvalidRequest for a part that has no text.
    """
    return CHAT_TEMPLATES[chat_template](_write_turns(prompt.messages, _preamble(prompt, tools)))


def _write_turns(messages: list[Message], preamble: str) -> list[Turn]:
    turns: list[Turn] = []
    names_by_id: dict[str, str] = {}
    for number, message in enumerate(messages):
        at = f"messages[{number}]"
        names_by_id |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        texts = [_write_result(part, names_by_id.get(part.call_id, "the tool"), at) for part in results]
        turns += [Turn("user", text) for text in texts]
        if not results or len(results) < len(message.parts):
            role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
            turns.append(Turn(role, _write_text(message, at)))
    if not preamble:
        return turns
    if turns and turns[0].role == "system":
        return [Turn("system", f"{turns[0].text}\n\n{preamble}"), *turns[1:]]
    return [Turn("system", preamble), *turns]


def _write_text(message: Message, at: str) -> str:
    text = ""
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        match part:
            case Text(text=said) | Refusal(text=said):
                text += said
            case Image():
                text += _write_image(part)
            case ToolCall():
                where = f"{at}.tool_calls[{len(calls)}].function.arguments"
                calls.append({"name": part.name, "arguments": read_arguments(part, where)})
            case Thinking() | ToolResult():
                pass
            case _:
                raise untranslatable(f"{at}.content", f"TGI has no {type(part).__name__.lower()} parts")
    return text + to_json({"tool_calls": calls}).decode() if calls else text


def _write_image(image: Image) -> str:
    """A picture in the text (docs/source/basic_tutorials/visual_language_models.md)."""
    media_type = image.media_type or "image/png"
    return f"![]({image.url or f'data:{media_type};base64,{image.data}'})"


def _write_result(result: ToolResult, name: str, at: str) -> str:
    text = "".join(part.text if isinstance(part, Text) else _write_image(part) for part in result.parts)
    return f"{'Error' if result.is_error else 'Result'} of {name}: {text}"


def _preamble(prompt: Prompt, tools: list[Tool]) -> str:
    """What the system turn must add: the tools and how to call them, or the JSON to answer in."""
    wanted = prompt.response_format
    if tools:
        how_many = "exactly one function" if prompt.parallel_tool_calls is False else "one or more functions"
        when = f"You must call {how_many}" if must_call(prompt) else f"You may call {how_many}"
        shown = [to_json({"name": t.name, "description": t.description, "parameters": parameters_of(t)}) for t in tools]
        return (
            f"{when} by answering with this JSON and nothing else, without a code fence:\n"
            '{"tool_calls":[{"name":"<function>","arguments":{<arguments>}}]}\nFunctions:\n'
            + b"\n".join(shown).decode()
        )
    if wanted is None or wanted.type == "text":
        return ""
    if wanted.type == "json_object" or wanted.schema is None:
        return "Answer with one JSON object and nothing else."
    return f"Answer with JSON that conforms to this schema, and nothing else:\n{bytes(wanted.schema).decode()}"
