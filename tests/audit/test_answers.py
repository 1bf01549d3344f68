"""Who answered a device's request is in the log, once."""

from pathlib import Path

from support.audit import entries, recording
from support.desk import sitting

from dockgate_server.model.caller import Caller, Origin, Scope

PERSON = Caller("default", "dk_7", frozenset(Scope), origin=Origin("http", "192.0.2.1:1", "r-1"))


async def test_an_answer_is_recorded_with_who_gave_it(database: Path) -> None:
    """Without what it says; the same answer once more changes nothing."""
    async with sitting(database) as desk:
        await recording(desk.store)
        request = await desk.asked("a_newer_request")
        for _ in range(2):
            await desk.reply(request.id, 0, PERSON, secret="in the answer")
    (one,) = [one.entry for one in entries(database)]
    assert (one.action, one.outcome, one.principal) == ("reply_device_request", "done", "dk_7")
    assert (one.target, one.device_id, one.method) == (request.id, "dock-001", "a_newer_request")
    assert (one.transport, one.peer, one.request_id) == ("http", "192.0.2.1:1", "r-1")


async def test_a_dangerous_answer_is_marked(database: Path) -> None:
    """As a dangerous method is."""
    async with sitting(database) as desk:
        await recording(desk.store)
        request = await desk.asked("flighttask_resource_get", {"flight_id": "f-1"})
        await desk.reply(request.id, 0, PERSON)
    (one,) = [one.entry for one in entries(database)]
    assert (one.method, one.dangerous) == ("flighttask_resource_get", True)
