"""Text Generation Inference's own API, ``/generate`` and ``/generate_stream``: requests out.

Follows https://huggingface.github.io/text-generation-inference and ``router/src`` of
https://github.com/huggingface/text-generation-inference (3.3). What a request says is carried, mapped, dropped
(DROPPED says why) or refused by name. TGI takes one text and gives one back: tgi_prompt.py makes a text of the
conversation and its tools, tgi_grammar.py holds the reply to calls or JSON, tgi_reply.py reads what comes back.
"""

from typing import Any

from switchgear.core.types import Chat, Prompt, Target, to_json
from switchgear.formats.body import untranslatable
from switchgear.formats.tgi_grammar import offered_tools, write_grammar
from switchgear.formats.tgi_prompt import write_inputs

FORMAT = "tgi"

DROPPED = {
    "user": "names the end user for the vendor's abuse reports; a local model has none",
    "metadata": "labels for the vendor's own log",
    "service_tier": "TGI has one tier",
    "store": "TGI keeps no replies",
    "safety_identifier": "names the end user for the vendor's abuse reports",
    "prompt_cache_key": "a hint; TGI finds cached prefixes by itself",
    "prompt_cache_retention": "a hint; TGI decides for itself",
    "model": "a TGI server serves one model and takes no name",
    "messages[].name": "the templates have no speaker besides the role",
    "image.detail": "a hint; each model has one resolution",
    "thinking": "templates leave out what was thought in earlier turns",
    "parallel_tool_calls": "true is the default; false asks for one call, and the grammar allows no more",
    "tools[].strict": "calls that are required are always constrained by their schema, others never",
    "response_format.name": "TGI takes the bare schema",
    "response_format.strict": "TGI always enforces the schema",
    "presence_penalty": "0 is no penalty; anything else is refused",
    "min_p": "0 is no minimum; anything else is refused",
    "reasoning_effort": "'none' is what TGI does; anything else is refused",
}
"""What a request may say that does not reach TGI, and why that harms nobody."""

CARRIED_EXTRA = ("adapter_id", "best_of", "grammar", "truncate", "typical_p", "watermark")
"""Fields of a request, besides the canonical ones, that TGI's parameters know by the same name."""


def write_request(chat: Chat, target: Target, *, chat_template: str = "chatml") -> bytes:
    """The body of ``POST /generate``, or of ``/generate_stream`` where the chat streams; ``target`` is not named in it.

    ``chat_template`` is a name in tgi_prompt.CHAT_TEMPLATES. Raises InvalidRequest, with the field in ``param``, for
    what TGI cannot be asked.
    """
    prompt = chat.prompt
    _refuse_what_cannot_be_said(prompt)
    tools = offered_tools(prompt)
    inputs = write_inputs(prompt, tools, chat_template)
    parameters: dict[str, Any] = {**_write_parameters(prompt), "details": True}
    if not chat.stream:
        parameters["decoder_input_details"] = True  # the only place where a whole reply counts the prompt
    if (grammar := write_grammar(prompt, tools)) is not None:
        parameters["grammar"] = grammar
    parameters |= {name: prompt.extra[name] for name in CARRIED_EXTRA if name in prompt.extra}
    return to_json({"inputs": inputs, "parameters": parameters})


def _refuse_what_cannot_be_said(prompt: Prompt) -> None:
    if prompt.n is not None and prompt.n != 1:
        raise untranslatable("n", "TGI gives one answer at a time; ask again for another")
    if prompt.logit_bias:
        raise untranslatable("logit_bias", "TGI has no bias of single tokens")
    if prompt.presence_penalty:
        raise untranslatable("presence_penalty", "TGI has frequency_penalty and repetition_penalty only")
    if prompt.min_p:
        raise untranslatable("min_p", "TGI has top_p and top_k only")
    if prompt.reasoning_effort not in (None, "none"):
        raise untranslatable("reasoning_effort", "TGI does not steer how long a model thinks")
    if prompt.seed is not None and prompt.seed < 0:
        raise untranslatable("seed", "TGI takes no negative seed")
    for name, value in prompt.extra.items():
        if name not in DROPPED and name not in CARRIED_EXTRA and bytes(value) != b"null":
            raise untranslatable(name, "TGI has no such field")


def _write_parameters(prompt: Prompt) -> dict[str, Any]:
    # TGI refuses a temperature or top_p of 0 and a top_p of 1, and samples whenever one of them is given.
    greedy = prompt.temperature == 0 or prompt.top_p == 0
    asked = {
        "max_new_tokens": prompt.max_tokens,
        "do_sample": not greedy,
        "temperature": None if greedy else prompt.temperature,
        "top_p": prompt.top_p if not greedy and prompt.top_p is not None and prompt.top_p < 1 else None,
        "top_k": prompt.top_k if not greedy and prompt.top_k is not None and prompt.top_k > 0 else None,
        "repetition_penalty": prompt.repetition_penalty,
        "frequency_penalty": prompt.frequency_penalty,
        "seed": prompt.seed,
        "stop": prompt.stop or None,
        "top_n_tokens": (prompt.top_logprobs or None) if prompt.logprobs else None,
    }
    return {name: value for name, value in asked.items() if value is not None}
