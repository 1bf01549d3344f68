"""A person's answer is kept sealed until it has been sent."""

from pathlib import Path

from support.bridge import ScriptedBridge
from support.desk import sitting

OUTPUT = {"bucket": "b", "credentials": {"access_key_secret": "hush", "expire": 3600}}


async def test_an_answer_that_waits_is_sealed_and_sent_whole_after_a_restart(
    tmp_path: Path,
) -> None:
    """Who reads the database learns nothing from it, neither before nor after it was sent."""
    bridge = ScriptedBridge()
    bridge.connected = False
    async with sitting(tmp_path / "d.db", bridge=bridge) as desk:
        request = await desk.asked("storage_config_get")
        await desk.reply(request.id, output=OUTPUT)
        await desk.settle()
        assert desk.sent() == []
        assert len(await desk.store.requests.unsent()) == 1
        assert b"hush" not in desk.everything_stored()
    async with sitting(tmp_path / "d.db") as desk:
        assert [one["data"] for one in desk.sent()] == [{"result": 0, "output": OUTPUT}]
        desk.last().acknowledge()
        await desk.settle()
        assert await desk.store.requests.unsent() == []
        assert b"hush" not in desk.everything_stored()


async def test_an_answer_that_is_damaged_closes_its_request(tmp_path: Path) -> None:
    """The device asks again; the other answers go out."""
    bridge = ScriptedBridge()
    bridge.connected = False
    async with sitting(tmp_path / "d.db", bridge=bridge) as desk:
        damaged = await desk.asked("storage_config_get", tid="t1")
        whole = await desk.asked("storage_config_get", tid="t2")
        for request in (damaged, whole):
            await desk.reply(request.id, output=OUTPUT)
        await desk.store._db.execute(
            "UPDATE device_request SET outgoing = x'02' WHERE id = :id", {"id": damaged.id}
        )
    async with sitting(tmp_path / "d.db") as desk:
        await desk.settle()
        assert [one["tid"] for one in desk.sent()] == ["t2"]
        statuses = {one.tid: str(one.status) for one in await desk.recorded()}
        assert statuses == {"t1": "EXPIRED", "t2": "REPLIED"}
