"""The played parts of the world behave as what they stand for."""

import asyncio
from dataclasses import dataclass, field

import pytest

from simulation.broker import Broker, Session
from simulation.disk import Disk
from simulation.loop import VirtualLoop
from simulation.wire import Link, Message
from simulation.world import World


@dataclass
class Listener:
    """A client that keeps what it gets, and acknowledges nothing by itself."""

    name: str
    got: list[tuple[int, bytes]] = field(default_factory=list)

    def receive(self, link: Link, packet_id: int, message: Message) -> None:
        """Keep it."""
        self.got.append((packet_id, message.payload))

    def lost(self, link: Link) -> None:
        """The connection has ended."""


@pytest.fixture
def world() -> World:
    """One in which nothing goes wrong by itself."""
    world = World(1)
    world.calm = True
    return world


@pytest.fixture
def broker(world: World) -> Broker:
    """A broker with the gateway's session."""
    broker = Broker(world, lambda _: None)
    broker.add(Listener("gateway"), kept=True)
    return broker


def _say(
    broker: Broker, session: Session, *payloads: bytes, expires_at: float | None = None
) -> None:
    for payload in payloads:
        session.put(Message("t", payload, "dock", expires_at=expires_at))


def test_what_is_not_acknowledged_comes_again_in_order(world: World, broker: Broker) -> None:
    """QoS 1; what has been acknowledged does not."""
    listener = Listener("dock-1")
    session = broker.add(listener, kept=True)
    link = broker.connect(session, listener.lost)
    _say(broker, session, b"a", b"b", b"c")
    world.run(1)
    packet_ids = [packet_id for packet_id, _ in listener.got]
    session.acknowledge(link, packet_ids[1])
    link.break_()
    world.run(9)
    _say(broker, session, b"d")
    listener.got.clear()
    broker.connect(session, listener.lost)
    world.run(10)
    assert [payload for _, payload in listener.got] == [b"a", b"c", b"d"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_session_outlives_its_connection_only_if_it_is_kept(
    world: World, broker: Broker, kept: bool
) -> None:
    """Subscriptions and messages alike."""
    listener = Listener("dock-1")
    session = broker.add(listener, kept=kept)
    link = broker.connect(session, listener.lost)
    session.subscribe(link)
    link.break_()
    world.run(9)
    assert session.subscribed is kept
    _say(broker, session, b"a")
    broker.connect(session, listener.lost)
    world.run(10)
    assert [payload for _, payload in listener.got] == ([b"a"] if kept else [])


def test_a_message_that_has_expired_is_not_handed_over(world: World, broker: Broker) -> None:
    """Also not for the second time."""
    listener = Listener("dock-1")
    session = broker.add(listener, kept=True)
    link = broker.connect(session, listener.lost)
    _say(broker, session, b"a", expires_at=5.0)
    world.run(1)
    link.break_()
    world.run(6)
    broker.connect(session, listener.lost)
    world.run(7)
    assert len(listener.got) == 1


def test_a_connection_that_breaks_loses_only_the_end_of_what_was_on_it(world: World) -> None:
    """In order up to then, nothing behind it, in every world."""
    for seed in range(20):
        world = World(seed)
        link = Link(world, lambda _: None, lambda _: None)
        arrived: list[int] = []
        for number in range(100):
            world.after(number * 0.001, link.up.send, arrived.append, number)
        world.after(0.05, link.break_)
        world.run(5)
        assert arrived == list(range(len(arrived)))
        assert 0 < len(arrived) < 100


def test_a_killed_process_runs_nothing_any_more(world: World) -> None:
    """No callback, no timer, and what a finally still does reaches nobody."""
    ran: list[str] = []
    loop = VirtualLoop(world, 5, lambda: None)
    loop.on_kill = loop.kill

    async def work() -> None:
        try:
            while True:
                ran.append("step")
                await asyncio.sleep(1)
        finally:
            loop.call_soon(ran.append, "finally")

    loop.call_soon(lambda: loop.create_task(work()))
    world.run(100)
    assert 0 < len(ran) < 6
    assert set(ran) == {"step"}


def test_the_disk_fails_with_the_errors_of_sqlite_and_recovers(world: World) -> None:
    """Nothing of a transaction that failed is left."""
    disk = Disk(world, lambda: None)
    disk.execute("CREATE TABLE t (x)")
    disk.fail(1.0, reading=True)
    statements = ("BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)", "UPDATE t SET x = 2", "COMMIT")
    failed = []
    for sql in statements:
        try:
            disk.execute(sql)
        except Exception as error:
            failed.append((sql.split()[0], error.sqlite_errorcode))
            break
    assert len(failed) == 1
    if disk.in_transaction:
        disk.execute("ROLLBACK")
    world.run(2)
    assert disk.execute("SELECT count(*) FROM t").fetchone() == (0,)
    disk.close()
