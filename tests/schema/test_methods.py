"""The vendor schema keeps the promises on which catalogue and codec rest."""

import re
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from dockgate.dji.v1 import event_pb2, method_pb2, options_pb2, raw_pb2, reply_pb2
from dockgate_server.codec import catalogue

BLOCKS = {
    "device": 100,
    "camera": 200,
    "drc": 300,
    "wayline": 400,
    "psdk": 500,
    "safety": 600,
    "live": 700,
    "file": 800,
    "firmware": 900,
    "property": 1000,
}
EVERY_ARM = list(method_pb2.Method.DESCRIPTOR.oneofs_by_name["method"].fields)
ARMS = [arm for arm in EVERY_ARM if arm.name != catalogue.RAW]
REPLIES = list(reply_pb2.Reply.DESCRIPTOR.oneofs_by_name["reply"].fields)
EVENTS = list(event_pb2.Event.DESCRIPTOR.oneofs_by_name["event"].fields)
SECRET = re.compile(r"secret|token|password|access_key|licen[cs]e$|app_key|credential_value", re.I)
REDACTED_ALTHOUGH_NAMED_PLAINLY = {
    "DrcModeEnter.MqttBroker.client_id",  # with the name and the password it is the credentials
    "DrcModeEnter.MqttBroker.username",
    "LiveStartPush.url",  # holds the stream's token
    "UnlockLicenseUpdate.File.url",  # signed, with the access key's id in it
}


def _message(arm: FieldDescriptor) -> Descriptor:
    """What an arm holds."""
    assert arm.message_type is not None
    return arm.message_type


