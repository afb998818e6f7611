// Cilium's own policy engine as a program: what policies/ is measured by. Built inside a copy of the
// cilium module. It decides nothing itself: it only hands over and asks.
//
// Each line of the standard input is a scenario of policies, endpoints and flows, as
// tests/data/oracle has them, but without toServices. For each, a line of what the engine refuses
// and decides is printed, in the form of `picket policy verdicts`; and what Go's regexp makes of the
// scenario's expressions, each matched with a text in full. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cilium/cilium/pkg/crypto/certificatemanager"
	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/identitymanager"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	k8sconst "github.com/cilium/cilium/pkg/k8s/apis/cilium.io"
	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2/validator"
	networkingv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/networking/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	policytypes "github.com/cilium/cilium/pkg/policy/types"
	policyutils "github.com/cilium/cilium/pkg/policy/utils"
	"github.com/cilium/cilium/pkg/spanstat"
	testpolicy "github.com/cilium/cilium/pkg/testutils/policy"
	"github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type scenario struct {
	ID        string               `json:"id"`
	Options   options              `json:"options"`
	Policies  []json.RawMessage    `json:"policies"`
	Endpoints map[string]*endpoint `json:"endpoints"`
	Queries   []query              `json:"queries"`

	Expressions []expression `json:"expressions"`
}

type expression struct {
	Expression string `json:"expression"`
	Text       string `json:"text"`
}

type options struct {
	ClusterName         string `json:"cluster_name"`
	DefaultLocalCluster *bool  `json:"policy_default_local_cluster"`
	AllowLocalhost      string `json:"allow_localhost"`
	EnforcementMode     string `json:"enforcement_mode"`
	HostFirewall        bool   `json:"host_firewall"`
	NodeSelectorLabels  bool   `json:"node_selector_labels"`
	DualStack           bool   `json:"dual_stack"`
}

type endpoint struct {
	Labels        []string             `json:"labels"`
	PolicySubject bool                 `json:"policy_subject"`
	NamedPorts    map[string]namedPort `json:"named_ports"`

	identity *identity.Identity
	number   uint64
	policy   *policy.EndpointPolicy
	shared   types.NamedPortMultiMap
	fault    error
}

type namedPort struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

type query struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"`
	Dport    uint16 `json:"dport"`
}

type refusal struct {
	Index int    `json:"index"`
	Stage string `json:"stage"`
	Error string `json:"error"`
}

type decision struct {
	Decision string   `json:"decision"`
	Origin   []string `json:"origin"`
	L7       bool     `json:"l7,omitempty"`
}

type answer struct {
	Egress  decision `json:"egress"`
	Ingress decision `json:"ingress"`
	Verdict string   `json:"verdict"`
}

type result struct {
	ID             string    `json:"id"`
	Rejected       []refusal `json:"rejected"`
	SchemaRejected []refusal `json:"schema_rejected"`
	Fault          string    `json:"fault,omitempty"`
	Queries        []answer  `json:"queries"`

	// Null where Go takes no such expression.
	Matches []*bool `json:"matches,omitempty"`
}

var (
	logger = slog.New(slog.DiscardHandler)
	kinds  = map[string]string{
		"CiliumNetworkPolicy": "cnp", "CiliumClusterwideNetworkPolicy": "ccnp", "NetworkPolicy": "netpol",
	}
	reserved = []string{
		"", "host", "world", "unmanaged", "health", "init", "remote-node", "kube-apiserver", "ingress",
		"world-ipv4", "world-ipv6",
	}
)

func main() {
	crd, err := validator.NewNPValidator(logger)
	check(err)
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 1 {
			var given scenario
			check(json.Unmarshal(line, &given))
			text, err := json.Marshal(evaluate(&given, crd))
			check(err)
			_, err = out.Write(append(text, '\n'))
			check(err)
			check(out.Flush())
		}
		if err != nil {
			return
		}
	}
}

