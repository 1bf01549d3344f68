"""A steady load of submissions, each repeated with its key until it is answered."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import grpc

from chaos import clients, methods
from chaos.clients import Notebook
from chaos.evidence import Accepted, Violation
from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb

_CALL_SECONDS = 5.0
_PATIENCE_SECONDS = 20.0
_MOST_WAITING = 300
"""Submissions without an answer at once. More are not begun: the server is away for too long."""
_ASK_TWICE = 0.1
_CANCEL = 0.05
_SHORTEST_TIMEOUT = 2


class Load:
    """Submits at a rate, whether the server is there or not.

    Args:
        stub: The server.
        drones: The devices that commands go to.
        rate: Submissions a second.
        longest_timeout: In seconds; each submission draws one from 2 s on.
        rng: Decides what is submitted.
        notebook: Takes down what is wrong.
        on_accepted: Is told of every command that was acknowledged.
    """

    def __init__(
        self,
        stub: Any,
        drones: list[str],
        rate: float,
        longest_timeout: int,
        rng: random.Random,
        notebook: Notebook,
        on_accepted: Callable[[str], None],
    ) -> None:
        self.accepted: list[Accepted] = []
        self.submitted = 0
        self.repeated = 0
        """Calls that got no answer and were made again."""
        self.cancelled = 0
        self._stub = stub
        self._drones = drones
        self._rate = rate
        self._longest_timeout = longest_timeout
        self._rng = rng
        self._notebook = notebook
        self._on_accepted = on_accepted
        self._begun: set[asyncio.Task[None]] = set()
        self._gives_up_at = float("inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Submit until told to stop, and then until the last submission has its answer."""
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                if len(self._begun) < _MOST_WAITING:
                    self.submitted += 1
                    task = tasks.create_task(self._submit(self.submitted), name="submission")
                    self._begun.add(task)
                    task.add_done_callback(self._begun.discard)
                await asyncio.sleep(self._rng.expovariate(self._rate))
            # The storm is over; whoever has no answer by then will never get one.
            self._gives_up_at = asyncio.get_running_loop().time() + _PATIENCE_SECONDS

    async def _submit(self, number: int) -> None:
        kind = methods.pick(self._rng)
        fields = kind.fields(number)
        request = pb.SubmitCommandRequest(
            device_id=self._rng.choice(self._drones),
            idempotency_key=f"chaos-{number}",
            timeout_seconds=self._rng.randint(_SHORTEST_TIMEOUT, self._longest_timeout),
            offline_policy=methods.offline_policy(self._rng, kind.method),
        )
        methods.fill(request, kind, fields)
        asks_twice, cancels = (self._rng.random() < chance for chance in (_ASK_TWICE, _CANCEL))
        answer = await self._call("SubmitCommand", request)
        if answer is None:
            return
        self._note(request, kind.method, kind.data(fields), answer.command)
        if cancels:
            await self._cancel(answer.command.command_id)
        if asks_twice and (second := await self._call("SubmitCommand", request)) is not None:
            self._compare(answer.command, second)

    async def _call(self, name: str, request: Any) -> Any:
        """The answer, whatever it takes; None when the call was refused."""
        while asyncio.get_running_loop().time() < self._gives_up_at:
            try:
                return await getattr(self._stub, name)(
                    request, timeout=_CALL_SECONDS, wait_for_ready=True
                )
            except grpc.aio.AioRpcError as error:
                if name == "CancelCommand" and error.code() is _NOT_CANCELLABLE:
                    return None
                if not await clients.again(self._notebook, f"{name} {request}", error):
                    return None
                self.repeated += 1
        self._notebook.violations.append(Violation("never answered", "", f"{name} {request}"))
        return None

    def _note(
        self, request: pb.SubmitCommandRequest, method: str, data: Any, command: command_pb2.Command
    ) -> None:
        policy = command_pb2.OfflinePolicy.Name(request.offline_policy)
        accepted = Accepted(
            command_id=command.command_id,
            key=request.idempotency_key,
            device_id=request.device_id,
            method=method,
            data=data,
            timeout_seconds=request.timeout_seconds,
            offline_policy=policy.removeprefix("OFFLINE_POLICY_").replace("UNSPECIFIED", ""),
            accepted_at=clients.milliseconds(command.accepted_at),
        )
        self.accepted.append(accepted)
        self._on_accepted(accepted.command_id)

    async def _cancel(self, command_id: str) -> None:
        mark = self._notebook.mark
        answer = await self._call("CancelCommand", pb.CancelCommandRequest(command_id=command_id))
        if answer is not None:
            self.cancelled += 1
            self._notebook.saw(answer.command, mark)

    def _compare(self, first: command_pb2.Command, second: pb.SubmitCommandResponse) -> None:
        if second.command != first or not second.replayed:
            text = f"its key was answered with {second.command.command_id} the second time"
            found = Violation("accepted twice", first.command_id, text)
            self._notebook.violations.append(found)


_NOT_CANCELLABLE = grpc.StatusCode.FAILED_PRECONDITION
