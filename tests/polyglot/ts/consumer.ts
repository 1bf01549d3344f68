// A client of dockgate with nothing but the generated stubs and @grpc/grpc-js.
//
//     node dist/consumer.js ADDRESS DEVICE_ID
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";

import {
  type CommandEvent,
  CommandStatus,
} from "@dockgate/stubs/dockgate/downlink/v1/command.js";
import {
  CommandServiceClient,
  SubmitCommandRequest,
  type SubmitCommandResponse,
  type WatchCommandResponse,
} from "@dockgate/stubs/dockgate/downlink/v1/command_service.js";
import { ErrorInfo } from "@dockgate/stubs/google/rpc/error_details.js";
import { Status } from "@dockgate/stubs/google/rpc/status.js";

const within = (seconds: number) => ({ deadline: Date.now() + seconds * 1000 });

/** camera_recording_start for one of the cameras. */
function submission(deviceId: string, key: string, payloadIndex: string): SubmitCommandRequest {
  return SubmitCommandRequest.create({
    deviceId,
    idempotencyKey: key,
    vendorMethod: {
      $case: "dji",
      value: { method: { $case: "cameraRecordingStart", value: { payloadIndex } } },
    },
  });
}

/** A call as a promise. */
function submit(
  commands: CommandServiceClient,
  request: SubmitCommandRequest,
): Promise<SubmitCommandResponse> {
  return new Promise((resolve, reject) => {
    commands.submitCommand(request, new Metadata(), within(10), (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

/** All events of a command, to its end. */
async function follow(commands: CommandServiceClient, commandId: string): Promise<CommandEvent[]> {
  const request = { commandId, afterRevision: 0n, followJob: false };
  const watch: AsyncIterable<WatchCommandResponse> = commands.watchCommand(request, within(20));
  const events: CommandEvent[] = [];
  for await (const { update } of watch) {
    if (update?.$case === "event") {
      events.push(update.value);
    }
  }
  return events;
}

/** The machine-readable reason that every error of dockgate carries. */
function reason(error: ServiceError): string | undefined {
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  assert(Buffer.isBuffer(encoded), "no google.rpc.Status");
  const info = Status.decode(encoded).details.find((detail) =>
    detail.typeUrl.endsWith("/google.rpc.ErrorInfo"),
  );
  return info && ErrorInfo.decode(info.value).reason;
}

/** Submits, watches to the end, submits again, and again with other content. */
async function run(address: string, deviceId: string): Promise<string> {
  const commands = new CommandServiceClient(address, credentials.createInsecure());
  const key = randomUUID();
  try {
    const first = await submit(commands, submission(deviceId, key, "39-0-7"));
    assert(first.command && !first.replayed, "the key is new");

    const events = await follow(commands, first.command.commandId);
    events.forEach((event, index) => assert.equal(event.revision, BigInt(index + 1)));
    const end = events.at(-1)?.command?.status;
    assert.equal(end, CommandStatus.COMMAND_STATUS_SUCCEEDED);

    const again = await submit(commands, submission(deviceId, key, "39-0-7"));
    assert(again.replayed, "the key is known");
    assert.equal(again.command?.commandId, first.command.commandId);

    const refused: unknown = await submit(commands, submission(deviceId, key, "52-0-0")).catch(
      (error: unknown) => error,
    );
    assert(refused instanceof Error, "other content under the same key was accepted");
    assert.equal((refused as ServiceError).code, status.ALREADY_EXISTS);
    const conflict = reason(refused as ServiceError);
    assert.equal(conflict, "IDEMPOTENCY_CONFLICT");
    return `ts: COMMAND_STATUS_SUCCEEDED after ${events.length} events, replayed, ${conflict}`;
  } finally {
    commands.close();
  }
}

const [address, deviceId] = process.argv.slice(2);
assert(address && deviceId, "usage: consumer.js ADDRESS DEVICE_ID");
console.log(await run(address, deviceId));