func evaluate(given *scenario, crd *validator.NPValidator) (found result) {
	found = result{
		ID: given.ID, Rejected: []refusal{}, SchemaRejected: []refusal{}, Queries: []answer{},
	}
	defer func() {
		// The engine panics where its own assumptions do not hold: that is an answer too.
		if fault := recover(); fault != nil {
			found.Fault = fmt.Sprint(fault)
		}
	}()
	for _, each := range given.Expressions {
		found.Matches = append(found.Matches, match(each))
	}
	configure(given.Options)
	repository := prepare(given)
	for index, raw := range given.Policies {
		var about struct {
			Kind string `json:"kind"`
		}
		_ = json.Unmarshal(raw, &about)
		if stage, err := validate(crd, about.Kind, raw); err != nil {
			found.SchemaRejected = append(found.SchemaRejected, refusal{index, stage, err.Error()})
		}
		entries, stage, err := parse(given.Options, about.Kind, raw)
		if err != nil {
			found.Rejected = append(found.Rejected, refusal{index, stage, err.Error()})
			continue
		}
		// Rules are looked up by the namespace of their resource.
		namespace := ""
		if about.Kind != "CiliumClusterwideNetworkPolicy" && len(entries) > 0 {
			namespace = entries[0].Labels.Get(labels.LabelSourceK8sKeyPrefix + k8sconst.PolicyLabelNamespace)
		}
		name := ipcachetypes.ResourceKind(kinds[about.Kind])
		id := ipcachetypes.NewResourceID(name, namespace, fmt.Sprintf("policy-%d", index))
		repository.ReplaceByResource(entries, id)
	}
	for _, asked := range given.Queries {
		from, to := given.Endpoints[asked.From], given.Endpoints[asked.To]
		protocol := protocolNumber(asked.Protocol)
		egress := policy.EgressKey().WithIdentity(to.identity.ID).WithPortProto(protocol, asked.Dport)
		ingress := policy.IngressKey().WithIdentity(from.identity.ID).WithPortProto(protocol, asked.Dport)
		made := answer{
			Egress:  from.decide(repository, egress),
			Ingress: to.decide(repository, ingress),
			Verdict: "denied",
		}
		if made.Egress.Decision == "allowed" && made.Ingress.Decision == "allowed" {
			made.Verdict = "allowed"
		}
		found.Queries = append(found.Queries, made)
	}
	return found
}

func match(given expression) *bool {
	compiled, err := regexp.Compile(given.Expression)
	if err != nil {
		return nil
	}
	// Written into another expression it might mean something else: an open \Q quotes all that follows.
	compiled.Longest()
	place := compiled.FindStringIndex(given.Text)
	found := place != nil && place[0] == 0 && place[1] == len(given.Text)
	return &found
}

func configure(given options) {
	option.Config.ClusterName = given.ClusterName
	option.Config.EnableHostFirewall = given.HostFirewall
	option.Config.EnableNodeSelectorLabels = given.NodeSelectorLabels
	option.Config.EnableNonDefaultDenyPolicies = true
	option.Config.EnableL7Proxy = true
	option.Config.EnableICMPRules = true
	option.Config.EnableExtendedIPProtocols = false
	option.Config.EnableIPv4 = true
	option.Config.EnableIPv6 = given.DualStack
	option.Config.AllowLocalhost = given.AllowLocalhost
	if given.AllowLocalhost == "" {
		option.Config.AllowLocalhost = option.AllowLocalhostAlways
	}
	mode := given.EnforcementMode
	if mode == "" {
		mode = option.DefaultEnforcement
	}
	policy.SetPolicyEnabled(mode)
	api.InitEntities(given.ClusterName)
}

func clusterForSelectors(given options) string {
	if given.DefaultLocalCluster != nil && !*given.DefaultLocalCluster {
		return ""
	}
	return given.ClusterName
}

