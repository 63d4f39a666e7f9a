"""What OpenAI refuses with 400, in its own words (seen in the wild; "preceeding" is its spelling)."""

from typing import Any

import msgspec

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
PARTS = {
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
}
NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you "
    "have trouble figuring out how to fix this, please contact us through our help center at "
    "help.openai.com.)"
)
BAD_INPUT = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
# What each plain field must be, and the least and greatest it may be.
FIELDS: dict[str, tuple[tuple[type, ...], str, float | None, float | None]] = {
    "stream": ((bool,), "a boolean", None, None),
    "temperature": ((int, float), "a decimal", 0, 2),
    "top_p": ((int, float), "a decimal", 0, 1),
    "presence_penalty": ((int, float), "a decimal", -2, 2),
    "frequency_penalty": ((int, float), "a decimal", -2, 2),
    "n": ((int,), "an integer", 1, 128),
    "max_tokens": ((int,), "an integer", 1, None),
    "max_completion_tokens": ((int,), "an integer", 1, None),
    "top_logprobs": ((int,), "an integer", 0, 20),
    "logprobs": ((bool,), "a boolean", None, None),
    "parallel_tool_calls": ((bool,), "a boolean", None, None),
    "seed": ((int,), "an integer", None, None),
    "stream_options": ((dict,), "an object", None, None),
    "response_format": ((dict,), "an object", None, None),
    "tools": ((list,), "an array of objects", None, None),
    "user": ((str,), "a string", None, None),
    "metadata": ((dict,), "an object", None, None),
}
JSON_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class _BadRequestError(Exception):
    """The body of the 400, on its way out of the checks."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.body = error_body(message, param=param, code=code)


def error_body(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> bytes:
    """OpenAI's error object."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def chat_problem(body: Any) -> bytes | None:
    """The body of the 400 that OpenAI would answer with; None when the request is good."""
    try:
        _check_chat(body)
    except _BadRequestError as problem:
        return problem.body
    return None


def embeddings_problem(body: Any) -> bytes | None:
    """The same for embeddings."""
    try:
        _check_embeddings(body)
    except _BadRequestError as problem:
        return problem.body
    return None


def _check_chat(body: Any) -> None:
    _check_model(body)
    if "messages" not in body:
        raise _missing("messages")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise _BadRequestError(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    _check_tool_turns(messages)
    _check_fields(body)
    for index, tool in enumerate(body.get("tools") or []):
        _check_tool(f"tools[{index}]", tool)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise _BadRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    if body.get("tool_choice") is not None and not body.get("tools"):
        raise _BadRequestError(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            "tool_choice",
        )


def _check_model(body: Any) -> None:
    if not isinstance(body, dict):
        raise _BadRequestError(NOT_JSON)
    if not body.get("model"):
        raise _BadRequestError("you must provide a model parameter")
    if not isinstance(body["model"], str):
        raise _wrong_type("model", "a string", body["model"])


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise _wrong_type(where, "an object", message)
    role = message.get("role")
    if role is None:
        raise _missing(f"{where}.role")
    if role not in ROLES:
        known = ", ".join(f"'{name}'" for name in ROLES[:-1]) + f", and '{ROLES[-1]}'"
        raise _BadRequestError(
            f"Invalid value: '{role}'. Supported values are: {known}.", f"{where}.role", "invalid_value"
        )
    content = message.get("content")
    if isinstance(content, list):
        for index, part in enumerate(content):
            _check_part(f"{where}.content[{index}]", part, PARTS.get(role, ("text",)))
    elif content is not None and not isinstance(content, str):
        expected = "one of a string or array of objects"
        raise _wrong_type(f"{where}.content", expected, content)
    elif content is None and not (role == "assistant" and _may_be_silent(message)):
        raise _BadRequestError(
            "Invalid value for 'content': expected a string, got null.", f"{where}.content".replace("[", ".[")
        )
    for index, call in enumerate(message.get("tool_calls") or []):
        _check_call(f"{where}.tool_calls[{index}]", call)


def _may_be_silent(message: dict[str, Any]) -> bool:
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))


def _check_part(where: str, part: Any, known: tuple[str, ...]) -> None:
    if not isinstance(part, dict):
        raise _wrong_type(where, "an object", part)
    kind = part.get("type")
    if kind is None:
        raise _missing(f"{where}.type")
    if kind not in known:
        names = " and ".join(f"'{name}'" for name in known)
        raise _BadRequestError(
            f"Invalid value: '{kind}'. Supported values are: {names}.", f"{where}.type", "invalid_value"
        )
    if kind not in part:
        raise _missing(f"{where}.{kind}")
    if kind == "image_url" and not (isinstance(part[kind], dict) and isinstance(part[kind].get("url"), str)):
        raise _wrong_type(f"{where}.image_url", "an object", part[kind])


