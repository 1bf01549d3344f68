"""The catalogue, read from the schema."""

import pytest

from dockgate.dji.v1 import device_pb2, options_pb2, raw_pb2, wayline_pb2
from dockgate_server.codec import catalogue
from dockgate_server.errors import DockgateError, Reason


def test_a_close_name_is_suggested() -> None:
    """A typing error costs a caller one look."""
    with pytest.raises(DockgateError) as refused:
        catalogue.find("camera_recording_strat")
    assert refused.value.reason is Reason.UNSUPPORTED_COMMAND
    assert refused.value.metadata == {
        "command_type": "camera_recording_strat",
        "did_you_mean": "camera_recording_start",
    }
    assert "did you mean 'camera_recording_start'?" in refused.value.message


def test_a_name_like_no_other_is_not_guessed_at() -> None:
    """A wrong suggestion is worse than none."""
    with pytest.raises(DockgateError) as refused:
        catalogue.find("xyz")
    assert refused.value.metadata == {"command_type": "xyz"}


def test_a_known_name_is_found() -> None:
    """With the timeout of its spec, or the gateway's."""
    method = catalogue.find("charge_open")
    assert method.name == "charge_open"
    assert method.default_timeout_seconds == catalogue.DEFAULT_TIMEOUT_SECONDS == 30


def test_a_job_has_the_key_that_its_events_carry() -> None:
    """The bid we sent, or the field that the method names; none where there is no job."""
    flight = wayline_pb2.FlighttaskPrepare(flight_id="F1")
    assert catalogue.METHODS["flighttask_prepare"].job_key(flight, "C1") == "F1"
    assert catalogue.METHODS["charge_open"].job_key(device_pb2.ChargeOpen(), "C1") == "C1"
    abort = wayline_pb2.FlightSetupAbort()
    assert catalogue.METHODS["flight_setup_abort"].job_key(abort, "C1") is None


def test_an_event_leads_to_the_methods_whose_jobs_it_reports() -> None:
    """Under the key that the event carries."""
    (link,) = catalogue.PROGRESS["charge_open"]
    assert (link.command_type, link.event_key) == ("charge_open", "bid")
    assert "flighttask_progress" in catalogue.PROGRESS
    assert set(catalogue.PROGRESS) == {
        link.event for method in catalogue.METHODS.values() for link in method.progress
    }


def test_methods_of_all_channels_are_known() -> None:
    """Services, writable properties and DRC; the raw arm is none of them."""
    channels = {
        options_pb2.Channel.Name(method.spec.channel) for method in catalogue.METHODS.values()
    }
    assert channels == {"CHANNEL_SERVICES", "CHANNEL_PROPERTY_SET", "CHANNEL_DRC"}
    assert catalogue.RAW not in catalogue.METHODS
    assert catalogue.REPLIES.keys() < catalogue.METHODS.keys()


def test_a_photo_may_be_taken_without_a_job() -> None:
    """Only a panorama reports progress; a cover always does."""
    assert not catalogue.METHODS["camera_photo_take"].always_reports_a_job
    assert catalogue.METHODS["cover_open"].always_reports_a_job
    assert not catalogue.METHODS["height_limit"].always_reports_a_job


def test_a_raw_method_is_never_safe_to_repeat() -> None:
    """Nothing is known about it but its channel."""
    raw = catalogue.raw(raw_pb2.RawMethod(method="cover_knock", channel="drc"))
    assert (raw.name, raw.spec.channel) == ("cover_knock", options_pb2.CHANNEL_DRC)
    assert not raw.spec.safe_to_repeat
    assert raw.progress == ()


def test_a_method_of_the_schema_does_not_go_around_its_rules() -> None:
    """As a raw method it would."""
    with pytest.raises(DockgateError) as refused:
        catalogue.raw(raw_pb2.RawMethod(method="takeoff_to_point", channel="services"))
    assert refused.value.reason is Reason.UNSUPPORTED_COMMAND
