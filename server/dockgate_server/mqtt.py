"""Getting into an aiomqtt connection and out of it again, also when that goes wrong.

Shared by the two that connect to a broker: the gateway's bridge and the simulated dock. What
aiomqtt leaves open here was found with real brokers: a peer that hangs up before its CONNACK or
its SUBACK, a cancellation while connecting, one that comes together with an answer, and a
socket that takes nothing more when it is to be closed.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiomqtt
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

# Without it Nagle's algorithm and delayed acknowledgements make a round trip 44 to 88 ms.
SOCKET_OPTIONS: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)

HUNG_UP: Final = "it hung up without an answer"
"""What :func:`reason` says of a peer that accepted TCP and closed it without a word of MQTT."""

_FIRST_ERROR: Final = 0x80
_UNSUPPORTED_PROTOCOL: Final = 0x84
_SESSION_TAKEN_OVER: Final = 0x8E
# Seconds for the last packets of a connection that is being closed.
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


def is_taken_over(error: aiomqtt.MqttError) -> bool:
    """Whether the connection ended because another client came with our identifier.

    Only MQTT 5 can tell, and not every broker does: mosquitto 2.0.11 just hangs up.
    """
    cause = error.__cause__
    return isinstance(cause, aiomqtt.MqttCodeError) and code(cause.rc) == _SESSION_TAKEN_OVER


def reason(error: aiomqtt.MqttError) -> str:
    """Why a connection failed or ended, in a few words."""
    if isinstance(error, SubscriptionRefused):
        return str(error)
    cause = error.__cause__
    if is_taken_over(error):
        return "another client connected with the same identifier"
    if isinstance(error, aiomqtt.MqttCodeError) and isinstance(error.rc, ReasonCode):
        return f"refused: {error.rc}"
    text = re.sub(r"^\[(Errno|code:|SSL)[^]]*\] *| *\(_ssl\.c:\d+\)$", "", str(cause or error))
    # What paho says when the other side closes without a word.
    return "connection lost" if text == "Unspecified error" else text


@contextlib.asynccontextmanager
async def connected(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Connect, and disconnect on leaving: nothing leaves behind that.

    Use a new client each time: one that reconnects would also deliver what it had given up on.

    Raises:
        aiomqtt.MqttError: On entering if the broker does not let us in.
    """
    await _enter(client)
    try:
        heed_cancellation()
        yield
    finally:
        # What it raises here is only that the connection is gone already, or that the peer takes
        # nothing more; then what is unsent must not leave when it does.
        try:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await client.__aexit__(None, None, None)
        finally:
            client._client._sock_close()
            if client._disconnected.done() and not client._disconnected.cancelled():
                client._disconnected.exception()  # or asyncio complains that nobody looked


def hang_up(client: aiomqtt.Client, why: str) -> None:
    """End a connection at once, without a word: what is still unsent never leaves.

    Whoever iterates over the client's messages gets an MqttError with ``why``.
    """
    if not client._disconnected.done():
        client._disconnected.set_exception(aiomqtt.MqttError(why))
    client._client._sock_close()


async def subscribe(
    client: aiomqtt.Client, topics: Sequence[str], *, retained: bool = True
) -> None:
    """Subscribe with QoS 1.

    Args:
        client: On a connection that is open.
        topics: What to.
        retained: Whether the broker is to bring what it has retained there. Only MQTT 5 can say no.

    Raises:
        SubscriptionRefused: The broker refuses one of the topics.
        aiomqtt.MqttError: The connection is lost.
    """
    how: Any = 1
    if not retained and client._client.protocol == MQTTProtocolVersion.MQTTv5:
        how = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    subscribing = asyncio.ensure_future(client.subscribe([(topic, how) for topic in topics]))
    answered_or_ended: set[asyncio.Future[Any]] = {subscribing, client._disconnected}
    try:
        # aiomqtt would go on waiting for an answer on a connection that has ended.
        await asyncio.wait(answered_or_ended, return_when=asyncio.FIRST_COMPLETED)
        if not subscribing.done():
            ended = client._disconnected.exception()
            raise aiomqtt.MqttError("disconnected before the subscription") from ended
        granted = subscribing.result()
    finally:
        subscribing.cancel()
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


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails, for which paho leaves it lying about."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


async def _enter(client: aiomqtt.Client) -> None:
    if client._client._ssl_context is not None:
        client._client._ssl_context.sslsocket_class = _TlsSocket
    opened, closed = _watch_socket(client)
    disconnected = client._disconnected
    entering = asyncio.ensure_future(client.__aenter__())
    opening, closing = asyncio.ensure_future(opened.wait()), asyncio.ensure_future(closed.wait())
    try:
        await asyncio.wait({entering, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done() and not client._connected.done():
            # aiomqtt would go on waiting for an answer that nobody is left to give.
            raise aiomqtt.MqttError(HUNG_UP)
        await asyncio.wait({entering})
        try:
            entering.result()
        except UnicodeError:
            # From the resolver, for a name with an empty or an endless part.
            raise aiomqtt.MqttError("no host can have that name") from None
        if disconnected.done():
            # In the turn of the loop in which it was made; aiomqtt has forgotten that by now.
            raise aiomqtt.MqttError("disconnected at once") from disconnected.exception()
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
            client._client._sock_close()
        raise
    finally:
        opening.cancel()
        closing.cancel()


def _watch_socket(client: aiomqtt.Client) -> tuple[asyncio.Event, asyncio.Event]:
    """The events "the socket is open" and "it is closed again".

    paho opens it in a thread. The loop has nothing to do with it before that thread has done: paho
    is not made for two at once, and uvloop ends the process when one closes what another watches.
    """
    loop, paho = asyncio.get_running_loop(), client._client
    opened, closed = asyncio.Event(), asyncio.Event()
    on_open, on_close, connect = paho.on_socket_open, paho.on_socket_close, client._client_connect
    is_connecting = True

    def connect_alone() -> None:
        try:
            connect()
        finally:
            loop.call_soon_threadsafe(watch)

    def watch() -> None:
        nonlocal is_connecting
        is_connecting = False
        sock = paho._sock
        if sock is None:
            # That thread may have closed it again, and whoever waits for it must not go on to.
            if closed.is_set():
                opened.set()
            return
        if on_open is not None:
            on_open(paho, None, sock)
        if paho.want_write():
            watch_for_writing(sock)
        opened.set()

    def note_close(*arguments: Any) -> None:
        if on_close is not None and not is_connecting:
            on_close(*arguments)
        loop.call_soon_threadsafe(closed.set)

    def write_soon(_client: Any, _userdata: Any, sock: Any) -> None:
        if not is_connecting:
            loop.call_soon(watch_for_writing, sock)

    def watch_for_writing(sock: Any) -> None:
        # aiomqtt does not look whether the socket has been closed in the same turn of the loop;
        # its number may then be another's already.
        if sock.fileno() != -1:
            loop.add_writer(sock.fileno(), write)

    def write() -> None:
        try:
            paho.loop_write()
        except Exception as error:
            if not client._disconnected.done():
                client._disconnected.set_exception(error)

    client._client_connect = connect_alone  # type: ignore[method-assign]
    paho.on_socket_open, paho.on_socket_close = None, note_close
    paho.on_socket_register_write = write_soon
    return opened, closed
