"""A conversation as the one text that TGI takes."""

import pytest

from switchgear.core.types import Message, Text
from switchgear.formats.tgi_prompt import CHAT_TEMPLATES, Turn, mistral, write_inputs
from tests.formats.tgi_chats import CALLS, DIRECTORY, HELLO, RESULTS, chat
from tests.golden import check_golden


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_a_conversation_is_rendered_as_its_golden_file_says(name: str) -> None:
    system = Message("system", [Text("Be brief.")])
    turns = [system, *HELLO, Message("assistant", [Text("Hi!")]), *CALLS, *RESULTS, *HELLO]
    check_golden(DIRECTORY / f"{name}.template.txt", write_inputs(chat(turns).prompt, [], name))


def test_mistral_has_a_turn_of_the_user_even_where_only_the_system_spoke() -> None:
    assert mistral([Turn("system", "Go.")]) == "[INST] Go.[/INST]"
    assert mistral([Turn("assistant", "Hi.")]) == " Hi.</s>[INST] [/INST]"
