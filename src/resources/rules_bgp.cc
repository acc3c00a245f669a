// Rules of the kinds that say what BGP tells whom.
#include <fmt/format.h>

#include <charconv>
#include <set>
#include <string>
#include <string_view>

#include "resources/rules_scope.h"

namespace ocicat::rules {
namespace {

// "65000:1" or "65000:1:2"; RFC 1997, RFC 8092.
bool is_community(std::string_view text) {
  std::size_t parts = 0;
  std::uint64_t largest = 0;
  while (true) {
    const auto colon = text.find(':');
    const auto part = text.substr(0, colon);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc{} || end != part.data() + part.size()) return false;
    largest = std::max(largest, value);
    ++parts;
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
  }
  return (parts == 2 && largest <= 0xffff) || (parts == 3 && largest <= 0xffffffff);
}

constexpr std::string_view kCommunityRule =
    "must be aa:nn with both parts up to 65535, or aa:nn:mm with all parts up to 4294967295";

void check_communities(const Scope& spec) {
  std::set<std::string, std::less<>> names;
  spec.each("communities", [&](const Scope& community) {
    names.emplace(community.text("name"));
    if (!is_community(community.text("value"))) community.complain("value", std::string(kCommunityRule));
  });
  if (!names.empty() && !spec.is_set("prefixAdvertisements")) {
    spec.complain("communities", "needs prefixAdvertisements, which say what carries them");
  }
  spec.each("prefixAdvertisements", [&](const Scope& advertisement) {
    advertisement.each_text("communities", [&](std::size_t i, std::string_view text) {
      if (names.contains(text) || is_community(text)) return;
      advertisement.complain("communities", i,
                             fmt::format("{}, or the name of one of communities", kCommunityRule));
    });
  });
}

}  // namespace

void check_bgp_configuration(const Scope& document) {
  std::string_view name;
  document.in("metadata", [&](const Scope& metadata) { name = metadata.text("name"); });
  document.in("spec", [&](const Scope& spec) {
    if (spec.has("nodeToNodeMeshEnabled") && !spec.is_true("nodeToNodeMeshEnabled")) {
      for (const auto* field : {"nodeMeshPassword", "nodeMeshMaxRestartTime"}) {
        if (spec.has(field)) spec.complain(field, "is for the mesh of nodes, which is not enabled");
      }
    }
    check_communities(spec);
    if (name == "default") return;
    for (const auto* field :
         {"nodeToNodeMeshEnabled", "asNumber", "serviceLoadBalancerIPs", "serviceExternalIPs",
          "serviceClusterIPs", "nodeMeshPassword", "nodeMeshMaxRestartTime"}) {
      if (spec.has(field)) spec.complain(field, "can be set in the BGPConfiguration named default only");
    }
  });
}

}  // namespace ocicat::rules
