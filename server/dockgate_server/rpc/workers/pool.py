"""The gateway's side of its workers: a server like gRPC's own, whose connections end elsewhere."""

import asyncio
import os
import signal
import socket
import subprocess  # nosec B404
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import grpc
import structlog

from dockgate_server.errors import CannotListen, cannot_listen
from dockgate_server.rpc.calls import Handlers
from dockgate_server.rpc.workers.call import Call, Handler
from dockgate_server.rpc.workers.channel import Channel, Frame, Kind
from dockgate_server.rpc.workers.orders import Orders
from dockgate_server.rpc.workers.worker import IGNORED_SIGNALS

_MODULE: Final = "dockgate_server.rpc.workers"
_START_SECONDS: Final = 20.0
_LEAVE_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 30.0
"""How long a worker may take to give a sign of life."""
_EXIT_SECONDS: Final = 5.0
"""For a worker to end, beyond what its calls may take."""

_log = structlog.get_logger(__name__)

Opened = Callable[["_Worker", Frame], Call]


class WorkerEnded(Exception):
    """A worker has ended that was not told to."""


class Workers:
    """Takes services as gRPC's own server does, and has processes serve them.

    Args:
        count: How many processes.
        orders: What each is told.
    """

    def __init__(self, count: int, orders: Orders) -> None:
        self._count = count
        self._orders = orders
        self._services: list[Handlers] = []
        self._handlers: dict[str, Handler] = {}
        self._workers: list[_Worker] = []
        self._kept: list[socket.socket] = []
        self._is_stopping = False

    def add(self, *services: Handlers) -> None:
        """Serve these, from the start on. The last one takes whatever no other takes."""
        self._services += services
        self._handlers = {path: self._found(path) for path in self._orders.methods}

    async def start(self) -> int:
        """Listen; answers with the port.

        Raises:
            CannotListen: The address is in use, or a worker does not start.
        """
        listen = self._orders.terms.listen
        port, self._kept = await _reserved_soon(listen)
        terms = replace(self._orders.terms, listen=f"{listen.rpartition(':')[0]}:{port}")
        try:
            await self._begin(replace(self._orders, terms=terms))
        except BaseException:
            await self.stop(0)
            raise
        return port

    async def _begin(self, orders: Orders) -> None:
        self._workers = [_Worker(self._open) for _ in range(self._count)]
        # What is not to end a worker must not do so while it is only beginning either.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
        try:
            for worker in self._workers:
                await worker.begin(orders)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        started = await asyncio.gather(
            *[worker.serves() for worker in self._workers], return_exceptions=True
        )
        for problem in started:
            if problem is not None:
                raise problem

    async def run(self) -> None:
        """Watch over workers that serve; to be cancelled when they have been stopped.

        Raises:
            WorkerEnded: Its clients are without a server; going on with the others would hide it.
        """
        gone = [asyncio.ensure_future(worker.gone.wait()) for worker in self._workers]
        try:
            while True:
                for worker in self._workers:
                    worker.ask()
                await asyncio.wait(
                    gone, timeout=_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if self._is_stopping:
                    break
                # First: then the others have not had their time to answer.
                for worker in self._workers:
                    if worker.gone.is_set():
                        raise WorkerEnded(await worker.ending())
                for worker in self._workers:
                    if not worker.is_alive:
                        raise WorkerEnded(f"{worker.name} is silent for {_ALIVE_SECONDS:g} s")
        finally:
            for one in gone:
                one.cancel()
        await asyncio.Event().wait()

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and let those that there are go on for so long."""
        self._is_stopping = True
        await asyncio.gather(*[worker.stop(seconds) for worker in self._workers])
        for kept in self._kept:
            kept.close()

    def _open(self, worker: "_Worker", frame: Frame) -> Call:
        _, number, path, metadata, peer, names, requests = frame
        handler = self._handlers.get(path) or self._found(path)
        call = Call(worker.channel, number, metadata, peer, names, requests, worker.ended)
        _ = call.begin(handler)
        return call

    def _found(self, path: str) -> "Handler":
        details = cast("grpc.HandlerCallDetails", _Details(path))
        found = (service.service(details) for service in self._services)
        return next(one for one in found if one is not None)


class _Details(NamedTuple):
    """What a service is asked about."""

    method: str
    invocation_metadata: Any = ()


class _Worker:
    """One process, and the calls that it has handed on."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._calls: dict[int, Call] = {}
        self._serving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process: subprocess.Popen[bytes] | None = None
        self.gone = asyncio.Event()
        self.is_alive = False
        """It has answered the last question."""
        self.channel = Channel(self._received, self._lost)

    async def begin(self, orders: Orders) -> None:
        """Start the process, and tell it what to do."""
        ours, its = socket.socketpair()
        with its:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self.channel, sock=ours)
            # Not by the loop: uvloop would let through the signals that are held back. Without -P
            # the folder in which the gateway was started would come first.
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603  # nosec B603
                (sys.executable, "-P", "-m", _MODULE, str(its.fileno())),
                pass_fds=(its.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(),
            )
        self.channel.send(Kind.SERVE, orders.plain())

    async def serves(self) -> None:
        """Wait until it does.

        Raises:
            CannotListen: It cannot.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._serving
        except TimeoutError:
            why = f"a gRPC worker does not start in {_START_SECONDS:g} s"
            raise CannotListen(why) from None

    def ask(self) -> None:
        """Ask for a sign of life."""
        self.is_alive = False
        self.channel.send(Kind.ALIVE)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"a gRPC worker, pid {self._process.pid}," if self._process else "a gRPC worker"

    async def ending(self) -> str:
        """How the process has ended, as a sentence."""
        assert self._process is not None
        try:
            # Its connection is closed a moment before it can be asked for its end.
            code = await asyncio.to_thread(self._process.wait, _LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{self.name} has closed its connection"
        if code >= 0:
            return f"{self.name} has ended with exit code {code}"
        names = {one.value: one.name for one in signal.Signals}
        return f"{self.name} was ended by {names.get(-code, f'signal {-code}')}"

    async def stop(self, seconds: float) -> None:
        """End the process, after its calls."""
        if self._process is None:
            return
        self.channel.send(Kind.STOP, seconds)
        try:
            await asyncio.to_thread(self._process.wait, seconds + _EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            _log.warning("grpc_worker_killed", pid=self._process.pid)
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self.channel.close()

    def ended(self, number: int) -> None:
        """Nothing more is to be said of that call."""
        self._calls.pop(number, None)

    def _received(self, frame: Frame) -> None:
        kind = frame[0]
        if kind == Kind.CALL:
            self._calls[frame[1]] = self._opened(self, frame)
        elif kind == Kind.ALIVE:
            self.is_alive = True
        elif kind in (Kind.SERVING, Kind.FAILED):
            self._started(CannotListen(frame[1]) if kind == Kind.FAILED else None)
        elif (call := self._calls.get(frame[1])) is not None:
            if kind == Kind.CANCEL:
                self.ended(frame[1])
                call.cancel()
            elif kind == Kind.WRITTEN:
                call.written(frame[2])
            elif kind == Kind.REQUEST:
                call.requested(frame[2])

    def _started(self, problem: Exception | None) -> None:
        if self._serving.done():
            return
        if problem is None:
            self._serving.set_result(None)
        else:
            self._serving.set_exception(problem)

    def _lost(self) -> None:
        self.gone.set()
        self._started(CannotListen("a gRPC worker ended before it served"))
        for call in self._calls.values():
            call.cancel()


def _environment() -> dict[str, str]:
    """A worker's: however this process came to find the package, that one is to find it too.

    It is told all it has to know, so that of secrets that are given to the gateway it has none.
    """
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("DOCKGATE_")}
    paths = [path or str(Path.cwd()) for path in sys.path]
    return inherited | {"PYTHONPATH": os.pathsep.join(paths)}


async def _reserved_soon(listen: str) -> tuple[int, list[socket.socket]]:
    """As :func:`_reserved`; workers of a gateway that was killed just now need a moment to notice.

    Raises:
        CannotListen: Somebody has the port, and keeps it.
    """
    now = asyncio.get_running_loop().time
    give_up = now() + _LEAVE_SECONDS
    while True:
        try:
            return _reserved(listen)
        except CannotListen:
            if now() > give_up:
                raise
        await asyncio.sleep(0.02)


def _reserved(listen: str) -> tuple[int, list[socket.socket]]:
    """The port, and sockets that keep it for the workers, which share it, from everybody else.

    Raises:
        CannotListen: Somebody has it.
    """
    host, _, text = listen.rpartition(":")
    port = int(text)
    kept: list[socket.socket] = []
    try:
        # As gRPC does, on each address that a name has.
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        for family, _, _, _, address in found:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # One that shares the port would get it also when other workers have it.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address[0], port))
                port = int(probe.getsockname()[1])
            kept.append(socket.socket(family, socket.SOCK_STREAM))
            kept[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            # Connections of a gateway without workers that has just ended hold the port for a
            # minute, and give way only to this. Once bound it is taken back: the probe of a second
            # gateway would get the port until our workers listen.
            kept[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            kept[-1].bind((address[0], port))
            kept[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        for one in kept:
            one.close()
        raise cannot_listen("gRPC", listen) from error
    return port, kept
