"""Which DRC commands have left and have not ended.

Some answers name no more than gateway device and method. Such an answer can only be meant for a
command that had left when it came: one that is just being accepted must not be ended by the second
answer to the command before it.
"""

from collections import defaultdict

from dockgate_server.model.command import Channel, Command

Kind = tuple[str, str]
"""Gateway device and method."""


class Outstanding:
    """Remembers them by what their answers may name."""

    def __init__(self) -> None:
        self._ids: defaultdict[Kind, set[str]] = defaultdict(set)

    def left(self, command: Command) -> None:
        """A command's message was handed to the network, or perhaps was in an earlier life."""
        if command.channel is Channel.DRC:
            self._ids[command.gateway_id, command.command_type].add(command.id)

    def ended(self, command: Command) -> None:
        """Nothing is to be answered any more."""
        kind = (command.gateway_id, command.command_type)
        if kind in self._ids:
            self._ids[kind].discard(command.id)
            if not self._ids[kind]:
                del self._ids[kind]

    def of(self, gateway_id: str, command_type: str) -> tuple[str, ...]:
        """The ids of those for which an answer without a number may be."""
        return tuple(self._ids.get((gateway_id, command_type), ()))
