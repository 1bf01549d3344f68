"""The flags of `dockgate simulate`: read, checked and put together."""

from __future__ import annotations

import contextlib
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

from dockgate_server.simulate import jobs
from dockgate_server.simulate.behaviour import (
    Behaviour,
    Ending,
    JobEnds,
    JobFails,
    conduct_of,
)
from dockgate_server.simulate.config import DockConfig
from dockgate_server.simulate.connection import Broker
from dockgate_server.simulate.parsing import (
    parse_behave,
    parse_rate,
    parse_reply,
    parse_seconds,
)


class UsageError(ValueError):
    """A flag has a bad value; the text says which, what is wrong and what would be right."""


def parse_broker(
    url: str,
    *,
    password: str | None = None,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
) -> Broker:
    """Read the address of a broker.

    Args:
        url: mqtt://[user[:password]@]host[:port], or mqtts:// for TLS.
        password: used where the URL has none.
        ca_file: certificates to trust instead of the system's.
        cert_file: the dock's own certificate, for a broker that asks for one.
        key_file: the private key of that.

    Raises:
        UsageError: its text never repeats a password.
    """
    like = "write mqtt://host:1883, or mqtts://user@host:8883 for TLS"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"--broker: {error}; {like}") from None
    if parts.scheme not in ("mqtt", "mqtts") or not host:
        raise UsageError(f"--broker: this is not the address of a broker; {like}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"--broker: nothing may follow host and port; {like}")
    if port == 0:
        raise UsageError(f"--broker: there is no port 0; {like}")
    username = urllib.parse.unquote(parts.username) if parts.username else None
    secret = urllib.parse.unquote(parts.password) if parts.password else password
    if secret and not username:
        raise UsageError(f"--broker: a password without a user; {like}")
    tls = None
    if parts.scheme == "mqtts":
        tls = _tls(ca_file, cert_file, key_file)
    elif given := [
        flag
        for flag, file in (
            ("--ca-file", ca_file),
            ("--cert-file", cert_file),
            ("--key-file", key_file),
        )
        if file is not None
    ]:
        raise UsageError(f"{given[0]}: is for TLS; write --broker mqtts://…")
    default_port = 8883 if tls else 1883
    return Broker(host=host, port=port or default_port, username=username, password=secret, tls=tls)


def _tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise UsageError(f"--ca-file: {ca_file} is no readable PEM file ({error})") from None
    if (cert_file is None) != (key_file is None):
        raise UsageError("--cert-file: and --key-file must be given together")
    if cert_file is not None:
        try:
            # Without one, OpenSSL would ask for a passphrase on the terminal.
            tls.load_cert_chain(cert_file, key_file, password="")  # nosec B106
        except OSError as error:
            raise UsageError(
                f"--cert-file: {cert_file} and {key_file} are no certificate and its unencrypted"
                f" key ({error})"
            ) from None
    return tls


def parse_behaviours(
    behave: list[str], reply: list[str]
) -> Mapping[str | None, tuple[Behaviour, ...]]:
    """Read all --behave and --reply together; what is given for one method adds up.

    Raises:
        UsageError: one of them is wrong, two exclude each other, or a job is to end in a way in
            which it cannot.
    """
    told: dict[str | None, tuple[Behaviour, ...]] = {}
    for flag, parse, texts in (("--behave", parse_behave, behave), ("--reply", parse_reply, reply)):
        for text in texts:
            with _flag(f"{flag} {text}"):
                method, behaviour = parse(text)
                if method:
                    _check_known(method)
                told[method] = (*told.get(method, ()), behaviour)
                conduct_of(told[method])
                if method and isinstance(behaviour, Ending):
                    _check_can_end(method, behaviour)
    return told


def configure(
    *,
    broker: Broker,
    gateway: str,
    drone: str,
    answer_after: str,
    step_every: str,
    keep_session: str,
    register: bool,
    organization: str,
    binding_code: str,
    takeoff_wait: str,
    drc_push: str,
    osd: str,
    events: str,
    behaviours: Mapping[str | None, tuple[Behaviour, ...]],
) -> DockConfig:
    """Put the flags together into a configuration.

    Raises:
        UsageError: the first flag that is wrong.
    """
    with _flag("--answer-after"):
        answer_seconds = parse_seconds(answer_after)
    with _flag("--step-every"):
        step_seconds = parse_seconds(step_every)
    with _flag("--keep-session"):
        session_seconds = int(parse_seconds(keep_session))
    with _flag("--takeoff-wait"):
        takeoff_seconds = parse_seconds(takeoff_wait)
    with _flag("--drc-push"):
        pushes_per_second = parse_rate(drc_push)
    with _flag("--osd"):
        osd_per_second = parse_rate(osd)
    with _flag("--events"):
        events_per_second = parse_rate(events)
    with _flag("--dock, --drone"):
        return DockConfig(
            broker=broker,
            gateway=gateway,
            drone=drone,
            answer_after=answer_seconds,
            step_every=step_seconds,
            keep_session=session_seconds,
            register=register,
            organization=organization,
            binding_code=binding_code,
            takeoff_wait=takeoff_seconds,
            drc_push=pushes_per_second,
            osd=osd_per_second,
            events=events_per_second,
            behaviours=behaviours,
        )


@contextlib.contextmanager
def _flag(name: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def _check_known(method: str) -> None:
    """A slip would be a dock that behaves well, and a test that shows nothing."""
    import difflib

    from dockgate.dji.v1 import method_pb2

    known = [one.name for one in method_pb2.Method.DESCRIPTOR.oneofs_by_name["method"].fields]
    if method not in known:
        close = difflib.get_close_matches(method, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "see: dockgate methods"
        raise ValueError(f"there is no method {method!r}; {hint}")


def _check_can_end(method: str, ending: Ending) -> None:
    if not jobs.has_job(method):
        raise ValueError(f"{method} starts no job that could end; charge_open, for one, does")
    match ending:
        case JobFails() if not jobs.can_end(method, "failed"):
            raise ValueError(f"the events of {method} have no way to report a failure")
        case JobEnds(status=status) if not jobs.can_end(method, status):
            raise ValueError(f"the events of {method} have no word for {status}")
