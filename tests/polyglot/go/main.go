// A client of dockgate with nothing but the generated stubs and grpc-go.
//
//	consumer ADDRESS DEVICE_ID
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	djiv1 "github.com/dockgate/dockgate/gen/go/dockgate/dji/v1"
	downlinkv1 "github.com/dockgate/dockgate/gen/go/dockgate/downlink/v1"
)

// submission is camera_recording_start for one of the cameras.
func submission(deviceID, key, payloadIndex string) *downlinkv1.SubmitCommandRequest {
	start := &djiv1.CameraRecordingStart{PayloadIndex: proto.String(payloadIndex)}
	method := &djiv1.Method{Method: &djiv1.Method_CameraRecordingStart{CameraRecordingStart: start}}
	return &downlinkv1.SubmitCommandRequest{
		DeviceId:       deviceID,
		IdempotencyKey: key,
		VendorMethod:   &downlinkv1.SubmitCommandRequest_Dji{Dji: method},
	}
}

// reason is the machine-readable reason that every error of dockgate carries.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return "no ErrorInfo"
}

// follow gives all events of a command, to its end.
func follow(
	ctx context.Context, commands downlinkv1.CommandServiceClient, commandID string,
) ([]*downlinkv1.CommandEvent, error) {
	watch, err := commands.WatchCommand(ctx, &downlinkv1.WatchCommandRequest{CommandId: commandID})
	if err != nil {
		return nil, err
	}
	var events []*downlinkv1.CommandEvent
	for {
		update, err := watch.Recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		if event := update.GetEvent(); event != nil {
			events = append(events, event)
		}
	}
}

// run submits, watches to the end, submits again, and again with other content.
func run(ctx context.Context, address, deviceID string) error {
	connection, err := grpc.NewClient(
		address, grpc.WithTransportCredentials(insecure.NewCredentials()),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	commands := downlinkv1.NewCommandServiceClient(connection)
	key := fmt.Sprintf("go-%d", time.Now().UnixNano())

	first, err := commands.SubmitCommand(ctx, submission(deviceID, key, "39-0-7"))
	if err != nil {
		return err
	}
	if first.GetReplayed() {
		return errors.New("the key is new, yet the command was replayed")
	}

	events, err := follow(ctx, commands, first.GetCommand().GetCommandId())
	if err != nil {
		return err
	}
	for index, event := range events {
		if event.GetRevision() != int64(index+1) {
			return fmt.Errorf("event %d has revision %d", index+1, event.GetRevision())
		}
	}
	if len(events) == 0 {
		return errors.New("the watch gave no event")
	}
	end := events[len(events)-1].GetCommand().GetStatus()
	if end != downlinkv1.CommandStatus_COMMAND_STATUS_SUCCEEDED {
		return fmt.Errorf("the command ended as %s", end)
	}

	again, err := commands.SubmitCommand(ctx, submission(deviceID, key, "39-0-7"))
	if err != nil {
		return err
	}
	if !again.GetReplayed() || again.GetCommand().GetCommandId() != first.GetCommand().GetCommandId() {
		return fmt.Errorf("the key is known, yet this came: %v", again)
	}

	_, err = commands.SubmitCommand(ctx, submission(deviceID, key, "52-0-0"))
	conflict := reason(err)
	if status.Code(err) != codes.AlreadyExists || conflict != "IDEMPOTENCY_CONFLICT" {
		return fmt.Errorf("other content under the same key: %s, %w", conflict, err)
	}
	fmt.Printf("go: %s after %d events, replayed, %s\n", end, len(events), conflict)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: consumer ADDRESS DEVICE_ID")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
