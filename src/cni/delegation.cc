#include "cni/delegation.h"

#include <strings.h>

#include <boost/json.hpp>
#include <vector>

namespace ocicat::cni {
namespace {

namespace json = boost::json;

constexpr std::string_view kHostLocal = "host-local";
constexpr std::array<const char*, 2> kWords{"usePodCidr", "usePodCidrIPv6"};

// Each of host-local's sections that has a subnet: `ipam` itself, and every range of every set.
std::vector<json::object*> sections_of(json::object& config) {
  std::vector<json::object*> sections;
  auto* ipam = config.if_contains("ipam");
  if (ipam == nullptr || !ipam->is_object() || address_plugin_in(config) != kHostLocal) return sections;
  sections.push_back(&ipam->get_object());
  auto* sets = ipam->get_object().if_contains("ranges");
  if (sets == nullptr || !sets->is_array()) return sections;
  for (auto& set : sets->get_array()) {
    if (!set.is_array()) continue;
    for (auto& range : set.get_array()) {
      if (range.is_object()) sections.push_back(&range.get_object());
    }
  }
  return sections;
}

// Which of kWords the section's subnet is; kWords.size(): none, but a subnet, or nothing.
std::size_t word_in(const json::object& section) {
  const auto* subnet = section.if_contains("subnet");
  std::size_t i = kWords.size();
  if (subnet == nullptr || !subnet->is_string()) return i;
  for (i = 0; i < kWords.size(); ++i) {
    if (::strcasecmp(subnet->get_string().c_str(), kWords[i]) == 0) break;
  }
  return i;
}

}  // namespace

std::string address_plugin_in(const json::object& config) {
  const auto* ipam = config.if_contains("ipam");
  const auto* type = ipam != nullptr && ipam->is_object() ? ipam->get_object().if_contains("type") : nullptr;
  if (type == nullptr || !type->is_string()) return {};
  const std::string_view name = type->get_string();
  return name == "calico-ipam" || name == "ocicat-cni" ? std::string() : std::string(name);
}

bool asks_for_pod_nets(const json::object& config) {
  auto copy = config;
  for (const auto* section : sections_of(copy)) {
    if (word_in(*section) < kWords.size()) return true;
  }
  return false;
}

Result<json::object> with_pod_nets(json::object config, const PodNets& nets) {
  for (auto* section : sections_of(config)) {
    const auto word = word_in(*section);
    if (word == kWords.size()) continue;
    if (nets.at(word).empty())
      return fail(ErrorCode::kNotFound, "ipam asks for {}, and the node has no IPv{} pod CIDR",
                  kWords.at(word), word == 0 ? 4 : 6);
    section->insert_or_assign("subnet", nets.at(word));
  }
  return config;
}

}  // namespace ocicat::cni
