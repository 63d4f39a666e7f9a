"""The wire formats the fake provider speaks: a new one is a file here and a line in ``WIRES``."""

from tests.fake.wires.ollama import OllamaWire
from tests.fake.wires.openai import OpenAIWire
from tests.fake.wires.protocol import Wire
from tests.fake.wires.tgi import TgiWire

WIRES: tuple[Wire, ...] = (OpenAIWire(), OllamaWire(), TgiWire())
