"""What is secret in requests and answers."""

from typing import Any

import orjson
import pytest
from google.protobuf.message import Message

from dockgate_server.codec import catalogue, dji_json, redaction
from dockgate_server.codec.redaction import without_secrets


@pytest.mark.parametrize(
    "name",
    [
        "app_key",
        "app_license",
        "device_binding_code",
        "device_secret",
        "access_key_id",
        "access_key_secret",
        "security_token",
        "token",
        "password",
        # Only the schema says so of these.
        "secret_code",
        "username",
        "client_id",
    ],
)
def test_secret_members_are_left_out(name: str) -> None:
    """At any depth, and whatever their value is."""
    value = {"a": [{name: "hush", "b": 1}], name: {"hush": "hush"}}
    assert without_secrets(value) == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://f.example/a.kmz?X-Amz-Signature=hush", "https://f.example/a.kmz"),
        ("https://me:hush@f.example/a@b.kmz#hush", "https://f.example/a@b.kmz"),
        ("https://f.example/a.kmz", "https://f.example/a.kmz"),
        ("a?hush\nhush", "a"),
    ],
)
def test_an_address_keeps_what_names_the_file(address: str, shown: str) -> None:
    """And loses what gives access to it."""
    assert without_secrets({"file": {"url": address}}) == {"file": {"url": shown}}


@pytest.mark.parametrize("value", [None, "text", 1, [], {}, [1, "a"], {"urls": ["x"]}, {"a": None}])
def test_everything_else_stays(value: Any) -> None:
    """Also what is no object."""
    assert without_secrets(value) == value


@pytest.mark.parametrize(
    "address", ["rtmp://host/live/hush", "channel=1&token=hush", "serverIP=1&agentPassword=hush"]
)
def test_the_address_of_a_stream_is_secret_as_a_whole(address: str) -> None:
    """What gives access stands anywhere in it."""
    assert without_secrets({"url": address, "url_type": 1}) == {"url_type": 1}


@pytest.mark.parametrize("known", [True, False])
def test_each_address_of_a_list_is_one(known: bool) -> None:
    """Those of streams are left out; of a command that is kept null stands for them."""
    told = {"urls": ["rtmp://h/live/hush", "https://f/a?hush", {"url": "https://f/b?hush"}, 1]}
    kept = ["https://f/a", {"url": "https://f/b"}, 1]
    assert without_secrets(told, known=known) == {"urls": kept}
    assert redaction.to_keep("brand_new_method", told) == {"urls": [None, *kept]}


@pytest.mark.parametrize("name", ["file_url", "url", "upload_url"])
def test_every_address_loses_what_signs_it(name: str) -> None:
    """Whatever it is the address of."""
    assert without_secrets({name: "https://f/a?hush"}) == {name: "https://f/a"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"password":"hush"}',
        b'{"pass\\u0077ord":"hush"}',
        b'"password": "hush',
        b'{"url":""}',
        b'{"Wifi_PassPhrase":1}',
        b'{"auth":1}',
    ],
)
def test_a_message_with_a_secret_is_noticed_by_its_bytes(raw: bytes) -> None:
    """Also one that is not whole, and one that writes the name in another way."""
    assert redaction.may_hold_secrets(raw)


def test_a_message_without_one_stays_the_same_object() -> None:
    """Nothing is made anew."""
    data = {"result": 0, "output": {"status": "ok"}}
    assert without_secrets(data) is data
    assert without_secrets({"token": 1, "a": 2}) == {"a": 2}
    assert not redaction.may_hold_secrets(orjson.dumps(data | {"author": 1}))


def test_what_is_kept_of_a_command_has_the_names_of_its_secrets() -> None:
    """The marks of its message say which, and its other fields stay as they are."""
    sent = {
        "mqtt_broker": {"address": "a:1", "username": "hush", "password": ""},
        "osd_frequency": 1,
    }
    assert redaction.to_keep("drc_mode_enter", sent) == {
        "mqtt_broker": {"address": "a:1", "username": None, "password": None},
        "osd_frequency": 1,
    }


