// The kinds of resources there are, and what the API calls them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ocicat {

// The number is an index into all_kinds(); stored nowhere.
enum class Kind : std::uint8_t {
  // projectcalico.org/v3
  kTier,
  kNetworkPolicy,
  kGlobalNetworkPolicy,
  kStagedNetworkPolicy,
  kStagedGlobalNetworkPolicy,
  kStagedKubernetesNetworkPolicy,
  kNetworkSet,
  kGlobalNetworkSet,
  kProfile,
  kWorkloadEndpoint,
  kHostEndpoint,
  kNode,
  kIpPool,
  kBgpConfiguration,
  kBgpPeer,
  kBgpFilter,
  kIpReservation,
  kIpamConfiguration,
  kIpamBlock,
  kBlockAffinity,
  kIpamHandle,
  kFelixConfiguration,
  kClusterInformation,
  // v1, networking.k8s.io/v1, discovery.k8s.io/v1, policy.networking.k8s.io/v1alpha2
  kNamespace,
  kServiceAccount,
  kPod,
  kService,
  kKubernetesNetworkPolicy,
  kClusterNetworkPolicy,
  kEndpointSlice,
  // ocicat.io/v1: what Calico has no kind for
  kAgentConfiguration,
  kAgentStatus,
};

struct KindInfo {
  Kind kind;
  std::string_view name;         // "NetworkPolicy": what a document's `kind` says
  std::string_view group;        // "projectcalico.org"; "" is the core group
  std::string_view version;      // "v3"
  std::string_view plural;       // "networkpolicies"
  std::string_view singular;     // "networkpolicy"
  std::string_view short_names;  // as the CLI takes them, comma separated
  bool namespaced;
  bool served;  // this version stores and serves it

  std::string api_version() const;  // "projectcalico.org/v3", "v1"
};

std::span<const KindInfo> all_kinds();
const KindInfo& info(Kind kind);

// Policies that are judged by and never enforced.
constexpr bool is_staged(Kind kind) {
  return kind == Kind::kStagedNetworkPolicy || kind == Kind::kStagedGlobalNetworkPolicy ||
         kind == Kind::kStagedKubernetesNetworkPolicy;
}

// By a document's apiVersion and kind; the version must match as well.
std::optional<Kind> find_kind(std::string_view api_version, std::string_view kind_name);
// By the words of a URL: "/apis/GROUP/VERSION/PLURAL".
std::optional<Kind> find_kind_by_plural(std::string_view group, std::string_view version,
                                        std::string_view plural);
// By what a person types: any case, singular, plural or short name. `networkpolicy` is Calico's kind;
// Kubernetes' own goes by `networkpolicy.networking.k8s.io`, `k8snetworkpolicy` or `knp`.
std::optional<Kind> find_kind_by_word(std::string_view word);

// What names one object.
struct ResourceKey {
  Kind kind{};
  std::string ns;  // empty for kinds without a namespace
  std::string name;

  // "NetworkPolicy shop/frontend", "Tier security"; Kubernetes' own is "KubernetesNetworkPolicy
  // shop/frontend".
  std::string to_string() const;
  auto operator<=>(const ResourceKey&) const = default;
};

}  // namespace ocicat
