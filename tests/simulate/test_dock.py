"""The simulated dock on real brokers, with a cloud that speaks raw MQTT."""

import asyncio
import dataclasses
import datetime
import gc
import json
import random
import warnings

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from dockgate_server import mqtt, simulate
from dockgate_server.simulate import SimulatedDock, connection, flags
from dockgate_server.simulate.link import backoff

pytestmark = pytest.mark.broker


async def test_it_announces_itself_and_is_ready_when_answered(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        said = json.loads(await cloud.raw("status"))
    assert said["method"] == "update_topo"
    assert [device["sn"] for device in said["data"]["sub_devices"]] == [config.drone]
    assert not {"gateway", "need_reply"} & said.keys()


async def test_it_repeats_the_announcement_until_somebody_answers(cloud, config):
    cloud.answers_topology = False
    async with SimulatedDock(dataclasses.replace(config, announce_every=0.0)) as dock:
        first, second = json.loads(await cloud.raw("status")), json.loads(await cloud.raw("status"))
        assert first["tid"] != second["tid"]
        assert dock.subscribed
        assert not dock.ready
        await cloud.acknowledge(second, "sys", "status_reply")
        await dock.wait_ready()


async def test_only_the_right_answer_to_the_announcement_counts(cloud, config):
    cloud.answers_topology = False
    async with SimulatedDock(config) as dock:
        said = json.loads(await cloud.raw("status"))
        await cloud.acknowledge(said | {"tid": "other"}, "sys", "status_reply")
        refusal = json.dumps({"tid": said["tid"], "data": {"result": 1}}).encode()
        await cloud.publish(f"sys/product/{config.gateway}/status_reply", refusal)
        await dock.wait_received(2, on="status_reply")
        assert not dock.ready
        await cloud.acknowledge(said, "sys", "status_reply")
        await dock.wait_ready()


async def test_a_command_is_answered_and_recorded_as_it_came(cloud, config, sim_broker):
    async with SimulatedDock(config, clock=lambda: 1700000000.5) as dock:
        await dock.wait_ready()
        sent = await cloud.send("camera_recording_start", {"payload_index": "1-0-0"}, expiry=30)
        reply = await cloud.reply()
        (received,) = await dock.wait_received(1)
    assert reply == {
        "tid": sent["tid"],
        "bid": sent["bid"],
        "timestamp": 1700000000500,
        "method": "camera_recording_start",
        "data": {"result": 0},
    }
    assert (received.tid, received.bid, received.method) == (
        sent["tid"],
        sent["bid"],
        "camera_recording_start",
    )
    assert received.topic == f"thing/product/{config.gateway}/services"
    assert received.data == {"payload_index": "1-0-0"}
    assert received.message == sent == json.loads(received.payload)
    assert received.qos == 1
    assert not received.retained
    assert received.expiry_seconds == (30 if sim_broker.kind == "mosquitto" else None)


async def test_a_job_reports_its_progress_until_it_is_done(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        sent = await cloud.send("charge_open")
        assert (await cloud.reply())["data"] == {"result": 0, "output": {"status": "sent"}}
        events = await cloud.job({"ok"})
    assert {event["method"] for event in events} == {"charge_open"}
    assert {event["bid"] for event in events} == {sent["bid"]}
    assert {event["gateway"] for event in events} == {config.gateway}
    assert len({event["tid"] for event in events} | {sent["tid"]}) == len(events) + 1
    percents = [event["data"]["output"]["progress"]["percent"] for event in events]
    assert percents == sorted(set(percents))
    assert percents[-1] == 100


async def test_a_flight_reports_by_its_flight_id(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        await cloud.send("flighttask_execute", {"flight_id": "flight-1"})
        assert (await cloud.reply())["data"] == {"result": 0}
        events = await cloud.job({"ok"})
    assert {(event["method"], event["bid"]) for event in events} == {
        ("flighttask_progress", "flight-1")
    }


async def test_a_second_job_for_the_same_flight_takes_the_place_of_the_first(cloud, config):
    async with SimulatedDock(dataclasses.replace(config, step_every=0.01)) as dock:
        await dock.wait_ready()
        await cloud.send("flighttask_execute", {"flight_id": "flight-1"})
        events = [await cloud.event()]
        await cloud.send("flighttask_execute", {"flight_id": "flight-1"})
        events += await cloud.job({"ok"})
        # The first job would have ended before this one does.
        await cloud.send("flighttask_execute", {"flight_id": "flight-2"})
        events += await cloud.job({"ok"})
    ended = [event["bid"] for event in events if event["data"]["output"]["status"] == "ok"]
    assert ended == ["flight-1", "flight-2"]


async def test_a_job_that_fails_says_so_after_it_was_accepted(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("charge_open", simulate.JobFails(result=321004, percent=40))
        await dock.wait_ready()
        await cloud.send("charge_open")
        assert (await cloud.reply())["data"]["result"] == 0
        last = (await cloud.job({"ok", "failed"}))[-1]
    assert last["data"]["result"] == 321004
    assert last["data"]["output"]["status"] == "failed"
    assert last["data"]["output"]["progress"]["percent"] == 40


async def test_an_event_that_wants_an_answer_repeats_with_its_tid_a_bounded_number_of_times(
    cloud, config
):
    async with SimulatedDock(dataclasses.replace(config, event_repeats=(0.0, 0.0))) as dock:
        await dock.wait_ready()
        await cloud.send("upload_flighttask_media_prioritize", {"flight_id": "f"})
        events = [await cloud.event() for _ in range(3)]
        assert events[0] == events[1] == events[2]
        assert events[0]["need_reply"] == 1
        # Whatever came after a fourth one would come before this reply's successor.
        await cloud.send("camera_aim")
        await cloud.reply()
        await cloud.reply()
        assert not dock.unanswered_events
        assert not cloud.has_more("events")


async def test_an_answered_event_is_not_repeated(cloud, config):
    cloud.answers_events = True
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        await dock.wait_ready()
        await cloud.send("upload_flighttask_media_prioritize", {"flight_id": "f"})
        event = await cloud.event()
        (answer,) = await dock.wait_received(1, on="events_reply")
        assert answer.tid == event["tid"]
        await dock.go_offline()
        assert not dock.unanswered_events
    assert "unanswered" not in {happening.kind for happening in happenings}


async def test_a_slow_answer_does_not_hold_up_the_others(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("camera_photo_take", simulate.Slow(60))
        await dock.wait_ready()
        await cloud.send("camera_photo_take")
        quick = await cloud.send("camera_aim")
        assert (await cloud.reply())["tid"] == quick["tid"]


async def test_answers_overtake_each_other(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("camera_aim", simulate.Slow(0.05))
        await dock.wait_ready()
        slow, quick = await cloud.send("camera_aim"), await cloud.send("gimbal_reset")
        assert [(await cloud.reply())["tid"] for _ in range(2)] == [quick["tid"], slow["tid"]]


async def test_a_silent_dock_takes_the_command_and_says_nothing(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave(None, simulate.Silent())
        dock.behave("gimbal_reset", simulate.Normal())
        await dock.wait_ready()
        await cloud.send("charge_open")
        heard = await cloud.send("gimbal_reset")
        assert (await cloud.reply())["tid"] == heard["tid"]
        assert len(await dock.wait_received(2)) == 2
        assert not cloud.has_more("events")


async def test_wrong_replies_go_out_wrong(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        dock.behave("camera_aim", simulate.WrongTid())
        sent = await cloud.send("camera_aim")
        assert (await cloud.reply())["tid"] != sent["tid"]
        dock.behave("camera_aim", simulate.WrongMethod())
        sent = await cloud.send("camera_aim")
        reply = await cloud.reply()
        assert reply["tid"] == sent["tid"]
        assert reply["method"] != "camera_aim"
        dock.behave("camera_aim", simulate.NoResult())
        await cloud.send("camera_aim")
        assert (await cloud.reply())["data"] == {}
        dock.behave("camera_aim", simulate.Unreadable())
        await cloud.send("camera_aim")
        with pytest.raises(json.JSONDecodeError):
            json.loads(await cloud.raw("services_reply"))
        dock.behave("camera_aim")
        await cloud.send("camera_aim")
        assert (await cloud.reply())["data"] == {"result": 0}


async def test_a_fixed_reply_goes_out_as_given(cloud, config):
    busy = {"result": 5001, "code": 5001, "message": "camera busy", "detail": "busy"}
    async with SimulatedDock(config) as dock:
        dock.behave("camera_recording_start", simulate.Reply(busy), simulate.Twice())
        await dock.wait_ready()
        await cloud.send("camera_recording_start")
        first, second = await cloud.reply(), await cloud.reply()
    assert first == second
    assert first["data"] == busy


async def test_a_known_tid_is_answered_again_and_counted_but_its_job_runs_once(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        for _ in range(2):
            await cloud.send("drone_open", tid="tid-1", bid="bid-1")
            assert (await cloud.reply())["tid"] == "tid-1"
        assert dock.executions == {"tid-1": 2}
        # The events of one run, and then those of another command.
        events = [await cloud.event(), await cloud.event()]
        await cloud.send("drone_open", bid="bid-2")
        events += [await cloud.event(), await cloud.event()]
    assert [event["bid"] for event in events] == ["bid-1", "bid-1", "bid-2", "bid-2"]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff\xfe", b'{"tid": "t"}', b'{"tid": 1}'])
@pytest.mark.parametrize("end", ["services", "events_reply"])
async def test_nonsense_from_the_cloud_is_recorded_and_harms_nothing(cloud, config, payload, end):
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        await dock.wait_ready()
        await cloud.publish(f"thing/product/{config.gateway}/{end}", payload)
        await cloud.send("camera_aim")
        await cloud.reply()
        (received,) = [one for one in dock.received if one.payload == payload]
        assert received.on == end
    assert "ignored" in {happening.kind for happening in happenings}


async def test_offline_leaves_without_an_answer_and_comes_back(cloud, config):
    async with SimulatedDock(config) as dock:
        dock.behave("camera_aim", simulate.Offline(0.0))
        await dock.wait_ready()
        await cloud.raw("status")
        await cloud.send("camera_aim")
        await cloud.raw("status")  # it announces itself again
        await dock.wait_ready()
        sent = await cloud.send("gimbal_reset")
        assert (await cloud.reply())["tid"] == sent["tid"]


async def test_going_offline_and_online_by_hand(cloud, config):
    async with SimulatedDock(config) as dock:
        await dock.wait_ready()
        await dock.go_offline()
        await dock.go_offline()
        assert not dock.subscribed
        assert not dock.ready
        await cloud.send("camera_aim")
        await dock.go_online()
        await dock.go_online()
        await dock.wait_ready()
        sent = await cloud.send("gimbal_reset")
        assert (await cloud.reply())["tid"] == sent["tid"]
        assert [one.method for one in await dock.wait_received(1)] == ["gimbal_reset"]


async def test_an_answer_that_is_due_while_the_dock_is_away_goes_out_when_it_is_back(cloud, config):
    async with SimulatedDock(dataclasses.replace(config, answer_after=0.02)) as dock:
        await dock.wait_ready()
        sent = await cloud.send("camera_aim")
        await dock.wait_received(1)
        await dock.go_offline()
        await dock.go_online()
        assert (await cloud.reply())["tid"] == sent["tid"]


async def test_a_kept_session_delivers_what_was_sent_while_the_dock_was_away(cloud, config):
    async with SimulatedDock(dataclasses.replace(config, keep_session=60)) as dock:
        await dock.wait_ready()
        await dock.go_offline()
        sent = await cloud.send("camera_aim")
        await dock.go_online()
        assert (await cloud.reply())["tid"] == sent["tid"]


async def test_two_docks_share_a_broker(cloud, config, sim_broker, quick_config, connect_cloud):
    other = quick_config(sim_broker)
    async with (
        connect_cloud(sim_broker, other.gateway) as other_cloud,
        SimulatedDock(config) as one,
        SimulatedDock(other) as two,
    ):
        await one.wait_ready()
        await two.wait_ready()
        await cloud.send("camera_aim")
        await cloud.reply()
        await other_cloud.send("gimbal_reset")
        await other_cloud.reply()
        assert [received.method for received in await one.wait_received(1)] == ["camera_aim"]
        assert [received.method for received in await two.wait_received(1)] == ["gimbal_reset"]


async def test_it_speaks_the_newest_protocol_that_the_broker_knows(config, sim_broker):
    happenings = []
    async with SimulatedDock(config, on_happening=happenings.append) as dock:
        await dock.wait_subscribed()
    (connected,) = [one for one in happenings if one.kind == "connected"]
    newest = "MQTT 5" if sim_broker.kind == "mosquitto" else "MQTT 3.1.1"
    assert connected.details["protocol"] == newest


async def test_stopping_leaves_no_task_behind_and_twice_is_fine(config):
    before = asyncio.all_tasks()
    dock = SimulatedDock(config)
    async with dock:
        await dock.wait_subscribed()
    await dock.__aexit__(None, None, None)
    await SimulatedDock(config).__aexit__(None, None, None)
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="twice"):
        await dock.__aenter__()


async def test_waiting_says_what_did_not_happen(config):
    async with SimulatedDock(config) as dock:
        with pytest.raises(TimeoutError, match="0 of 2 messages on services"):
            await dock.wait_received(2, within=0)
        with pytest.raises(TimeoutError, match="no cloud has answered update_topo"):
            await dock.wait_ready(within=0)
    with pytest.raises(RuntimeError, match="not running"):
        await dock.wait_received(2)


async def test_a_failure_inside_ends_the_dock_and_is_raised(config):
    def fail(happening):
        raise ZeroDivisionError(happening.kind)

    dock = SimulatedDock(config, on_happening=fail)
    with pytest.raises(ExceptionGroup) as caught:
        async with dock:
            await dock.wait_subscribed()
    assert caught.group_contains(ZeroDivisionError)


async def test_it_waits_for_a_broker_that_starts_later(own_broker, quick_config, connect_cloud):
    config = quick_config(own_broker)
    seen = asyncio.Event()
    happenings = []

    def note(happening):
        happenings.append(happening)
        if happening.kind == "unreachable":
            seen.set()

    async with SimulatedDock(config, on_happening=note) as dock:
        async with asyncio.timeout(10):
            await seen.wait()
        assert str(own_broker.port) in happenings[0].text
        assert "Connection refused" in happenings[0].text
        await asyncio.to_thread(own_broker.start)
        async with connect_cloud(own_broker, config.gateway):
            await dock.go_offline()
            await dock.go_online()
            await dock.wait_ready()


async def test_it_comes_back_by_itself_after_the_broker_was_killed(own_broker, quick_config):
    await asyncio.to_thread(own_broker.start)
    lost = asyncio.Event()

    def note(happening):
        if happening.kind == "disconnected":
            lost.set()

    async with SimulatedDock(quick_config(own_broker), on_happening=note) as dock:
        await dock.wait_subscribed()
        await asyncio.to_thread(own_broker.stop)
        async with asyncio.timeout(10):
            await lost.wait()
        assert not dock.subscribed
        await asyncio.to_thread(own_broker.start)
        await dock.wait_subscribed()


async def test_a_job_outlives_the_connection_and_reports_its_end_on_the_next_one(
    own_broker, quick_config, connect_cloud
):
    await asyncio.to_thread(own_broker.start)
    config = quick_config(own_broker, step_every=0.02)
    async with SimulatedDock(config) as dock:
        async with connect_cloud(own_broker, config.gateway) as cloud:
            await dock.wait_ready()
            sent = await cloud.send("cover_close")
            first = await cloud.event()
        await asyncio.to_thread(own_broker.stop)
        await dock.go_offline()
        await asyncio.to_thread(own_broker.start)
        async with connect_cloud(own_broker, config.gateway) as cloud:
            await dock.go_online()
            rest = await cloud.job({"ok"})
    percents = [event["data"]["output"]["progress"]["percent"] for event in (first, *rest)]
    assert percents == sorted(percents)
    assert {event["bid"] for event in rest} == {sent["bid"]}


async def test_a_cancellation_that_comes_with_the_brokers_answer_is_not_lost():
    """Python 3.11 forgets it in wait_for, where aiomqtt awaits the answer."""
    answer = asyncio.get_running_loop().create_future()

    class Client:
        async def publish(self, topic, payload, qos):
            await asyncio.wait_for(answer, 10)

    publishing = asyncio.create_task(connection.publish(Client(), "topic", b""))
    await asyncio.sleep(0)
    answer.set_result(None)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing


def test_a_client_with_the_same_identifier_is_named_as_the_reason():
    error = aiomqtt.MqttError("Disconnected during message iteration")
    taken_over = ReasonCode(PacketTypes.DISCONNECT, identifier=142)
    error.__cause__ = aiomqtt.MqttCodeError(taken_over, "Unexpected disconnection")
    assert mqtt.reason(error) == "another client connected with the same identifier"


async def test_a_refusal_is_told_from_a_broker_that_is_not_there(own_broker, quick_config):
    await asyncio.to_thread(own_broker.start, "allow_anonymous false")
    refused: asyncio.Queue[str] = asyncio.Queue()

    def note(happening):
        if happening.kind == "unreachable":
            refused.put_nowait(happening.text)

    async with SimulatedDock(quick_config(own_broker), on_happening=note):
        async with asyncio.timeout(10):
            assert "(refused: Not authorized), retrying" in await refused.get()
            await refused.get()


async def test_it_speaks_tls_and_trusts_only_whom_it_is_told_to(own_broker, quick_config, tmp_path):
    certificate, key = self_signed(tmp_path)
    files = (f"cafile {certificate}", f"certfile {certificate}", f"keyfile {key}")
    await asyncio.to_thread(own_broker.start, *files)
    untrusted: asyncio.Queue[str] = asyncio.Queue()

    def note(happening):
        if happening.kind == "unreachable":
            untrusted.put_nowait(happening.text)

    url = f"mqtts://localhost:{own_broker.port}"
    strict = dataclasses.replace(quick_config(own_broker), broker=flags.parse_broker(url))
    with warnings.catch_warnings():
        # paho drops the socket of a failed handshake without closing it.
        warnings.simplefilter("ignore", ResourceWarning)
        async with SimulatedDock(strict, on_happening=note), asyncio.timeout(10):
            assert "certificate" in await untrusted.get()
        gc.collect()
    trusting = flags.parse_broker(url, ca_file=certificate)
    async with SimulatedDock(dataclasses.replace(strict, broker=trusting)) as dock:
        await dock.wait_subscribed()


def self_signed(folder):
    """Write a certificate for localhost and its key, readable for a broker that drops root."""
    folder.chmod(0o755)
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key.chmod(0o644)
    return certificate, key


@pytest.mark.parametrize("patience", [0.05, 60.0])
async def test_a_broker_that_accepts_and_never_speaks_delays_nothing_and_leaks_nothing(
    quick_config, patience
):
    """Both when the dock gives up waiting for the broker and when it is stopped meanwhile."""
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda reader, writer: accepted.put_nowait((reader, writer)), "127.0.0.1", 0
    )

    class Mute:
        address = simulate.Broker(port=server.sockets[0].getsockname()[1], timeout=patience)

    async with asyncio.timeout(10):
        async with SimulatedDock(quick_config(Mute)):
            connections = [await accepted.get()]
            if patience < 1:
                connections.append(await accepted.get())
        while not accepted.empty():
            connections.append(accepted.get_nowait())
        for reader, writer in connections:
            await reader.read()  # ends only when the dock has closed its side
            writer.close()
            await writer.wait_closed()
    server.close()
    await server.wait_closed()


async def test_a_broker_that_hangs_up_is_asked_in_the_other_protocol_at_once(quick_config):
    """Some brokers that know only MQTT 3.1.1 meet version 5 so; aiomqtt would wait its timeout."""
    versions: asyncio.Queue[int] = asyncio.Queue()

    async def hang_up(reader, writer):
        await reader.readuntil(b"MQTT")
        versions.put_nowait((await reader.readexactly(1))[0])
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)

    class Impatient:
        address = simulate.Broker(port=server.sockets[0].getsockname()[1], timeout=60.0)

    happenings = []
    async with asyncio.timeout(10):
        async with SimulatedDock(quick_config(Impatient), on_happening=happenings.append):
            assert [await versions.get() for _ in range(3)] == [5, 4, 5]
    assert mqtt.HUNG_UP in happenings[0].text
    server.close()
    await server.wait_closed()


def test_the_pause_grows_up_to_a_limit_and_is_never_the_same_for_all():
    config = simulate.DockConfig(retry_first=0.5, retry_most=30)
    assert backoff(0, config, random.Random(1)) == 0
    for failures, longest in ((1, 0.5), (2, 1.0), (5, 8.0), (20, 30.0), (100_000, 30.0)):
        pauses = [backoff(failures, config, random.Random(seed)) for seed in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


@pytest.mark.parametrize("number", ["", "a/b", "a+", "#", "a b", "x" * 65, "ü"])
def test_a_serial_number_that_cannot_be_part_of_a_topic_is_refused(number):
    with pytest.raises(ValueError, match="not a serial number"):
        simulate.DockConfig(gateway=number)
