"""Import and encoding stay fast; ``bench_codec.py`` measures with the true limits."""

from schema import bench_codec


def test_stubs_and_catalogue_are_imported_in_no_time() -> None:
    """187 methods, their rules and the catalogue of them."""
    assert bench_codec.import_seconds() < bench_codec.IMPORT_LIMIT_SECONDS


def test_a_message_is_written_in_no_time() -> None:
    """Generously: what is tested is that nothing is built anew for every message."""
    assert bench_codec.encode_microseconds(500) < 10 * bench_codec.ENCODE_LIMIT_MICROSECONDS
