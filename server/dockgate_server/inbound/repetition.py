"""Telling a repetition from another message of the same device.

A device repeats what is not answered, and the broker brings what was not acknowledged: both are the
first one word for word. The tid alone does not tell, as some devices give one tid to all that they
send.
"""

import hashlib

import orjson

_NO_TIDS = frozenset(("", "0", "nil", "null", "none", "00000000-0000-0000-0000-000000000000"))


def repeat_key(gateway_id: str, tid: str, bid: str, method: str, data: bytes) -> bytes | None:
    """What a message has in common with its repetitions alone.

    Args:
        gateway_id: The gateway device that it comes from.
        tid: Its tid.
        bid: Its bid: the next job's first report may come under the tid of the one before it.
        method: Its method; "" when it has none.
        data: Its `data` as JSON without secrets: from a digest of these they could be guessed.

    Returns:
        A digest of all; None without a usable tid, as then nothing is a repetition.
    """
    if tid.lower() in _NO_TIDS:
        return None
    about = orjson.dumps((gateway_id, tid, bid, method))
    return hashlib.blake2b(about + data, digest_size=16).digest()
