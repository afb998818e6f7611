// Says to an agent what Envoy would: that a request went through it, or was denied. Envoy itself is
// in no package registry; the agent makes the same flow of it. Built in a copy of cilium's module.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cilium/proxy/go/cilium/api"
	"google.golang.org/protobuf/proto"
)

var kinds = map[string]cilium.EntryType{
	"request":  cilium.EntryType_Request,
	"response": cilium.EntryType_Response,
	"denied":   cilium.EntryType_Denied,
}

func main() {
	var entry cilium.LogEntry
	var http cilium.HttpLogEntry
	socket := flag.String("socket", "", "the agent's access log")
	kind := flag.String("kind", "denied", "request, response or denied")
	from := flag.Uint("source-identity", 0, "")
	to := flag.Uint("destination-identity", 0, "")
	status := flag.Uint("status", 0, "")
	flag.BoolVar(&entry.IsIngress, "ingress", true, "at the one who is called")
	flag.StringVar(&entry.PolicyName, "endpoint", "", "address of the pod whose policy it is")
	flag.StringVar(&entry.SourceAddress, "source", "", "address:port")
	flag.StringVar(&entry.DestinationAddress, "destination", "", "address:port")
	flag.StringVar(&http.Method, "method", "GET", "")
	flag.StringVar(&http.Host, "host", "", "")
	flag.StringVar(&http.Path, "path", "/", "")
	flag.Parse()

	http.HttpProtocol, http.Scheme, http.Status = cilium.HttpProtocol_HTTP11, "http", uint32(*status)
	entry.Timestamp = uint64(time.Now().UnixNano())
	entry.EntryType = kinds[*kind]
	entry.SourceSecurityId, entry.DestinationSecurityId = uint32(*from), uint32(*to)
	entry.L7 = &cilium.LogEntry_Http{Http: &http}
	message, err := proto.Marshal(&entry)
	check(err)
	connection, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: *socket, Net: "unixpacket"})
	check(err)
	_, err = connection.Write(message)
	check(err)
	check(connection.Close())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
