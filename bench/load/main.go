// Load for the collector's benchmark: nodes that send verdicts as fast as they are read, or at a
// rate, and the peer service that relay learns them from. No ring: a stream begins with what is new,
// and a request for one flow gets the last one sent. Built inside a copy of the cilium module.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	peerpb "github.com/cilium/cilium/api/v1/peer"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var (
	nodes = flag.Int("nodes", 2, "how many nodes")
	base  = flag.Int("port", 4300, "the peer service's port; the nodes' follow it")
	rate  = flag.Int("rate", 0, "flows a second and node; 0 as fast as they are read")
	after = flag.Duration("after", time.Second, "how long a stream waits before it begins")
)

var apps = []string{"frontend", "backend", "cart", "checkout", "db"}

type node struct {
	observerpb.UnimplementedObserverServer
	name string
	last atomic.Pointer[observerpb.GetFlowsResponse]
	seen atomic.Uint64
	one  sync.Mutex
}

func labels(app string) []string {
	return []string{
		"k8s:app=" + app,
		"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
		"k8s:io.cilium.k8s.policy.cluster=default",
		"k8s:io.cilium.k8s.policy.serviceaccount=default",
		"k8s:io.kubernetes.pod.namespace=shop",
	}
}

func (n *node) verdict(i int) *observerpb.GetFlowsResponse {
	source, destination := apps[i%5], apps[(i/5)%5]
	now := timestamppb.Now()
	flow := &flowpb.Flow{
		Time: now, Uuid: uuid.NewString(), NodeName: n.name,
		Verdict: flowpb.Verdict_DROPPED, DropReasonDesc: flowpb.DropReason_POLICY_DENIED,
		Ethernet: &flowpb.Ethernet{Source: "0a:58:0a:00:00:01", Destination: "0a:58:0a:00:00:02"},
		IP: &flowpb.IP{
			Source:      fmt.Sprintf("10.0.%d.%d", i%4, i%250),
			Destination: fmt.Sprintf("10.0.%d.%d", i%3, i%240),
			IpVersion:   flowpb.IPVersion_IPv4,
		},
		L4: &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{TCP: &flowpb.TCP{
			SourcePort: uint32(32768 + i%20000), DestinationPort: 8080, Flags: &flowpb.TCPFlags{SYN: true},
		}}},
		Source: &flowpb.Endpoint{
			ID: uint32(100 + i%5), Identity: uint32(20000 + i%5), ClusterName: "default",
			Namespace: "shop", Labels: labels(source), PodName: source + "-7c9f5d8b6d-abcde",
			Workloads: []*flowpb.Workload{{Name: source, Kind: "Deployment"}},
		},
		Destination: &flowpb.Endpoint{
			Identity: uint32(20000 + (i/5)%5), ClusterName: "default", Namespace: "shop",
			Labels: labels(destination), PodName: destination + "-6d9f5d8b6d-fghij",
		},
		Type: flowpb.FlowType_L3_L4, EventType: &flowpb.CiliumEventType{Type: 5},
		TrafficDirection: flowpb.TrafficDirection_INGRESS, Summary: "TCP Flags: SYN",
	}
	return &observerpb.GetFlowsResponse{
		ResponseTypes: &observerpb.GetFlowsResponse_Flow{Flow: flow}, NodeName: n.name, Time: now,
	}
}

func (n *node) GetFlows(request *observerpb.GetFlowsRequest, stream observerpb.Observer_GetFlowsServer) error {
	if !request.Follow {
		if last := n.last.Load(); last != nil {
			return stream.Send(last)
		}
		return nil
	}
	select {
	case <-time.After(*after):
	case <-stream.Context().Done():
		return nil
	}
	// One stream at a time, so that a second one does not halve the load of the first.
	n.one.Lock()
	defer n.one.Unlock()
	begin := time.Now()
	for i := 0; stream.Context().Err() == nil; i++ {
		if *rate > 0 && i%20 == 0 {
			time.Sleep(time.Duration(i)*time.Second/time.Duration(*rate) - time.Since(begin))
		}
		response := n.verdict(i)
		if err := stream.Send(response); err != nil {
			return err
		}
		n.last.Store(response)
		n.seen.Add(1)
	}
	return nil
}

func (n *node) ServerStatus(context.Context, *observerpb.ServerStatusRequest) (*observerpb.ServerStatusResponse, error) {
	return &observerpb.ServerStatusResponse{
		NumFlows: 4095, MaxFlows: 4095, SeenFlows: n.seen.Load(), Version: "load",
	}, nil
}

type peers struct{ peerpb.UnimplementedPeerServer }

func (p *peers) Notify(_ *peerpb.NotifyRequest, stream peerpb.Peer_NotifyServer) error {
	for i := range *nodes {
		change := &peerpb.ChangeNotification{
			Name:    fmt.Sprintf("default/node-%d", i),
			Address: fmt.Sprintf("127.0.0.1:%d", *base+1+i),
			Type:    peerpb.ChangeNotificationType_PEER_ADDED,
		}
		if err := stream.Send(change); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

func serve(port int, register func(*grpc.Server)) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	register(server)
	if err := server.Serve(listener); err != nil {
		panic(err)
	}
}

func main() {
	flag.Parse()
	for i := range *nodes {
		n := &node{name: fmt.Sprintf("default/node-%d", i)}
		go serve(*base+1+i, func(s *grpc.Server) { observerpb.RegisterObserverServer(s, n) })
	}
	serve(*base, func(s *grpc.Server) { peerpb.RegisterPeerServer(s, &peers{}) })
}
