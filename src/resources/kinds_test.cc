#include "resources/kinds.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "resources/types.h"

namespace ocicat {
namespace {

TEST(Kinds, AreFoundByWhatADocumentSays) {
  for (const auto& kind : all_kinds()) {
    EXPECT_EQ(find_kind(kind.api_version(), kind.name), kind.kind) << kind.name;
    EXPECT_EQ(find_kind_by_plural(kind.group, kind.version, kind.plural), kind.kind) << kind.name;
    EXPECT_EQ(&info(kind.kind), &kind);
  }
  EXPECT_EQ(find_kind("networking.k8s.io/v1", "NetworkPolicy"), Kind::kKubernetesNetworkPolicy);
  EXPECT_EQ(find_kind("projectcalico.org/v3", "NetworkPolicy"), Kind::kNetworkPolicy);
  EXPECT_EQ(find_kind("v1", "Pod"), Kind::kPod);
}

TEST(Kinds, AreNotFoundUnderAnotherVersionGroupOrCase) {
  EXPECT_FALSE(find_kind("projectcalico.org/v1", "NetworkPolicy"));
  EXPECT_FALSE(find_kind("v1", "NetworkPolicy"));
  EXPECT_FALSE(find_kind("/v1", "Pod"));
  EXPECT_FALSE(find_kind("projectcalico.org/v3", "networkpolicy"));
  EXPECT_FALSE(find_kind("", ""));
  EXPECT_FALSE(find_kind_by_plural("", "v1", "networkpolicies"));
}

TEST(Kinds, AreFoundByWhatPeopleType) {
  const std::map<std::string, Kind> words{
      {"networkpolicy", Kind::kNetworkPolicy},
      {"NetworkPolicies", Kind::kNetworkPolicy},
      {"np", Kind::kNetworkPolicy},
      {"gnp", Kind::kGlobalNetworkPolicy},
      {"knp", Kind::kKubernetesNetworkPolicy},
      {"networkpolicy.networking.k8s.io", Kind::kKubernetesNetworkPolicy},
      {"networkpolicies.v1.networking.k8s.io", Kind::kKubernetesNetworkPolicy},
      {"networkpolicies.projectcalico.org", Kind::kNetworkPolicy},
      {"k8snetworkpolicy", Kind::kKubernetesNetworkPolicy},
      {"netset", Kind::kNetworkSet},
      {"wep", Kind::kWorkloadEndpoint},
      {"profile", Kind::kProfile},
      {"ippool", Kind::kIpPool},
      {"bgpconfig", Kind::kBgpConfiguration},
      {"bgpp", Kind::kBgpPeer},
      {"bf", Kind::kBgpFilter},
      {"felixconfig", Kind::kFelixConfiguration},
      {"ns", Kind::kNamespace},
      {"sa", Kind::kServiceAccount},
      {"PO", Kind::kPod},
      {"tiers", Kind::kTier},
      {"sknp", Kind::kStagedKubernetesNetworkPolicy},
  };
  for (const auto& [word, kind] : words) EXPECT_EQ(find_kind_by_word(word), kind) << word;
  for (const auto* word : {"", ".", ",", "np,nps", "policys", "networkpolicy.", "pods.apps"}) {
    EXPECT_FALSE(find_kind_by_word(word)) << word;
  }
}

TEST(Kinds, ShareNoWordButTheOneOfTheTwoNetworkPolicies) {
  std::set<std::string> words;
  for (const auto& kind : all_kinds()) {
    std::string rest(kind.short_names);
    for (std::size_t comma = 0; !rest.empty();
         rest.erase(0, comma == std::string::npos ? comma : comma + 1)) {
      comma = rest.find(',');
      EXPECT_TRUE(words.insert(rest.substr(0, comma)).second) << rest;
    }
    if (kind.kind == Kind::kKubernetesNetworkPolicy) continue;
    EXPECT_TRUE(words.insert(std::string(kind.plural)).second) << kind.plural;
    EXPECT_TRUE(words.insert(std::string(kind.singular)).second) << kind.singular;
  }
}

TEST(Kinds, AreServedWhereAnAgentWatchesThem) {
  for (const auto kind : watched_kinds()) EXPECT_TRUE(info(kind).served) << info(kind).name;
}

TEST(ResourceKey, PrintsKindNamespaceAndName) {
  EXPECT_EQ((ResourceKey{Kind::kNetworkPolicy, "shop", "api"}).to_string(), "NetworkPolicy shop/api");
  EXPECT_EQ((ResourceKey{Kind::kTier, "", "security"}).to_string(), "Tier security");
  EXPECT_EQ((ResourceKey{Kind::kKubernetesNetworkPolicy, "shop", "api"}).to_string(),
            "KubernetesNetworkPolicy shop/api");
}

}  // namespace
}  // namespace ocicat
