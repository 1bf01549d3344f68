"""How long the schema takes: ``.venv/bin/python tests/schema/bench_codec.py`` on an idle machine.

Ends with 1 where a limit is passed. The tests allow the encoding ten times as long, as they run on
busy machines too.
"""

import subprocess
import sys
import timeit
from pathlib import Path

import orjson

from dockgate_server.codec import catalogue, dji_json

IMPORT_LIMIT_SECONDS = 0.5
ENCODE_LIMIT_MICROSECONDS = 10.0
GOLDEN = Path(__file__).parent / "golden"

IMPORT = """
import time
started = time.perf_counter()
import dockgate.downlink.v1.command_service_pb2
from dockgate_server.codec import catalogue, dji_json
print(time.perf_counter() - started)
"""


def import_seconds() -> float:
    """Import of stubs and catalogue in a fresh interpreter, the best of three."""
    command = [sys.executable, "-c", IMPORT]
    runs = [subprocess.run(command, check=True, capture_output=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def encode_microseconds(rounds: int = 20_000) -> float:
    """From a full flighttask_prepare message to the bytes of its data, the best of five runs."""
    method = catalogue.METHODS["flighttask_prepare"]
    message = dji_json.new_message(method.descriptor)
    example = orjson.loads((GOLDEN / "flighttask_prepare.json").read_bytes())
    assert dji_json.from_dict(example["payload"], message) == []
    empty = method.spec.empty_data
    runs = timeit.repeat(
        lambda: orjson.dumps(dji_json.to_data(message, empty)), number=rounds, repeat=5
    )
    return min(runs) / rounds * 1e6


def main() -> int:
    """Measure both and compare them with their limits."""
    import_took, encode_took = import_seconds(), encode_microseconds()
    lines = (
        f"import of stubs and catalogue: {import_took:.3f} s (limit {IMPORT_LIMIT_SECONDS} s)",
        f"flighttask_prepare to JSON: {encode_took:.2f} µs (limit {ENCODE_LIMIT_MICROSECONDS} µs)",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    slow = import_took > IMPORT_LIMIT_SECONDS or encode_took > ENCODE_LIMIT_MICROSECONDS
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
