#include "resources/kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace ocicat {
namespace {

constexpr std::string_view kCalico = "projectcalico.org";
constexpr std::string_view kCore = "";
constexpr std::string_view kNetworking = "networking.k8s.io";
constexpr std::string_view kDiscovery = "discovery.k8s.io";
constexpr std::string_view kPolicyNetworking = "policy.networking.k8s.io";
constexpr std::string_view kOwn = "ocicat.io";

// Calico's kinds first: where two kinds share a word, the first one here has it.
constexpr std::array kKinds{
    KindInfo{Kind::kTier, "Tier", kCalico, "v3", "tiers", "tier", "", false, true},
    KindInfo{Kind::kNetworkPolicy, "NetworkPolicy", kCalico, "v3", "networkpolicies", "networkpolicy",
             "np,nps,caliconetworkpolicy,cnp,policy,policies,pol,pols", true, true},
    KindInfo{Kind::kGlobalNetworkPolicy, "GlobalNetworkPolicy", kCalico, "v3", "globalnetworkpolicies",
             "globalnetworkpolicy", "gnp,gnps", false, true},
    KindInfo{Kind::kStagedNetworkPolicy, "StagedNetworkPolicy", kCalico, "v3", "stagednetworkpolicies",
             "stagednetworkpolicy", "snp,snps", true, true},
    KindInfo{Kind::kStagedGlobalNetworkPolicy, "StagedGlobalNetworkPolicy", kCalico, "v3",
             "stagedglobalnetworkpolicies", "stagedglobalnetworkpolicy", "sgnp,sgnps", false, true},
    KindInfo{Kind::kStagedKubernetesNetworkPolicy, "StagedKubernetesNetworkPolicy", kCalico, "v3",
             "stagedkubernetesnetworkpolicies", "stagedkubernetesnetworkpolicy", "sknp,sknps", true, true},
    KindInfo{Kind::kNetworkSet, "NetworkSet", kCalico, "v3", "networksets", "networkset", "netset,netsets",
             true, true},
    KindInfo{Kind::kGlobalNetworkSet, "GlobalNetworkSet", kCalico, "v3", "globalnetworksets",
             "globalnetworkset", "gns,globalnetset,globalnetsets", false, true},
    KindInfo{Kind::kProfile, "Profile", kCalico, "v3", "profiles", "profile", "pro,pros", false, true},
    KindInfo{Kind::kWorkloadEndpoint, "WorkloadEndpoint", kCalico, "v3", "workloadendpoints",
             "workloadendpoint", "wep,weps", true, true},
    KindInfo{Kind::kHostEndpoint, "HostEndpoint", kCalico, "v3", "hostendpoints", "hostendpoint", "hep,heps",
             false, true},
    KindInfo{Kind::kNode, "Node", kCalico, "v3", "nodes", "node", "no,nos", false, true},
    KindInfo{Kind::kIpPool, "IPPool", kCalico, "v3", "ippools", "ippool", "ipp,ipps,pool,pools", false, true},
    KindInfo{Kind::kBgpConfiguration, "BGPConfiguration", kCalico, "v3", "bgpconfigurations",
             "bgpconfiguration", "bgpconfig,bgpconfigs", false, true},
    KindInfo{Kind::kBgpPeer, "BGPPeer", kCalico, "v3", "bgppeers", "bgppeer", "bgpp,bgpps,bp,bps", false,
             true},
    KindInfo{Kind::kBgpFilter, "BGPFilter", kCalico, "v3", "bgpfilters", "bgpfilter", "bgpf,bgpfs,bf,bfs",
             false, true},
    KindInfo{Kind::kIpReservation, "IPReservation", kCalico, "v3", "ipreservations", "ipreservation",
             "reservation,reservations", false, true},
    KindInfo{Kind::kIpamConfiguration, "IPAMConfiguration", kCalico, "v3", "ipamconfigurations",
             "ipamconfiguration", "ipamconfig,ipamconfigs", false, true},
    KindInfo{Kind::kIpamBlock, "IPAMBlock", kCalico, "v3", "ipamblocks", "ipamblock", "", false, true},
    KindInfo{Kind::kBlockAffinity, "BlockAffinity", kCalico, "v3", "blockaffinities", "blockaffinity",
             "affinity,affinities", false, true},
    KindInfo{Kind::kIpamHandle, "IPAMHandle", kCalico, "v3", "ipamhandles", "ipamhandle", "", false, true},
    KindInfo{Kind::kFelixConfiguration, "FelixConfiguration", kCalico, "v3", "felixconfigurations",
             "felixconfiguration", "felixconfig,felixconfigs,fconfig,fconfigs", false, true},
    KindInfo{Kind::kClusterInformation, "ClusterInformation", kCalico, "v3", "clusterinformations",
             "clusterinformation", "clusterinfo,clusterinfos", false, true},
    KindInfo{Kind::kNamespace, "Namespace", kCore, "v1", "namespaces", "namespace", "ns", false, true},
    KindInfo{Kind::kServiceAccount, "ServiceAccount", kCore, "v1", "serviceaccounts", "serviceaccount", "sa",
             true, true},
    KindInfo{Kind::kPod, "Pod", kCore, "v1", "pods", "pod", "po", true, true},
    KindInfo{Kind::kService, "Service", kCore, "v1", "services", "service", "svc", true, true},
    KindInfo{Kind::kKubernetesNetworkPolicy, "NetworkPolicy", kNetworking, "v1", "networkpolicies",
             "networkpolicy",
             "knp,knps,k8snetworkpolicy,k8snetworkpolicies,kubernetesnetworkpolicy,kubernetesnetworkpolicies",
             true, true},
    KindInfo{Kind::kClusterNetworkPolicy, "ClusterNetworkPolicy", kPolicyNetworking, "v1alpha2",
             "clusternetworkpolicies", "clusternetworkpolicy", "kcnp,kcnps", false, true},
    KindInfo{Kind::kEndpointSlice, "EndpointSlice", kDiscovery, "v1", "endpointslices", "endpointslice",
             "eps", true, true},
    KindInfo{Kind::kAgentConfiguration, "AgentConfiguration", kOwn, "v1", "agentconfigurations",
             "agentconfiguration", "agentconfig,agentconfigs", false, true},
    KindInfo{Kind::kAgentStatus, "AgentStatus", kOwn, "v1", "agentstatuses", "agentstatus", "agent,agents",
             false, true},
};

constexpr bool in_enum_order() {
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (static_cast<std::size_t>(kKinds[i].kind) != i) return false;
  }
  return true;
}
static_assert(in_enum_order(), "info() indexes the table by kind");

