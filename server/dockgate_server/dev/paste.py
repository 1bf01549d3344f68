"""Commands to try, ready to be pasted into another terminal."""

from dockgate_server.access import signature
from dockgate_server.cli.program import program, server_option
from dockgate_server.dev.stack import DOCK, DRONE, Stack

COMMANDS_PATH = "/api/v1/open/downlink/commands"

# Timestamp and nonce hold for minutes only, so they are made when this is pasted. The parentheses
# keep the variables out of the reader's shell; sed takes the digest out of what openssl writes,
# which differs between versions.
_CURL = """\
( API_ID={api_id} SECRET={secret}
  TIMESTAMP=$(date +%s) NONCE=$(openssl rand -hex 16)
  BODY='{{"vendor": "dji", "device_id": "{drone}", "command_type": "camera_recording_start",
    "payload": {{"payload_index": "39-0-7"}}, "idempotency_key": "'$NONCE'"}}'
  DIGEST=$(printf %s "$BODY" | openssl dgst -sha256 | sed 's/.* //')
  SIGNATURE=$(printf '{algorithm}\\nPOST\\n{path}\\n\\n%s\\n%s\\n%s\\n%s' \\
    "$API_ID" "$TIMESTAMP" "$NONCE" "$DIGEST" \\
    | openssl dgst -sha256 -hmac "$SECRET" | sed 's/.* //')
  curl -sS http://{address}{path} -H 'Content-Type: application/json' \\
    -H "{api_id_header}: $API_ID" -H "{timestamp_header}: $TIMESTAMP" \\
    -H "{nonce_header}: $NONCE" -H "{signature_header}: $SIGNATURE" -d "$BODY"; echo )"""


def commands(stack: Stack, command_id: str) -> list[str]:
    """Calls of ``dockgate``: one submission, its watch, and one that starts a job."""
    call, server = program(), server_option(stack.grpc_address)
    return [
        f"{call} submit camera_recording_start --device {DRONE} --payload_index 39-0-7{server}",
        f"{call} watch {command_id}{server}",
        f"{call} submit charge_open --device {DOCK} --watch{server}",
    ]


def curl(stack: Stack) -> str:
    """A shell snippet that signs a command and sends it over HTTP, whenever it is pasted."""
    return _CURL.format(
        api_id=stack.key.api_id,
        secret=stack.key.secret,
        drone=DRONE,
        algorithm=signature.ALGORITHM,
        path=COMMANDS_PATH,
        address=stack.http_address,
        api_id_header=signature.API_ID,
        timestamp_header=signature.TIMESTAMP,
        nonce_header=signature.NONCE,
        signature_header=signature.SIGNATURE,
    )
