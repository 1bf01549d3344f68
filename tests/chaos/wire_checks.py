"""What the wire says: nothing twice, nothing unannounced, nothing late, and the record agrees."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos import methods
from chaos.evidence import Evidence, Published, Stored, Violation
from dockgate.dji.v1 import options_pb2

NOBODY = 0x10
"""The broker's reason "No matching subscribers": it has thrown the message away."""
_FIRST_ERROR = 0x80
_SLACK_MS = 2000
"""Between the server's handing over and the tap's reading, on a busy machine."""

_REACHED_NOBODY = frozenset(
    {"DELIVERY_TIMEOUT", "CANCELLED", "NOT_CONNECTED", "EXPIRY_UNSUPPORTED", "DEVICE_OFFLINE"}
)
"""The failures that say that the dock has certainly not got the command."""


@dataclass(slots=True)
class Wire:
    """The publishes, put together with the commands that they carry."""

    by_command: dict[str, list[Published]] = field(default_factory=lambda: defaultdict(list))
    by_gateway: dict[str, list[tuple[str, Published]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """In the order of the wire, with the id of the command."""
    strays: list[Published] = field(default_factory=list)
    """Those that no command is stored for."""


def sort(evidence: Evidence) -> Wire:
    """Find the command of every publish."""
    wire = Wire()
    by_seq = {stored.seq: command_id for command_id, stored in evidence.stored.items()}
    for published in evidence.published:
        tid, seq = published.tid, published.seq
        command_id = tid if tid is not None else by_seq.get(seq or 0, "")
        if command_id in evidence.stored:
            wire.by_command[command_id].append(published)
            wire.by_gateway[published.gateway_id].append((command_id, published))
        else:
            wire.strays.append(published)
    return wire


def key(published: Published) -> tuple[str, str]:
    """What a dock knows the command by: with its own serial number, the tid or the number."""
    return published.gateway_id, published.tid or str(published.seq)


def strays(evidence: Evidence) -> Iterator[Violation]:
    """What is published is recorded, and the intent to publish it as well."""
    wire = sort(evidence)
    for stray in wire.strays:
        about = stray.tid or f"seq {stray.seq} of {stray.gateway_id}"
        yield Violation("published unrecorded", about, "no such command is stored")
    announced = {event.command_id for event in evidence.events if event.kind == "SENDING"}
    for command_id in wire.by_command.keys() - announced:
        yield Violation("published unrecorded", command_id, "it has no event SENDING")


def missed(evidence: Evidence) -> Iterator[Violation]:
    """What reached a dock has passed the tap: the witness has seen everything."""
    passed = {key(one) for one in evidence.published}
    for gateway_id, name in evidence.received.keys() - passed:
        yield Violation("tap", name, f"it reached {gateway_id} past the tap")


def forgotten(evidence: Evidence) -> Iterator[Violation]:
    """A reply that the server acknowledged is recorded: the broker no longer has it."""
    by_seq = {stored.seq: command_id for command_id, stored in evidence.stored.items()}
    kinds = ("REPLIED", "UNMATCHED_REPLY")
    recorded = {event.command_id for event in evidence.events if event.kind in kinds}
    for answered in evidence.answered:
        command_id = answered.tid or by_seq.get(answered.seq or 0, "")
        stored = evidence.stored.get(command_id)
        if stored is None or stored.gateway_id != answered.gateway_id:
            continue  # it goes to the ledger, which is bounded
        is_answer = methods.spec(stored.method).reply != options_pb2.REPLY_KIND_NONE
        if is_answer and command_id not in recorded:
            yield Violation("reply forgotten", command_id, "acknowledged and not recorded")


def twice(evidence: Evidence) -> Iterator[Violation]:
    """Nothing is published twice, but what is safe to repeat or certainly reached nobody."""
    for command_id, copies in sort(evidence).by_command.items():
        stored = evidence.stored[command_id]
        if len(copies) == 1 or methods.spec(stored.method).safe_to_repeat:
            continue
        *earlier, _ = copies
        waits = stored.offline_policy == "QUEUE"
        if not (waits and all(copy.reason == NOBODY for copy in earlier)):
            text = f"{stored.method}, {stored.offline_policy}, {_reasons(copies)}"
            yield Violation("published twice", command_id, text)


def undoing(evidence: Evidence) -> Iterator[Violation]:
    """What may have arrived is not repeated behind a later command: it would undo that one."""
    for line in sort(evidence).by_gateway.values():
        places: dict[str, list[int]] = defaultdict(list)
        for place, (command_id, _) in enumerate(line):
            places[command_id].append(place)
        for command_id, own in places.items():
            arrived = [place for place in own if line[place][1].reason != NOBODY]
            between = line[arrived[0] : own[-1]] if arrived else []
            stored = evidence.stored[command_id]
            others = [evidence.stored[one] for one, copy in between if copy.reason != NOBODY]
            newest = max(others, key=lambda one: 0 if _streams(one) else one.seq, default=stored)
            if newest.seq > stored.seq:
                text = f"{_name(stored)} was repeated behind {_name(newest)}"
                yield Violation("repeated too late", command_id, text)


def out_of_order(evidence: Evidence) -> Iterator[Violation]:
    """A gateway's commands first leave in the order accepted, but for those that do not queue."""
    for line in sort(evidence).by_gateway.values():
        newest = 0
        left: set[str] = set()
        for command_id, _ in line:
            stored = evidence.stored[command_id]
            overtakes = methods.spec(stored.method).overtakes or _streams(stored)
            if command_id in left or overtakes:
                continue
            left.add(command_id)
            if stored.seq < newest:
                text = f"{_name(stored)} first left behind number {newest}"
                yield Violation("out of order", command_id, text)
            newest = max(newest, stored.seq)


def changed(evidence: Evidence) -> Iterator[Violation]:
    """What leaves is what was accepted, for the gateway that it was accepted for."""
    for command_id, copies in sort(evidence).by_command.items():
        stored = evidence.stored[command_id]
        for copy in copies:
            if (copy.gateway_id, copy.data) != (stored.gateway_id, stored.data):
                text = f"left as {copy.data!r} for {copy.gateway_id}"
                yield Violation("published otherwise", command_id, text)


def too_late(evidence: Evidence) -> Iterator[Violation]:
    """Nothing leaves that could still be delivered behind its deadline."""
    for command_id, copies in sort(evidence).by_command.items():
        deadline = evidence.stored[command_id].deadline_at
        for copy in copies:
            if copy.expiry_seconds is None or copy.retain:
                text = "left retained or without an expiry"
                yield Violation("published late", command_id, text)
            elif (late := copy.at + copy.expiry_seconds * 1000 - deadline) > _SLACK_MS:
                text = f"could reach the dock {late} ms behind its deadline"
                yield Violation("published late", command_id, text)


def untrue(evidence: Evidence) -> Iterator[Violation]:
    """What the record says of the sending is what the wire saw."""
    wire = sort(evidence)
    delivered = {event.command_id for event in evidence.events if event.kind == "DELIVERED"}
    for command_id, stored in evidence.stored.items():
        copies = wire.by_command.get(command_id, [])
        text = _untruth(stored, copies, is_delivered=command_id in delivered)
        if text is not None:
            yield Violation("untrue", command_id, f"{text}; {_reasons(copies)}")


def _untruth(stored: Stored, copies: list[Published], *, is_delivered: bool) -> str | None:
    view = stored.view
    arrived = [copy for copy in copies if copy.reason != NOBODY]
    was_taken = any(copy.reason is not None and copy.reason < _FIRST_ERROR for copy in arrived)
    if view.failure_code in _REACHED_NOBODY and arrived:
        return f"{view.failure_code}, but it may have arrived"
    if is_delivered and not was_taken:
        return "DELIVERED, but the broker did not take it"
    if view.failure_code == "RESPONSE_TIMEOUT" and not was_taken:
        return "RESPONSE_TIMEOUT, but the broker did not take it"
    if view.basis in ("DEVICE_REPLY", "LOCAL_SEND") and not copies:
        return f"{view.basis}, but it never left"
    return None


def _streams(stored: Stored) -> bool:
    """Whether it is one of many that are outdated at once: never queued, and undone by nothing."""
    return methods.spec(stored.method).control_stream


def _name(stored: Stored) -> str:
    return f"number {stored.seq}, {stored.method}"


def _reasons(copies: list[Published]) -> str:
    if not copies:
        return "never published"
    answers = ("none" if copy.reason is None else f"{copy.reason:#04x}" for copy in copies)
    return f"published {len(copies)} times, acknowledged: {', '.join(answers)}"