// prepare makes a repository that knows the identity of each endpoint, and the named ports of all.
func prepare(given *scenario) *policy.Repository {
	known := identity.IdentityMap{}
	for number, name := range reserved {
		if name != "" {
			array := labels.LabelArray{labels.NewLabel(name, "", labels.LabelSourceReserved)}
			known[identity.NumericIdentity(number)] = array
		}
	}
	named := types.NewNamedPortMultiMap()
	byLabels := map[string]*identity.Identity{}
	names := make([]string, 0, len(given.Endpoints))
	for name := range given.Endpoints {
		names = append(names, name)
	}
	slices.Sort(names)
	for index, name := range names {
		each := given.Endpoints[name]
		each.number = uint64(index + 1)
		each.shared = named
		slices.Sort(each.Labels)
		key := strings.Join(each.Labels, "\n")
		if byLabels[key] == nil {
			byLabels[key] = identify(each.Labels, identity.NumericIdentity(1000+index), known)
		}
		each.identity = byLabels[key]
		if len(each.NamedPorts) > 0 {
			named.Update(nil, each.ports())
		}
	}
	manager := identitymanager.NewIDManager(logger)
	translator := envoypolicy.NewEnvoyL7RulesTranslator(logger, certificatemanager.NewMockSecretManagerInline())
	repository := policy.NewPolicyRepository(
		logger, known, certificates{}, translator, manager, testpolicy.NewPolicyMetricsNoop(),
	)
	for _, each := range byLabels {
		manager.Add(each)
	}
	return repository
}

// certificates are there, whatever secret they are to be in.
type certificates struct{}

func (certificates) GetTLSContext(
	context.Context, *api.TLSContext, string,
) (ca, public, private string, inline bool, err error) {
	return "ca", "certificate", "key", true, nil
}

func identify(texts []string, free identity.NumericIdentity, known identity.IdentityMap) *identity.Identity {
	made := labels.Labels{}
	outside := false
	number := free
	for _, text := range texts {
		source, key, _ := strings.Cut(text, ":")
		label := labels.ParseLabel(text)
		switch source {
		case labels.LabelSourceCIDR:
			// Its key is the address, which is full of colons in IPv6 where it is not Cilium's text.
			label = labels.NewLabel(key, "", labels.LabelSourceCIDR)
			outside = true
		case labels.LabelSourceCIDRGroup:
			encoded := labels.EncodedCIDRGroupLabel(label.Key, label.Value, label.Source)
			made[encoded.Key] = encoded
		case labels.LabelSourceFQDN:
			label = labels.NewLabel(key, "", labels.LabelSourceFQDN)
			outside = true
		case labels.LabelSourceReserved:
			outside = outside || strings.HasPrefix(key, "world")
			if index := slices.Index(reserved, key); index > 0 && (len(texts) == 1 || key == "host") {
				number = identity.NumericIdentity(index)
			} else if key == "remote-node" {
				number = identity.IdentityScopeRemoteNode + free
			}
		}
		made[label.Key] = label
	}
	if outside && number == free {
		number = identity.IdentityScopeLocal + free
	}
	found := identity.NewIdentity(number, made)
	known[number] = found.LabelArray
	return found
}

func parse(given options, kind string, raw []byte) (policytypes.PolicyEntries, string, error) {
	cluster := clusterForSelectors(given)
	var rules api.Rules
	switch kind {
	case "NetworkPolicy":
		var object networkingv1.NetworkPolicy
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, "decode", err
		}
		if object.Name == "" {
			// Nothing without a name comes out of the API server.
			return nil, "parse", errors.New("a NetworkPolicy must have a name")
		}
		entries, err := k8s.ParseNetworkPolicy(logger, cluster, &object)
		return entries, "parse", err
	case "CiliumNetworkPolicy":
		var object ciliumv2.CiliumNetworkPolicy
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, "decode", err
		}
		made, err := object.Parse(logger, cluster)
		if err != nil {
			return nil, "parse", err
		}
		rules = made
	case "CiliumClusterwideNetworkPolicy":
		var object ciliumv2.CiliumClusterwideNetworkPolicy
		if err := json.Unmarshal(raw, &object); err != nil {
			return nil, "decode", err
		}
		made, err := object.Parse(logger, cluster)
		if err != nil {
			return nil, "parse", err
		}
		rules = made
	default:
		return nil, "decode", fmt.Errorf("no kind %q", kind)
	}
	return policyutils.RulesToPolicyEntries(rules), "", nil
}

