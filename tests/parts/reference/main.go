// Hubble's own observer, with Hubble's own ring and filters, fed with given events instead of a
// datapath: what the synthetic nodes are measured by. Built inside a copy of the cilium module.
//
// Each line of the standard input is a GetFlowsResponse in base64, whose flow or lost event is put
// into the ring as the agent does; once it is there the line "ok" is printed. First it prints the
// address on which it listens. It ends with its input.
package main

import (
	"bufio"
	"encoding/base64"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	v1 "github.com/cilium/cilium/pkg/hubble/api/v1"
	"github.com/cilium/cilium/pkg/hubble/container"
	"github.com/cilium/cilium/pkg/hubble/defaults"
	"github.com/cilium/cilium/pkg/hubble/observer"
	"github.com/cilium/cilium/pkg/hubble/observer/namespace"
	"github.com/cilium/cilium/pkg/hubble/observer/observeroption"
	observertypes "github.com/cilium/cilium/pkg/hubble/observer/types"
	nodetypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

var (
	capacity = flag.Int("capacity", 4095, "of the ring")
	address  = flag.String("address", "127.0.0.1:0", "where to listen")
	cluster  = flag.String("cluster", "demo", "the cluster's name")
	name     = flag.String("node", "n1", "the node's name")
)

// asGiven stands where the agent decodes what the datapath says.
type asGiven struct{}

func (asGiven) Decode(event *observertypes.MonitorEvent) (*v1.Event, error) {
	return event.Payload.(*v1.Event), nil
}

func main() {
	flag.Parse()
	option.Config.ClusterName = *cluster
	nodetypes.SetName(*name)
	size, err := container.NewCapacity(*capacity)
	check(err)
	server, err := observer.NewLocalServer(
		asGiven{}, namespace.NewManager(), slog.New(slog.DiscardHandler), observeroption.WithMaxFlows(size),
		observeroption.WithLostEventSendInterval(defaults.LostEventSendInterval),
	)
	check(err)
	go server.Start()
	listener, err := net.Listen("tcp", *address)
	check(err)
	front := grpc.NewServer()
	observerpb.RegisterObserverServer(front, server)
	go func() { check(front.Serve(listener)) }()
	fmt.Println(listener.Addr())
	lines := bufio.NewReader(os.Stdin)
	for written := uint64(1); ; written++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		server.GetEventsChannel() <- &observertypes.MonitorEvent{Payload: decoded(line)}
		for server.GetRingBuffer().LastWrite()+1 < written {
			runtime.Gosched()
		}
		fmt.Println("ok")
	}
}

func decoded(line []byte) *v1.Event {
	raw, err := base64.StdEncoding.DecodeString(string(line[:len(line)-1]))
	check(err)
	var given observerpb.GetFlowsResponse
	check(proto.Unmarshal(raw, &given))
	if flow := given.GetFlow(); flow != nil {
		return &v1.Event{Timestamp: flow.GetTime(), Event: flow}
	}
	return &v1.Event{Timestamp: given.GetTime(), Event: (*flowpb.LostEvent)(given.GetLostEvents())}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
