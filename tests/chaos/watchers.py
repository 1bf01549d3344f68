"""Those who look on: watches of single commands, a watch of all, and askers of all kinds."""

import asyncio
import random
from typing import Any

import grpc

from chaos import clients
from chaos.clients import Notebook
from chaos.evidence import SeenEvent, View, Watch
from dockgate.downlink.v1 import command_service_pb2 as pb

_ASK_SECONDS = 0.1
_CALL_SECONDS = 10.0
_PAGE = 500


async def watch(stub: Any, notebook: Notebook, command_id: str) -> Watch:
    """Follow a command to its end, over all breaks; cancelled, it gives what it has."""
    seen = Watch(command_id)
    while not seen.ended:
        after = seen.events[-1].revision if seen.events else 0
        request = pb.WatchCommandRequest(command_id=command_id, after_revision=after)
        try:
            async for update in stub.WatchCommand(request, wait_for_ready=True):
                if update.HasField("event"):
                    seen.events.append(clients.event_of(update.event))
                    notebook.saw(update.event.command)
            seen.ended = True
        except grpc.aio.AioRpcError as error:
            if not await clients.again(notebook, f"WatchCommand {command_id}", error):
                break
            seen.breaks += 1
        except asyncio.CancelledError:
            break
    return seen


class FleetWatch:
    """Follows all commands, resumed by its token after every break."""

    def __init__(self, stub: Any, notebook: Notebook) -> None:
        self.events: list[SeenEvent] = []
        self.breaks = 0
        self.began = asyncio.Event()
        """It has its first token: what happens from here on must be seen."""
        self._stub = stub
        self._notebook = notebook
        self._token = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            request = pb.WatchCommandsRequest(resume_token=self._token)
            try:
                async for update in self._stub.WatchCommands(request, wait_for_ready=True):
                    self._token = update.resume_token
                    self.began.set()
                    if update.HasField("event"):
                        self.events.append(clients.event_of(update.event))
                        self._notebook.saw(update.event.command)
            except grpc.aio.AioRpcError as error:
                if not await clients.again(self._notebook, "WatchCommands", error):
                    return
                self.breaks += 1


class Asker:
    """Asks again and again how commands are, for ends that come and go."""

    def __init__(self, stub: Any, rng: random.Random, notebook: Notebook) -> None:
        self.known: list[str] = []
        """The commands to ask about."""
        self.asked = 0
        self._stub = stub
        self._rng = rng
        self._notebook = notebook

    async def run(self) -> None:
        """Ask until cancelled: mostly about one of the newest commands, sometimes for a page."""
        while True:
            await asyncio.sleep(_ASK_SECONDS)
            mark = self._notebook.mark
            try:
                if self._rng.random() < 0.2:
                    page = await self.page("", self._rng.randint(1, 100))
                    commands = page.commands
                elif self.known:
                    newest = len(self.known) - int(self._rng.expovariate(0.02)) - 1
                    commands = [await self.get(self.known[max(0, newest)])]
                else:
                    continue
            except grpc.aio.AioRpcError as error:
                if not await clients.again(self._notebook, "asking", error):
                    return
                continue
            self.asked += 1
            for command in commands:
                self._notebook.saw(command, mark)

    async def get(self, command_id: str) -> Any:
        """A command as it is now."""
        request = pb.GetCommandRequest(command_id=command_id)
        answer = await self._stub.GetCommand(request, timeout=_CALL_SECONDS, wait_for_ready=True)
        return answer.command

    async def page(self, token: str, size: int) -> Any:
        """A page of all commands."""
        request = pb.ListCommandsRequest(page_token=token, page_size=size)
        return await self._stub.ListCommands(request, timeout=_CALL_SECONDS, wait_for_ready=True)

    async def all_listed(self) -> dict[str, View]:
        """Every command, page by page."""
        found: dict[str, View] = {}
        token = ""
        while True:
            mark = self._notebook.mark
            page = await self.page(token, _PAGE)
            for command in page.commands:
                found[command.command_id] = self._notebook.saw(command, mark)
            token = page.next_page_token
            if not token:
                return found

    async def all_got(self) -> dict[str, View]:
        """Every known command, one by one; those that there are not are missing."""
        found: dict[str, View] = {}

        async def get(command_id: str) -> None:
            mark = self._notebook.mark
            try:
                found[command_id] = self._notebook.saw(await self.get(command_id), mark)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    self._notebook.refused(f"GetCommand {command_id}", error)

        for first in range(0, len(self.known), 64):
            await asyncio.gather(*(get(one) for one in self.known[first : first + 64]))
        return found