bool lists(std::string_view comma_separated, std::string_view word) {
  while (!comma_separated.empty()) {
    const auto comma = comma_separated.find(',');
    if (comma_separated.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) return false;
    comma_separated.remove_prefix(comma + 1);
  }
  return false;
}

bool goes_by(const KindInfo& kind, std::string_view word) {
  return word == kind.plural || word == kind.singular || lists(kind.short_names, word);
}

}  // namespace

std::string KindInfo::api_version() const {
  return group.empty() ? std::string(version) : fmt::format("{}/{}", group, version);
}

std::span<const KindInfo> all_kinds() {
  return kKinds;
}

const KindInfo& info(Kind kind) {
  return kKinds.at(static_cast<std::size_t>(kind));
}

std::optional<Kind> find_kind(std::string_view api_version, std::string_view kind_name) {
  const auto slash = api_version.find('/');
  const auto group = slash == std::string_view::npos ? std::string_view() : api_version.substr(0, slash);
  const auto version = slash == std::string_view::npos ? api_version : api_version.substr(slash + 1);
  for (const auto& kind : kKinds) {
    if (kind.name != kind_name || kind.group != group || kind.version != version) continue;
    // "/v1" is not how the core group is written.
    if (slash == 0) return std::nullopt;
    return kind.kind;
  }
  return std::nullopt;
}

std::optional<Kind> find_kind_by_plural(std::string_view group, std::string_view version,
                                        std::string_view plural) {
  for (const auto& kind : kKinds) {
    if (kind.plural == plural && kind.group == group && kind.version == version) return kind.kind;
  }
  return std::nullopt;
}

std::optional<Kind> find_kind_by_word(std::string_view word) {
  std::string lower(word);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view typed = lower;
  const auto dot = typed.find('.');
  if (dot == std::string_view::npos) {
    const auto* const found =
        std::ranges::find_if(kKinds, [&](const auto& kind) { return goes_by(kind, typed); });
    return found == kKinds.end() ? std::nullopt : std::optional(found->kind);
  }
  // kubectl's long forms: "networkpolicies.projectcalico.org", "networkpolicies.v3.projectcalico.org".
  const auto name = typed.substr(0, dot);
  const auto qualifier = typed.substr(dot + 1);
  for (const auto& kind : kKinds) {
    if (!goes_by(kind, name)) continue;
    if (qualifier == kind.group || qualifier == fmt::format("{}.{}", kind.version, kind.group))
      return kind.kind;
  }
  return std::nullopt;
}

std::string ResourceKey::to_string() const {
  const auto kind_name = kind == Kind::kKubernetesNetworkPolicy ? "KubernetesNetworkPolicy" : info(kind).name;
  return ns.empty() ? fmt::format("{} {}", kind_name, name) : fmt::format("{} {}/{}", kind_name, ns, name);
}

}  // namespace ocicat
