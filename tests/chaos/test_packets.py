"""The tap's parser, on packets of both versions, whole and in pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.handmade import CONNECT, publish
from chaos.packets import Conversation, Malformed, Puback, Publish


def test_a_publish_of_mqtt_5_is_read_with_its_expiry() -> None:
    """Topic, payload, flags, and one property among several."""
    sent = publish(
        "a/é",
        b"payload",
        duplicate=True,
        PayloadFormatIndicator=1,
        MessageExpiryInterval=300,
        ContentType="application/json",
        ResponseTopic="b",
        CorrelationData=b"\x02\x00",
        UserProperty=[("a", "1"), ("b", "2")],
    )
    (read,) = Conversation().from_client(CONNECT[5] + sent)
    assert read == Publish(
        topic="a/é",
        payload=b"payload",
        qos=1,
        packet_id=7,
        duplicate=True,
        retain=False,
        expiry_seconds=300,
    )


@pytest.mark.parametrize(("qos", "packet_id"), [(0, None), (1, 7), (2, 7)])
def test_a_publish_has_a_packet_id_but_for_qos_0(qos: int, packet_id: int | None) -> None:
    """It stands between topic and properties."""
    (read,) = Conversation().from_client(CONNECT[5] + publish("a", b"payload", qos=qos))
    assert isinstance(read, Publish)
    assert (read.qos, read.packet_id, read.payload) == (qos, packet_id, b"payload")


def test_a_message_to_a_subscriber_names_its_subscription() -> None:
    """A property of another form, which must not hide what stands behind it."""
    conversation = Conversation()
    conversation.from_client(CONNECT[5])
    body = b"\x00\x01a\x08\x0b\x80\x01\x02\x00\x00\x00\x09payload"
    (read,) = conversation.from_broker(bytes([0x30, len(body)]) + body)
    assert isinstance(read, Publish)
    assert (read.expiry_seconds, read.payload) == (9, b"payload")


def test_a_publish_of_mqtt_3_1_1_has_no_properties() -> None:
    """Its payload begins where the properties would."""
    sent = publish("a", b"\x05\x02payload", level=4, qos=0, retain=True)
    (read,) = Conversation().from_client(CONNECT[4] + sent)
    assert isinstance(read, Publish)
    assert (read.payload, read.packet_id, read.expiry_seconds) == (b"\x05\x02payload", None, None)
    assert read.retain


@pytest.mark.parametrize(
    ("level", "sent", "reason"),
    [
        (5, b"\x40\x02\x00\x07", 0),
        (5, b"\x40\x03\x00\x07\x10", 0x10),
        (5, b"\x40\x04\x00\x07\x87\x00", 0x87),
        (4, b"\x40\x02\x00\x07", 0),
    ],
    ids=["without a reason", "nobody", "with properties", "3.1.1"],
)
def test_a_puback_is_read_with_its_reason(level: int, sent: bytes, reason: int) -> None:
    """The version is the one that the other direction named."""
    conversation = Conversation()
    conversation.from_client(CONNECT[level])
    assert conversation.from_broker(sent) == [Puback(7, reason)]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_packets_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    """TCP knows no packets; other packets than those wanted are passed over."""
    long, short = publish("long", b"x" * 200, MessageExpiryInterval=1), publish("", b"", qos=0)
    pingreq, subscribe = b"\xc0\x00", b"\x82\x07\x00\x01\x00\x00\x01a\x01"
    stream = CONNECT[5] + pingreq + long + subscribe + short + b"\x40\x02\x00\x09" + pingreq
    whole = Conversation().from_client(stream)

    places = sorted({0, *(cut % len(stream) for cut in cuts), len(stream)})
    conversation = Conversation()
    pieces = [stream[begin:end] for begin, end in itertools.pairwise(places)]
    read = [packet for piece in pieces for packet in conversation.from_client(piece)]

    assert read == whole
    assert [type(packet) for packet in read] == [Publish, Publish, Puback]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x30\x03\x00\x01a",
        CONNECT[5] + b"\x30\xff\xff\xff\xff\x01",
        CONNECT[5] + b"\x30\x03\x00\x09a",
        CONNECT[4] + b"\x30\x03\x00\x09a",
        CONNECT[5] + b"\x30\x07\x00\x01a\x03\x23\x00\x01",
        CONNECT[5] + b"\x30\x04\x00\x01\xff\x00",
        CONNECT[5] + b"\x30\x04\x00\x01a\x80",
    ],
    ids=["no CONNECT", "length", "short", "short in 3.1.1", "topic alias", "no text", "no end"],
)
def test_what_is_not_understood_is_said(sent: bytes) -> None:
    """A count that may be wrong is no evidence."""
    with pytest.raises(Malformed):
        Conversation().from_client(sent)