def _fields(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    """Every field of a message and of the schema's own messages in it."""
    for field in descriptor.fields:
        yield field
        if field.message_type is not None and field.message_type.file.package == "dockgate.dji.v1":
            yield from _fields(field.message_type)


FIELDS = sorted(
    {
        field.full_name: field
        for arm in ARMS + REPLIES + EVENTS
        for field in _fields(_message(arm))
    }.values(),
    key=lambda field: field.full_name,
)


def _short(field: FieldDescriptor) -> str:
    return field.full_name.removeprefix("dockgate.dji.v1.")


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_a_method_describes_itself_completely(arm: FieldDescriptor) -> None:
    """Arm, message, number and MethodSpec fit one another."""
    message = _message(arm)
    assert message.name == "".join(word.capitalize() for word in arm.name.split("_"))
    spec = message.GetOptions().Extensions[options_pb2.method_spec]
    assert spec.channel != options_pb2.CHANNEL_UNSPECIFIED
    assert spec.domain != options_pb2.DOMAIN_UNSPECIFIED
    assert len(spec.devices) == len(set(spec.devices)) > 0
    assert options_pb2.DEVICE_MODEL_UNSPECIFIED not in spec.devices
    assert re.fullmatch(r"[a-z0-9/_-]+\.html", spec.page)
    assert spec.default_timeout_seconds <= 300
    assert not (message.fields and spec.empty_data), "only a method without fields sends null"
    domain = options_pb2.Domain.Name(spec.domain).removeprefix("DOMAIN_").lower()
    assert BLOCKS[domain] <= arm.number < BLOCKS[domain] + 100
    assert message.file.name == f"dockgate/dji/v1/{domain}.proto"


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_what_ties_a_job_to_its_command_exists(arm: FieldDescriptor) -> None:
    """A key that the request does not have could never match; a method has one key."""
    spec = _message(arm).GetOptions().Extensions[options_pb2.method_spec]
    for event in spec.progress:
        assert event.method
        assert event.event_key
        if event.request_field:
            field = _message(arm).fields_by_name[event.request_field]
            assert field.type == FieldDescriptor.TYPE_STRING
    assert len({event.request_field for event in spec.progress}) <= 1


def test_channels_have_what_they_need() -> None:
    """Only DRC messages carry a sequence number or go unanswered, and no event is tied to them."""
    for arm in ARMS:
        spec = _message(arm).GetOptions().Extensions[options_pb2.method_spec]
        if spec.channel == options_pb2.CHANNEL_DRC:
            assert not spec.progress, arm.name
            assert spec.control_stream == (spec.reply == options_pb2.REPLY_KIND_NONE), arm.name
        else:
            assert (spec.seq, spec.reply, spec.control_stream) == (0, 0, False), arm.name
        is_property = spec.channel == options_pb2.CHANNEL_PROPERTY_SET
        assert is_property == (spec.domain == options_pb2.DOMAIN_PROPERTY), arm.name


def test_the_raw_arm_is_no_method() -> None:
    """It stands outside the blocks and describes nothing."""
    (arm,) = set(EVERY_ARM) - set(ARMS)
    assert _message(arm).full_name == raw_pb2.RawMethod.DESCRIPTOR.full_name
    assert arm.number < min(BLOCKS.values())
    assert not _message(arm).GetOptions().HasExtension(options_pb2.method_spec)


@pytest.mark.parametrize("arm", REPLIES, ids=lambda arm: arm.name)
def test_a_reply_is_named_and_numbered_like_its_method(arm: FieldDescriptor) -> None:
    """And stands in the method's file."""
    method = method_pb2.Method.DESCRIPTOR.fields_by_name[arm.name]
    assert arm.number == method.number
    assert _message(arm).name == f"{_message(method).name}Reply"
    assert _message(arm).file.name == _message(method).file.name


@pytest.mark.parametrize("arm", EVENTS, ids=lambda arm: arm.name)
def test_an_event_is_named_and_numbered_like_its_domain(arm: FieldDescriptor) -> None:
    """It stands in the file of its domain; those of none stand beside the oneof."""
    message = _message(arm)
    assert message.name == "".join(word.capitalize() for word in arm.name.split("_")) + "Event"
    spec = message.GetOptions().Extensions[options_pb2.event_spec]
    assert len(spec.devices) == len(set(spec.devices)) > 0
    assert re.fullmatch(r"([a-z0-9/_-]+\.html)?", spec.page)
    (domain,) = re.findall(r"dockgate/dji/v1/(\w+)\.proto", message.file.name)
    first = BLOCKS.get(domain, 0)
    assert first <= arm.number < first + 100
    assert (domain == "event") == (first == 0)


def test_the_catalogue_knows_every_event() -> None:
    """By DJI's name."""
    assert list(catalogue.EVENTS) == [arm.name for arm in EVENTS]


def test_a_list_without_a_name_is_all_that_its_event_holds() -> None:
    """It is the whole of `data`, so nothing could stand beside it."""
    whole = {
        field.containing_type.name: field
        for field in FIELDS
        if field.GetOptions().Extensions[options_pb2.field_spec].whole_data
    }
    assert list(whole) == ["AirsenseWarningEvent"]
    for field in whole.values():
        assert field.is_repeated
        assert list(field.containing_type.fields) == [field]


def test_absent_and_zero_differ() -> None:
    """DJI gives 0 a meaning, so every single value says whether it was given."""
    assert [
        _short(field) for field in FIELDS if not (field.is_repeated or field.has_presence)
    ] == []
    assert len(FIELDS) > 50


def test_secrets_are_redacted() -> None:
    """What looks like a secret does not show when a message is printed, and nothing else."""
    redacted = {_short(field) for field in FIELDS if field.GetOptions().debug_redact}
    named = {_short(f) for f in FIELDS if SECRET.search(f.name) and f.message_type is None}
    assert redacted == named | REDACTED_ALTHOUGH_NAMED_PLAINLY
    assert "FileuploadStart.Credentials.access_key_secret" in redacted


def test_a_vendor_enum_has_a_word_for_zero_that_is_djis_or_none() -> None:
    """DJI's numbers are kept, its 0 included; where DJI has none, 0 is UNSPECIFIED."""
    enums = {field.enum_type.full_name: field.enum_type for field in FIELDS if field.enum_type}
    assert enums
    for enum in enums.values():
        prefix = "".join(f"_{c}" if c.isupper() else c.upper() for c in enum.name).strip("_")
        assert all(value.name.startswith(f"{prefix}_") for value in enum.values)
        assert not enum.GetOptions().allow_alias


def test_types_are_those_of_djis_json() -> None:
    """No 64-bit unsigned, no bytes, no maps: the codec has a form for all there is."""
    known = {
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_ENUM,
        FieldDescriptor.TYPE_MESSAGE,
    }
    assert {field.type for field in FIELDS} <= known


def test_the_catalogue_knows_every_arm() -> None:
    """Nothing about a method is written down anywhere else."""
    assert list(catalogue.METHODS) == [arm.name for arm in ARMS]


def test_every_file_sets_the_packages_of_other_languages() -> None:
    """Set from the start: changing them later breaks every client."""
    files = {_message(arm).file for arm in EVERY_ARM}
    files |= {
        event_pb2.DESCRIPTOR,
        method_pb2.DESCRIPTOR,
        reply_pb2.DESCRIPTOR,
        options_pb2.DESCRIPTOR,
    }
    for file in files:
        options = file.GetOptions()
        assert isinstance(options, descriptor_pb2.FileOptions)
        assert options.java_multiple_files
        assert options.java_package == "dev.dockgate.dji.v1"
        assert options.go_package.endswith(";djiv1")
