#include "resources/types.h"

#include <algorithm>
#include <array>

namespace ocicat {
namespace {

// In the order in which an agent lists them: what others refer to comes first.
constexpr std::array kWatchedKinds{
    Kind::kFelixConfiguration,
    Kind::kAgentConfiguration,
    Kind::kBgpConfiguration,
    Kind::kNode,
    Kind::kIpPool,
    Kind::kIpamBlock,
    Kind::kTier,
    Kind::kNamespace,
    Kind::kServiceAccount,
    Kind::kProfile,
    Kind::kNetworkSet,
    Kind::kGlobalNetworkSet,
    Kind::kEndpointSlice,
    Kind::kNetworkPolicy,
    Kind::kGlobalNetworkPolicy,
    Kind::kKubernetesNetworkPolicy,
    Kind::kClusterNetworkPolicy,
    Kind::kStagedNetworkPolicy,
    Kind::kStagedGlobalNetworkPolicy,
    Kind::kStagedKubernetesNetworkPolicy,
    Kind::kPod,
    Kind::kWorkloadEndpoint,
    Kind::kHostEndpoint,
};

constexpr std::array kBgpKinds{Kind::kNode,      Kind::kIpPool,       Kind::kBgpConfiguration,
                               Kind::kBgpFilter, Kind::kBgpPeer,      Kind::kBlockAffinity,
                               Kind::kService,   Kind::kEndpointSlice};

constexpr std::array kCniKinds{Kind::kClusterInformation};

}  // namespace

std::string_view to_string(Action action) {
  switch (action) {
    case Action::kAllow:
      return "allow";
    case Action::kDeny:
      return "deny";
    case Action::kLog:
      return "log";
    case Action::kPass:
      return "pass";
  }
  return "deny";
}

std::string_view to_string(PoolUse use) {
  switch (use) {
    case PoolUse::kWorkload:
      return "Workload";
    case PoolUse::kTunnel:
      return "Tunnel";
    case PoolUse::kLoadBalancer:
      return "LoadBalancer";
  }
  return "Workload";
}

std::string protocol_name(Protocol protocol) {
  switch (protocol) {
    case kIcmp:
      return "ICMP";
    case kTcp:
      return "TCP";
    case kUdp:
      return "UDP";
    case kIcmpV6:
      return "ICMPv6";
    case kSctp:
      return "SCTP";
    case kUdpLite:
      return "UDPLite";
    default:
      return std::to_string(protocol);
  }
}

std::span<const Kind> watched_kinds() {
  return kWatchedKinds;
}

std::span<const Kind> bgp_kinds() {
  return kBgpKinds;
}

std::span<const Kind> cni_kinds() {
  return kCniKinds;
}

bool is_decoded(Kind kind) {
  return std::ranges::any_of(std::array{watched_kinds(), bgp_kinds(), cni_kinds()}, [&](const auto& kinds) {
    return std::ranges::find(kinds, kind) != kinds.end();
  });
}

}  // namespace ocicat
