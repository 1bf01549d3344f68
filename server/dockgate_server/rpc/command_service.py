"""``dockgate.downlink.v1.CommandService`` on top of the use cases."""

from collections.abc import AsyncIterator

from dockgate.downlink.v1 import command_service_pb2 as pb
from dockgate_server.commands import Commands
from dockgate_server.model.caller import Caller
from dockgate_server.model.command import CommandEvent
from dockgate_server.rpc import convert

_SHARED_EVENTS = 512
"""Watchers that keep up are within so many events of each other, and share the messages."""

_SHARED_BYTES = 4096
"""Larger messages are not kept in memory."""


class CommandService:
    """Translates; what each call does is documented in the schema.

    Called through :class:`~dockgate_server.rpc.calls.Calls`, which knows the caller.
    """

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._shared: dict[int, pb.WatchCommandResponse] = {}

    async def SubmitCommand(  # noqa: N802
        self, caller: Caller, request: pb.SubmitCommandRequest
    ) -> pb.SubmitCommandResponse:
        """Store a command durably."""
        accepted = await self._commands.submit(caller, request)
        return pb.SubmitCommandResponse(
            command=convert.command(accepted.command), replayed=accepted.replayed
        )

    async def GetCommand(  # noqa: N802
        self, caller: Caller, request: pb.GetCommandRequest
    ) -> pb.GetCommandResponse:
        """Give a command as it is now."""
        command = await self._commands.get(caller, request)
        return pb.GetCommandResponse(command=convert.command(command, self._commands.model_of))

    async def ListCommands(  # noqa: N802
        self, caller: Caller, request: pb.ListCommandsRequest
    ) -> pb.ListCommandsResponse:
        """List commands, newest first."""
        page, next_page_token = await self._commands.list(caller, request)
        model_of = self._commands.model_of
        commands = [convert.command(command, model_of) for command in page.commands]
        return pb.ListCommandsResponse(commands=commands, next_page_token=next_page_token)

    async def WatchCommand(  # noqa: N802
        self, caller: Caller, request: pb.WatchCommandRequest
    ) -> AsyncIterator[pb.WatchCommandResponse]:
        """Stream a command's events."""
        async for event in self._commands.watch(caller, request):
            if event is None:
                yield pb.WatchCommandResponse(heartbeat=pb.Heartbeat())
            else:
                yield self._told(event)

    async def WatchCommands(  # noqa: N802
        self, caller: Caller, request: pb.WatchCommandsRequest
    ) -> AsyncIterator[pb.WatchCommandsResponse]:
        """Stream the events of all the caller's commands."""
        async for update in self._commands.watch_all(caller, request):
            response = pb.WatchCommandsResponse(resume_token=update.resume_token)
            if update.event is None:
                response.heartbeat.SetInParent()
            else:
                response.event.CopyFrom(self._told(update.event).event)
            yield response

    async def CancelCommand(  # noqa: N802
        self, caller: Caller, request: pb.CancelCommandRequest
    ) -> pb.CancelCommandResponse:
        """Withdraw a command that has not been sent."""
        command = await self._commands.cancel(caller, request)
        return pb.CancelCommandResponse(command=convert.command(command))

    async def ListUnmatchedResponses(  # noqa: N802
        self, caller: Caller, request: pb.ListUnmatchedResponsesRequest
    ) -> pb.ListUnmatchedResponsesResponse:
        """List replies that fit no command."""
        page, next_page_token = await self._commands.list_unmatched(caller, request)
        return pb.ListUnmatchedResponsesResponse(
            responses=[convert.unmatched(reply) for reply in page.replies],
            next_page_token=next_page_token,
            recorded_total=page.recorded,
        )

    def _told(self, event: CommandEvent) -> pb.WatchCommandResponse:
        """An event as watchers see it; made once for all of them, so not to be changed."""
        told = self._shared.get(event.seq)
        if told is None:
            model_of = self._commands.model_of
            told = pb.WatchCommandResponse(event=convert.event(event, model_of))
            if told.ByteSize() <= _SHARED_BYTES:
                if len(self._shared) >= _SHARED_EVENTS:
                    del self._shared[next(iter(self._shared))]
                self._shared[event.seq] = told
        return told
