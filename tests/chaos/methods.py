"""What is submitted: methods of every kind, and how the simulated docks behave to them."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from dockgate.dji.v1 import method_pb2, options_pb2
from dockgate.downlink.v1 import command_pb2
from dockgate.downlink.v1 import command_service_pb2 as pb

_CAMERA = "39-0-7"
_LENS = {"payload_index": _CAMERA, "camera_type": "zoom"}
_THERMAL = "53-0-0"
_VIDEO = f"1ZNDH1D0010098/{_CAMERA}/normal-0"

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A method and how its fields are made of a number that differs from command to command."""

    method: str
    fields: Callable[[int], Fields] = lambda _: {}
    data: Callable[[Fields], Any] = lambda fields: dict(fields) or None
    """What the dock is to get; written down here once more, as the server is not to be trusted."""
    weight: float = 1.0


KINDS = (
    # Services that must not be repeated.
    Kind("camera_recording_start", lambda _: {"payload_index": _CAMERA}, weight=3),
    Kind("camera_recording_stop", lambda _: {"payload_index": _CAMERA}),
    Kind("gimbal_reset", lambda n: {"payload_index": _CAMERA, "reset_mode": n % 4}, weight=2),
    Kind("camera_aim", lambda n: {**_LENS, "locked": True, "x": 0.5, "y": n % 8 / 8}),
    Kind("camera_screen_drag", lambda n: {"payload_index": _CAMERA, **_drag(n)}),
    Kind("psdk_input_box_text_set", lambda n: {"psdk_index": 2, "value": f"text {n}"}, weight=3),
    Kind("psdk_widget_value_set", lambda n: {"psdk_index": 2, "index": 1, "value": n % 100}),
    Kind("custom_data_transmission_to_psdk", lambda n: {"value": f"data {n}"}, weight=2),
    Kind("debug_mode_open"),
    Kind("debug_mode_close"),
    # One that overtakes.
    Kind("return_home", weight=0.5),
    # Services that are safe to repeat.
    Kind("supplement_light_open"),
    Kind("camera_focal_length_set", lambda n: {**_LENS, "zoom_factor": 2 + n % 100}, weight=2),
    Kind("speaker_play_volume_set", lambda n: {"psdk_index": 2, "play_volume": n % 101}, weight=2),
    Kind("live_set_quality", lambda n: {"video_id": _VIDEO, "video_quality": n % 4}, weight=0.5),
    # Services that start jobs; charge_open is safe to repeat, the others are not.
    Kind("charge_open", weight=2),
    Kind("charge_close"),
    Kind("cover_open"),
    Kind("cover_close"),
    # Properties; all are safe to repeat.
    Kind("height_limit", lambda n: {"height_limit": 20 + n % 400}, weight=2),
    Kind("rth_altitude", lambda n: {"rth_altitude": 20 + n % 400}),
    Kind("night_lights_state", lambda n: {"night_lights_state": n % 2}),
    Kind(
        "thermal_gain_mode",
        lambda n: {"payload_index": _THERMAL, "thermal_gain_mode": n % 3},
        lambda fields: {_THERMAL: {"thermal_gain_mode": fields["thermal_gain_mode"]}},
    ),
    # DRC, both safe to repeat and not, and a control stream, which nobody answers.
    Kind("drc_camera_photo_take", lambda _: {"payload_index": _CAMERA}, weight=2),
    Kind("drc_psdk_input_box_text_set", lambda n: {"psdk_index": 2, "value": f"text {n}"}),
    Kind("drc_gimbal_reset", lambda n: {"payload_index": _CAMERA, "reset_mode": n % 4}),
    Kind("drc_camera_iso_set", lambda n: {**_LENS, "iso_value": n % 10}, weight=2),
    Kind("drc_speaker_play_volume_set", lambda n: {"psdk_index": 2, "play_volume": 1 + n % 99}),
    Kind("heart_beat", lambda n: {"timestamp": 1_776_859_200_000 + n}, weight=2),
)

BEHAVIOURS = (
    "camera_recording_stop=twice",
    "gimbal_reset=slow:1",
    "camera_screen_drag=no-result",
    "psdk_widget_value_set=late:4",
    "debug_mode_close=unreadable",
    "supplement_light_open=wrong-tid",
    "live_set_quality=offline:1",
    "cover_close=wrong-method",
    "rth_altitude=member-fails:rth_altitude=1",
    "night_lights_state=slow:3",
    "drc_gimbal_reset=silent",
    "drc_speaker_play_volume_set=twice",
)
"""What is not here is answered as a dock should."""

REPLIES = ('charge_close={"result": 314008}',)


def pick(rng: random.Random) -> Kind:
    """One of the kinds, by weight."""
    (kind,) = rng.choices(KINDS, [kind.weight for kind in KINDS])
    return kind


def fill(request: pb.SubmitCommandRequest, kind: Kind, fields: Fields) -> None:
    """Put the method into a submission."""
    message = getattr(request.dji, kind.method)
    message.SetInParent()
    json_format.ParseDict(dict(fields), message)


def offline_policy(rng: random.Random, method: str) -> "command_pb2.OfflinePolicy.ValueType":
    """Mostly the method's own; a control stream cannot be queued."""
    if spec(method).control_stream:
        return command_pb2.OFFLINE_POLICY_UNSPECIFIED
    return rng.choices(command_pb2.OfflinePolicy.values(), (4, 1, 1))[0]


def spec(method: str) -> options_pb2.MethodSpec:
    """What the schema says of a method, read from the stubs and not from the server."""
    message = method_pb2.Method.DESCRIPTOR.fields_by_name[method].message_type
    assert message is not None, "every arm of the oneof is a message"
    return message.GetOptions().Extensions[options_pb2.method_spec]


def _drag(n: int) -> Fields:
    return {"locked": True, "pitch_speed": n % 8 / 8, "yaw_speed": -0.5}
