// The decoders of the single kinds, behind decode(). Private to resources/.
#pragma once

#include <boost/json/object.hpp>

#include <string_view>

#include "base/result.h"
#include "resources/types.h"

namespace ocicat::decoding {

// Labels that the engine and the policies of namespaces rely on.
inline constexpr std::string_view kNamespaceLabel = "projectcalico.org/namespace";
inline constexpr std::string_view kOrchestratorLabel = "projectcalico.org/orchestrator";
inline constexpr std::string_view kServiceAccountLabel = "projectcalico.org/serviceaccount";
// Before the labels that a profile hands down from a namespace and from a service account.
inline constexpr std::string_view kNamespacePrefix = "pcns.";
inline constexpr std::string_view kServiceAccountPrefix = "pcsa.";

// What metadata says. A namespace where the kind has none is ignored; a missing name, or a missing namespace
// where the kind has one, is an error.
Result<Metadata> read_metadata(Kind kind, const boost::json::object& document);
// The same without labels: for kinds whose labels nothing depends on.
Result<Metadata> read_identity(Kind kind, const boost::json::object& document);

// 0 to 4294967295, as a number, as digits, or as two halves of 16 bits: "64.512".
std::optional<AsNumber> read_as_number(const boost::json::value& value);

Result<Rule> read_rule(const boost::json::object& rule);
// A list of rules; the field may be absent.
Result<std::vector<Rule>> read_rules(const boost::json::object& spec, std::string_view name);

// The labels of a workload endpoint as the engine sees them: those that only a profile may hand down are
// gone, those that say where it belongs are set. An empty service account leaves its label as it is.
void settle_labels(Labels& labels, std::string_view ns, std::string_view orchestrator,
                   std::string_view service_account);

// What stagedAction says: whether the policy that the staged one is about is to go.
Result<bool> stages_a_deletion(const boost::json::object& spec);

Result<Tier> tier(const boost::json::object& document);
Result<NetworkPolicy> policy(Kind kind, const boost::json::object& document);
Result<Profile> profile(const boost::json::object& document);

Result<NetworkSet> network_set(Kind kind, const boost::json::object& document);
Result<WorkloadEndpoint> workload_endpoint(const boost::json::object& document);
Result<HostEndpoint> host_endpoint(const boost::json::object& document);
Result<Node> node(const boost::json::object& document);
Result<IpPool> ip_pool(const boost::json::object& document);
Result<BgpConfiguration> bgp_configuration(const boost::json::object& document);
Result<BgpPeer> bgp_peer(const boost::json::object& document);
Result<BgpFilter> bgp_filter(const boost::json::object& document);
Result<FelixConfiguration> felix_configuration(const boost::json::object& document);
Result<AgentConfiguration> agent_configuration(const boost::json::object& document);
Result<ClusterInformation> cluster_information(const boost::json::object& document);

// Converted from Kubernetes' own.
Result<Profile> profile_of_namespace(const boost::json::object& document);
Result<Profile> profile_of_service_account(const boost::json::object& document);
// A pod that is not scheduled, has finished or uses its host's network has no addresses.
Result<WorkloadEndpoint> endpoint_of_pod(const boost::json::object& document);
Result<EndpointSlice> endpoint_slice(const boost::json::object& document);
Result<Service> service(const boost::json::object& document);
// kClusterNetworkPolicy, as a global policy of kube-admin or kube-baseline.
Result<NetworkPolicy> policy_of_cluster(const boost::json::object& document);
// kKubernetesNetworkPolicy or its staged twin.
Result<NetworkPolicy> policy_of_kubernetes(Kind kind, const boost::json::object& document);

}  // namespace ocicat::decoding
