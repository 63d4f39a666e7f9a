"""The engine's tests run on uvloop, as the engine does, and each ends with nothing left open."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import trustme
import uvloop

from switchgear.engine.transport import Transport
from tests.engine.rig import leaks, until


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    """A transport without a proxy; after the test it must have let go of everything."""
    transport = Transport()
    yield transport
    await transport.close()
    await until(lambda: not leaks(transport), lambda: leaks(transport))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts unless told to."""
    return trustme.CA()