@pytest.mark.parametrize(
    ("command_type", "data"),
    [
        ("flighttask_prepare", {"file": {"url": "https://f/a?signed"}, "username": "plain here"}),
        ("drc_mode_enter", {"osd_frequency": 1}),
        ("brand_new_method", {"a": [{"b": 1}], "url": "https://f/a"}),
        ("brand_new_method", None),
    ],
)
def test_a_command_without_secrets_is_kept_as_it_is(command_type: str, data: Any) -> None:
    """The very object: nothing has to be sealed then."""
    assert redaction.to_keep(command_type, data) is data


def test_of_a_method_that_nobody_knows_the_names_decide() -> None:
    """And addresses are kept without what gives access."""
    sent = {"a": [{"token": "hush"}, 1], "url": "https://f/a?hush", "file_url": "rtmp://hush"}
    kept = {"a": [{"token": None}, 1], "url": "https://f/a", "file_url": None}
    assert redaction.to_keep("brand_new_method", sent) == kept


@pytest.mark.parametrize(
    "name", ["Password", "api_key", "apiKey", "secretKey", "wifi_psk", "auth", "refresh_token"]
)
def test_of_a_method_that_nobody_knows_likely_names_are_enough(name: str) -> None:
    """However they are written: nobody has marked its fields."""
    sent = {"a": {name: "hush"}, "author": "plain"}
    assert redaction.to_keep("brand_new_method", sent) == {"a": {name: None}, "author": "plain"}


@pytest.mark.parametrize("known", [True, False])
def test_what_no_schema_describes_is_judged_by_its_names_everywhere(known: bool) -> None:
    """What a device repeats of a raw method as well as the method itself."""
    told = {"wifi_passphrase": "hush", "parts": [{"user_Password": "hush", "n": 1}], "ssid": "net"}
    assert without_secrets(told, known=known) == {"parts": [{"n": 1}], "ssid": "net"}
    kept = {"wifi_passphrase": None, "parts": [{"user_Password": None, "n": 1}], "ssid": "net"}
    assert redaction.to_keep("brand_new_method", told) == kept


def test_what_the_schema_has_without_a_mark_is_shown_where_it_is_known() -> None:
    """It may be named as it likes."""
    told = {"licenses": [{"common_fields": {"license_id": 7}}], "credentials": {"expire": 1}}
    assert without_secrets(told, known=True) is told
    assert without_secrets(told, known=False) == {}


def test_names_that_devices_make_up_fill_no_memory() -> None:
    """Long ones are judged, and not remembered."""
    assert without_secrets({"x" * 100_000 + "_token": 1, "y" * 100_000: 1}) == {"y" * 100_000: 1}
    without_secrets({f"made_up_{number}": 1 for number in range(2 * redaction._NAMES_KEPT)})
    assert len(redaction._IF_KNOWN) == redaction._NAMES_KEPT
    redaction._IF_KNOWN.clear()


def test_every_marked_field_is_kept_as_null() -> None:
    """Whichever message it is in."""
    marked = [one for one in catalogue.METHODS if redaction.has_marks(one)]
    assert {"fileupload_start", "live_start_push", "drc_mode_enter"} <= set(marked)
    for method in marked:
        message = dji_json.new_message(catalogue.METHODS[method].descriptor)
        data = dji_json.to_dict(filled(message))
        kept = str(redaction.to_keep(method, data))
        assert ("hush" in kept, "4711" in kept) == (False, False), method


def filled(message: Message) -> Message:
    """A message whose marked fields are all set."""
    for field in message.DESCRIPTOR.fields:
        target = getattr(message, field.name)
        if field.message_type is not None:
            filled(target.add() if field.is_repeated else target)
            if not field.is_repeated:
                target.SetInParent()
        elif field.GetOptions().debug_redact and field.is_repeated:
            target.append(4711)
        elif field.GetOptions().debug_redact:
            setattr(message, field.name, "hush")
    return message
