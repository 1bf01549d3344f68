"""Getting into an aiomqtt connection and out of it again, also when that goes wrong.

Shared by the two that connect to a broker: the gateway's bridge and the simulated dock. What
aiomqtt leaves open here was found with real brokers: a peer that hangs up before its CONNACK, a
cancellation while connecting, and one that comes together with an answer.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

# Without it Nagle's algorithm and delayed acknowledgements make a round trip 44 to 88 ms.
SOCKET_OPTIONS: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)

HUNG_UP: Final = "it hung up without an answer"
"""What :func:`reason` says of a peer that accepted TCP and closed it without a word of MQTT."""

_FIRST_ERROR: Final = 0x80
_UNSUPPORTED_PROTOCOL: Final = 0x84
_SESSION_TAKEN_OVER: Final = 0x8E
# Seconds for the last packet of a connection that is given up while it is being made.
_CLOSING: Final = 1.0


class SubscriptionRefused(aiomqtt.MqttError):
    """The broker lets us in, but does not let us listen."""


def code(of: object) -> int | None:
    """The number of a reason code, however paho and aiomqtt hand it over."""
    value = of.value if isinstance(of, ReasonCode) else of
    return value if isinstance(value, int) else None


def is_error(of: object) -> bool:
    """Whether a reason code means that something was refused."""
    return (code(of) or 0) >= _FIRST_ERROR


def is_version_refused(error: aiomqtt.MqttError) -> bool:
    """Whether the broker refused the version of the protocol, and not us."""
    if not isinstance(error, aiomqtt.MqttCodeError):
        return False
    # paho translates the code 1 of a 3.1.1 answer where it can, and passes it on where not.
    return code(error.rc) in (1, _UNSUPPORTED_PROTOCOL)


def reason(error: aiomqtt.MqttError) -> str:
    """Why a connection failed or ended, in a few words."""
    if isinstance(error, SubscriptionRefused):
        return str(error)
    cause = error.__cause__
    if isinstance(cause, aiomqtt.MqttCodeError) and code(cause.rc) == _SESSION_TAKEN_OVER:
        # Only MQTT 5 can tell, and not every broker does: mosquitto 2.0.11 just hangs up.
        return "another client connected with the same identifier"
    if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
        return f"refused: {error.rc}"
    text = re.sub(r"^\[(Errno|code:)[^]]*\] *", "", str(cause or error))
    # What paho says when the other side closes without a word.
    return "connection lost" if text == "Unspecified error" else text


@contextlib.asynccontextmanager
async def connected(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Connect, and disconnect on leaving.

    Use a new client each time: one that reconnects would also deliver what it had given up on.

    Raises:
        aiomqtt.MqttError: On entering if the broker does not let us in.
    """
    await _enter(client)
    try:
        heed_cancellation()
        yield
    finally:
        # What it raises here is only that the connection is gone already.
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


async def subscribe(client: aiomqtt.Client, topics: Sequence[str]) -> None:
    """Subscribe with QoS 1.

    Raises:
        SubscriptionRefused: The broker refuses one of the topics.
        aiomqtt.MqttError: The connection is lost.
    """
    granted = await client.subscribe([(topic, 1) for topic in topics])
    heed_cancellation()
    for topic, answer in zip(topics, granted, strict=True):
        # For aiomqtt a refusal is an answer like any other, not an exception.
        if is_error(answer):
            raise SubscriptionRefused(f"it refuses the subscription to {topic}")


def heed_cancellation() -> None:
    """To be called after every await of aiomqtt that waits for the broker.

    It waits with asyncio.wait_for, and before Python 3.12 that forgets a cancellation which
    comes in the same turn of the loop as the answer: the task would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _enter(client: aiomqtt.Client) -> None:
    opened, closed = _watch_socket(client)
    entering = asyncio.ensure_future(client.__aenter__())
    opening, closing = asyncio.ensure_future(opened.wait()), asyncio.ensure_future(closed.wait())
    try:
        await asyncio.wait({entering, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done() and not client._connected.done():
            # aiomqtt would go on waiting for an answer that nobody is left to give.
            raise aiomqtt.MqttError(HUNG_UP)
        await asyncio.wait({entering})
        entering.result()
    except (asyncio.CancelledError, aiomqtt.MqttError):
        # The TCP connect runs in a thread that cannot be cancelled. Left alone it would open a
        # socket that nobody closes, so wait until there is one (paho gives up after 5 s), but
        # not for a broker that takes its time with the rest.
        await asyncio.wait({entering, opening}, return_when=asyncio.FIRST_COMPLETED)
        entering.cancel()
        await asyncio.wait({entering})
        if opened.is_set() and not closed.is_set():
            # aiomqtt leaves the socket open here, and the event loop goes on reading it. Its own
            # handler trips over a wait that was cancelled, and the socket would stay open again.
            client._client.on_disconnect = None
            client._client.disconnect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await closed.wait()
        raise
    finally:
        opening.cancel()
        closing.cancel()


def _watch_socket(client: aiomqtt.Client) -> tuple[asyncio.Event, asyncio.Event]:
    """The events "the socket is open" and "it is closed again"."""
    loop, paho = asyncio.get_running_loop(), client._client
    opened, closed = asyncio.Event(), asyncio.Event()
    on_open, on_close = paho.on_socket_open, paho.on_socket_close

    # paho calls both from the thread that connects, too.
    def note_open(*arguments: Any) -> None:
        if on_open is not None:
            on_open(*arguments)
        loop.call_soon_threadsafe(opened.set)

    def note_close(*arguments: Any) -> None:
        if on_close is not None:
            on_close(*arguments)
        loop.call_soon_threadsafe(closed.set)

    paho.on_socket_open, paho.on_socket_close = note_open, note_close
    return opened, closed
