"""Brokers that do not let us in, or not listen: told with their reason, and asked again."""

from pathlib import Path

import pytest
from support import brokers, certificates
from support.bridge_on_broker import running_bridge
from support.brokers import Start
from support.log import Log, events

from dockgate_server.bridge.interface import Acknowledgement, NotConnected, Verdict
from dockgate_server.config import Mqtt

pytestmark = pytest.mark.broker

REPLIES = "thing/product/+/services_reply"
SERVICES = "thing/product/dock-001/services"
REPLY = "thing/product/dock-001/events_reply"


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("authority", "self-signed certificate"),
        ("name", "IP address mismatch"),
        ("expired", "certificate has expired"),
    ],
)
async def test_a_broker_whose_certificate_is_wrong_is_not_spoken_to(
    start: Start, tmp_path: Path, log: Log, case: str, why: str
) -> None:
    """The log says what is wrong with it; a right one is taken without help."""
    good = certificates.write(tmp_path / "good")
    bad = certificates.write(
        tmp_path / "bad",
        "192.0.2.1" if case == "name" else "127.0.0.1",
        days=-1 if case == "expired" else 1,
    )
    trusted = tmp_path / "trusted.pem"
    known = [good] if case == "authority" else [good, bad]
    trusted.write_bytes(b"".join(certificate.read_bytes() for certificate, _ in known))
    broker = start(_tls(*bad))
    tls = Mqtt(url=f"mqtts://127.0.0.1:{broker.port}", ca_certificate=trusted).tls_context()

    async with running_bridge(broker, tls=tls) as observed:
        assert why in await observed.problem()
        broker.stop()
        broker.extra = _tls(*good)
        broker.start()
        await observed.wait_up()
        assert await observed.works()
    assert log[0]["event"] == "broker_unreachable"
    assert log[0]["problem"].startswith("certificate verify failed")
    assert not log[0]["problem"].endswith(")")


def _tls(certificate: Path, key: Path) -> str:
    return f"certfile {certificate}\nkeyfile {key}"


@pytest.mark.parametrize("password", ["wrong", None])
async def test_a_broker_that_does_not_let_us_in_is_asked_again(
    start: Start, tmp_path: Path, log: Log, password: str | None
) -> None:
    """With a wrong password and with none; somebody may set it right at the broker."""
    file = tmp_path / "passwords"
    brokers.write_passwords(file, {"gateway": "right"})
    broker = start(f"allow_anonymous false\npassword_file {file}")
    user = {"username": "gateway" if password else None, "password": password}
    async with running_bridge(broker, **user) as observed:
        for _ in range(3):
            assert "uthori" in await observed.problem()  # "Not authorized", in either spelling
        assert not observed.bridge.connected

        broker.stop()
        broker.extra = ""
        if password:
            brokers.write_passwords(file, {"gateway": password})
            broker.extra = f"allow_anonymous false\npassword_file {file}"
        broker.start()
        await observed.wait_up()
        assert await observed.works()
    assert events(log)[0] == "broker_unreachable"
    assert len([entry for entry in log if "uthori" in entry.get("problem", "")]) == 1


async def test_a_broker_that_refuses_a_subscription_leaves_us_without_a_connection(
    log: Log,
) -> None:
    """Commands whose answers we cannot hear must not be sent; the topic is named."""
    deny = 'permissions {{ subscribe {{ deny: "{}" }} }}'
    user = 'authorization {{ users = [ {{ user: "gateway", password: "secret", {} }} ] }}'
    refusing = user.format(deny.format("thing.product.*.services_reply"))
    if brokers.binary("nats") is None:
        pytest.skip("nats is not installed")
    with brokers.running("nats", refusing) as broker:
        async with running_bridge(broker, username="gateway", password="secret") as observed:
            for _ in range(2):
                assert await observed.problem() == f"it refuses the subscription to {REPLIES}"
            with pytest.raises(NotConnected):
                await observed.works()

            broker.stop()
            broker.extra = user.format("")
            broker.start()
            await observed.wait_up()
            assert await observed.works()
    assert len([entry for entry in log if REPLIES in entry.get("problem", "")]) == 1


async def test_a_message_too_large_for_the_broker_is_refused_and_costs_no_connection(
    start: Start, log: Log
) -> None:
    """The broker would hang up, and no other command could be sent meanwhile."""
    broker = start("max_packet_size 20000")
    async with running_bridge(broker) as observed:
        await observed.wait_up()
        overhead = 45  # what stands around the payload in a packet to this topic
        largest = observed.bridge.publish(SERVICES, b"x" * (20_000 - overhead), 30)
        larger = observed.bridge.publish(SERVICES, b"x" * (20_001 - overhead), 30)
        observed.bridge.answer(REPLY, b"x" * 30_000)

        refused = await larger
        assert refused == Acknowledgement(
            Verdict.REFUSED, "Packet too large: 20001 bytes, it takes 20000"
        )
        assert (await largest).verdict is Verdict.NOBODY_LISTENS
        assert await observed.works()
        assert not observed.down.is_set()
    told = next(entry for entry in log if entry["event"] == "answer_too_large")
    assert (told["topic"], told["limit"]) == (REPLY, 20_000)