func validate(crd *validator.NPValidator, kind string, raw []byte) (stage string, err error) {
	if kind == "NetworkPolicy" {
		return "", nil
	}
	var object unstructured.Unstructured
	if err := object.UnmarshalJSON(raw); err != nil {
		return "decode", err
	}
	if kind == "CiliumNetworkPolicy" {
		err = crd.ValidateCNP(&object)
	} else {
		err = crd.ValidateCCNP(&object)
	}
	if err == nil {
		return "", nil
	}
	var extra validator.ErrUnknownFields
	switch {
	case errors.As(err, &extra), errors.Is(err, validator.ErrTopLevelDescriptionFound):
		return "unknown-field", err
	case strings.Contains(err.Error(), "incorrectly matches reserved:init"):
		return "preflight", err
	}
	return "schema", err
}

// decide looks a flow up as the datapath does.
func (e *endpoint) decide(repository *policy.Repository, key policy.Key) decision {
	if !e.PolicySubject {
		return decision{Decision: "allowed", Origin: []string{}}
	}
	if e.policy == nil && e.fault == nil {
		resolved, _, err := repository.GetSelectorPolicy(e.identity, 0, &noStatistics{}, e.number)
		if err != nil {
			e.fault = err
		} else {
			e.policy = resolved.DistillPolicy(logger, e, e.redirects(resolved))
			e.policy.Ready()
		}
	}
	if e.fault != nil {
		return decision{Decision: "fault: " + e.fault.Error(), Origin: []string{}}
	}
	entry, meta, found := e.policy.Lookup(key)
	made := decision{Decision: "default-deny", Origin: origins(meta)}
	switch {
	case !found:
	case entry.IsDeny():
		made.Decision = "denied"
	default:
		made.Decision = "allowed"
		made.L7 = entry.IsRedirectEntry()
	}
	return made
}

// redirects gives each redirect of the policy a proxy port, as an agent with a working proxy does.
func (e *endpoint) redirects(resolved policy.SelectorPolicy) map[string]uint16 {
	made := map[string]uint16{}
	for filter, tuple := range resolved.RedirectFilters() {
		port := filter.Port
		if port == 0 && filter.PortName != "" {
			if port = e.GetNamedPort(filter.Ingress, filter.PortName, filter.U8Proto); port == 0 {
				continue
			}
		}
		id := policy.ProxyID(
			uint16(e.number), filter.Ingress, string(filter.Protocol), port, tuple.Policy.GetListener(),
		)
		made[id] = uint16(10000 + len(made))
	}
	return made
}

func origins(meta policy.RuleMeta) []string {
	found := []string{}
	for _, array := range meta.LabelArray() {
		one := func(key string) string { return array.Get(labels.LabelSourceK8sKeyPrefix + key) }
		name := one(k8sconst.PolicyLabelName)
		text := one(k8sconst.PolicyLabelDerivedFrom) + "/" + one(k8sconst.PolicyLabelNamespace) + "/" + name
		if name == "" {
			text = "reserved//" + array.Get(labels.LabelSourceReservedKeyPrefix+policy.LabelKeyPolicyDerivedFrom)
		}
		if !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	slices.Sort(found)
	return found
}

func (e *endpoint) ports() types.NamedPortMap {
	made := types.NamedPortMap{}
	for name, each := range e.NamedPorts {
		check(made.AddPort(name, each.Port, each.Protocol))
	}
	return made
}

func (e *endpoint) GetID() uint64 { return e.number }

func (e *endpoint) GetNamedPort(ingress bool, name string, protocol u8proto.U8proto) uint16 {
	if ingress {
		port, _ := e.ports().GetNamedPort(name, protocol)
		return port
	}
	port, _ := e.shared.GetNamedPort(name, protocol)
	return port
}

func (e *endpoint) PolicyDebug(string, ...any) {}

func (e *endpoint) IsHost() bool { return e.identity.ID == identity.ReservedIdentityHost }

func (e *endpoint) PreviousMapState() *policy.MapState { return nil }

func (e *endpoint) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}

type noStatistics struct{ waiting, calculating spanstat.SpanStat }

func (s *noStatistics) WaitingForPolicyRepository() *spanstat.SpanStat { return &s.waiting }

func (s *noStatistics) SelectorPolicyCalculation() *spanstat.SpanStat { return &s.calculating }

func protocolNumber(name string) u8proto.U8proto {
	number, err := u8proto.ParseProtocol(name)
	check(err)
	return number
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
