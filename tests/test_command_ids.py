"""Ids of commands: UUIDs that lie together in an index, and that nobody can guess."""

import uuid

from dockgate_server import command_ids

NOW = 1_776_859_203_456


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_it() -> None:
    """As RFC 9562 has it: 48 bits of milliseconds, version, variant, the rest by chance."""
    made = command_ids.new(NOW)
    read = uuid.UUID(made)
    assert str(read) == made
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert read.int >> 80 == NOW


def test_ids_follow_the_time() -> None:
    """In the database's index the next one lies beside the last."""
    made = [command_ids.new(NOW + number) for number in range(100)]
    assert made == sorted(made)


def test_ids_of_the_same_moment_differ_in_all_that_is_left_to_chance() -> None:
    """74 bits: each of them is set in some and not in others."""
    made = [uuid.UUID(command_ids.new(NOW)).int for _ in range(1000)]
    assert len(set(made)) == 1000
    chance = (1 << 62) - 1 | ((1 << 12) - 1) << 64
    sometimes = always = made[0]
    for one in made:
        sometimes |= one
        always &= one
    assert (sometimes ^ always) & chance == chance


def test_a_clock_that_is_wrong_makes_ids_all_the_same() -> None:
    """Before 1970, or in ten thousand years."""
    for now in (-1, 1 << 48):
        assert uuid.UUID(command_ids.new(now)).version == 7