def _check_call(where: str, call: Any) -> None:
    if not isinstance(call, dict):
        raise _wrong_type(where, "an object", call)
    for name in (
        "id",
        "type",
        call.get("type") if call.get("type") in ("function", "custom") else "function",
    ):
        if name not in call:
            raise _missing(f"{where}.{name}")
    function = call.get("function")
    if function is None:
        return
    for name in ("name", "arguments"):
        if not isinstance(function, dict) or name not in function:
            raise _missing(f"{where}.function.{name}")
        if not isinstance(function[name], str):
            raise _wrong_type(f"{where}.function.{name}", "a string", function[name])


def _check_tool_turns(messages: list[dict[str, Any]]) -> None:
    """A call must be answered at once, and only calls may be answered."""
    waiting: set[str] = set()
    in_tool_turn = False
    for index, message in enumerate(messages):
        where = f"messages.[{index}]"
        if message["role"] == "tool":
            if "tool_call_id" not in message:
                raise _BadRequestError(
                    "Missing parameter 'tool_call_id': messages with role 'tool' must have a 'tool_call_id'.",
                    f"{where}.tool_call_id",
                )
            if not in_tool_turn or message["tool_call_id"] not in waiting:
                raise _BadRequestError(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'.",
                    f"{where}.role",
                )
            waiting.discard(message["tool_call_id"])
            continue
        _check_answered(waiting, where)
        waiting = {call["id"] for call in message.get("tool_calls") or []}
        in_tool_turn = bool(waiting)
    _check_answered(waiting, f"messages.[{len(messages)}]")


def _check_answered(waiting: set[str], where: str) -> None:
    if waiting:
        raise _BadRequestError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(sorted(waiting)),
            f"{where}.role",
        )


def _check_fields(body: dict[str, Any]) -> None:
    for name, (kinds, expected, least, most) in FIELDS.items():
        value: Any = body.get(name)
        if value is None:
            continue
        if type(value) not in kinds:  # and not isinstance: True is no integer
            raise _wrong_type(name, expected, value)
        kind = "integer" if kinds == (int,) else "decimal"
        if least is not None and value < least:
            code = f"{kind}_below_min_value"
            raise _out_of_range(name, f"{kind} below minimum value", f">= {least}", value, code)
        if most is not None and value > most:
            code = f"{kind}_above_max_value"
            raise _out_of_range(name, f"{kind} above maximum value", f"<= {most}", value, code)


def _check_tool(where: str, tool: Any) -> None:
    if not isinstance(tool, dict):
        raise _wrong_type(where, "an object", tool)
    kind = tool.get("type")
    if kind is None:
        raise _missing(f"{where}.type")
    if kind not in ("function", "custom"):
        raise _BadRequestError(
            f"Invalid value: '{kind}'. Supported values are: 'function' and 'custom'.",
            f"{where}.type",
            "invalid_value",
        )
    if not isinstance(tool.get(kind), dict):
        raise _missing(f"{where}.{kind}")
    if not tool[kind].get("name"):
        raise _missing(f"{where}.{kind}.name")
    parameters = tool[kind].get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise _wrong_type(f"{where}.{kind}.parameters", "an object", parameters)


def _check_embeddings(body: Any) -> None:
    _check_model(body)
    if "input" not in body:
        raise _missing("input")
    given = body["input"]
    items = given if isinstance(given, list) else [given]
    # A token number may be 0; a text or a list of tokens may not be empty.
    if not items or not all(item == 0 or (item and isinstance(item, str | int | list)) for item in items):
        raise _BadRequestError(BAD_INPUT)
    if body.get("encoding_format", "float") not in ("float", "base64"):
        raise _BadRequestError(
            f"Invalid value: '{body['encoding_format']}'. Supported values are: 'float' and 'base64'.",
            "encoding_format",
            "invalid_value",
        )


def _missing(param: str) -> _BadRequestError:
    return _BadRequestError(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def _out_of_range(param: str, what: str, bound: str, got: object, code: str) -> _BadRequestError:
    message = f"Invalid '{param}': {what}. Expected a value {bound}, but got {got} instead."
    return _BadRequestError(message, param, code)


def _wrong_type(param: str, expected: str, got: Any) -> _BadRequestError:
    return _BadRequestError(
        f"Invalid type for '{param}': expected {expected}, but got {JSON_NAMES[type(got)]} instead.",
        param,
        "invalid_type",
    )
