#include "dataplane/hosts/host_interfaces.h"

#include <algorithm>

namespace ocicat::dataplane {
namespace {

bool matches(const HostEndpointState& endpoint, const kernel::Link& link) {
  if (!endpoint.interface_name.empty()) return endpoint.interface_name == link.name;
  return std::ranges::any_of(link.addresses, [&](const IpAddress& address) {
    return std::ranges::binary_search(endpoint.expected_addresses, address);
  });
}

}  // namespace

HostInterfaces assign_interfaces(const HostEndpoints& endpoints, const Links& links) {
  HostInterfaces interfaces;
  // In the order of keys: who comes first keeps it.
  for (const auto& [key, endpoint] : endpoints) {
    if (endpoint.interface_name == kAllInterfaces) {
      if (!interfaces.all_others) interfaces.all_others = key;
      continue;
    }
    if (!endpoint.interface_name.empty()) interfaces.by_name.emplace(endpoint.interface_name, key);
    for (const auto& [name, link] : links) {
      if (matches(endpoint, link)) interfaces.by_name.emplace(name, key);
    }
  }
  return interfaces;
}

std::string_view to_string(HostEndpointStatus status) {
  switch (status) {
    case HostEndpointStatus::kUp:
      return "up";
    case HostEndpointStatus::kDown:
      return "down";
    case HostEndpointStatus::kError:
      return "error";
  }
  return "error";
}

std::map<ResourceKey, HostEndpointStatus> statuses(const HostEndpoints& endpoints, const Links& links,
                                                   const HostInterfaces& interfaces) {
  std::map<ResourceKey, HostEndpointStatus> statuses;
  for (const auto& [key, endpoint] : endpoints) statuses.emplace(key, HostEndpointStatus::kDown);
  const auto is_up = [&](const std::string& name) {
    const auto link = links.find(name);
    return link != links.end() && link->second.up;
  };
  std::map<ResourceKey, bool> has_one;
  for (const auto& [name, key] : interfaces.by_name) {
    has_one[key] = true;
    if (is_up(name)) statuses.at(key) = HostEndpointStatus::kUp;
  }
  for (const auto& [key, endpoint] : endpoints) {
    auto& status = statuses.at(key);
    if (endpoint.interface_name == kAllInterfaces) {
      const bool some_up = std::ranges::any_of(links, [&](const auto& entry) {
        return entry.second.up && !interfaces.by_name.contains(entry.first);
      });
      status = interfaces.all_others != key ? HostEndpointStatus::kError
               : some_up                    ? HostEndpointStatus::kUp
                                            : HostEndpointStatus::kDown;
      continue;
    }
    const bool wants_one =
        !endpoint.interface_name.empty() ||
        std::ranges::any_of(links, [&](const auto& entry) { return matches(endpoint, entry.second); });
    if (wants_one && !has_one[key]) status = HostEndpointStatus::kError;
  }
  return statuses;
}

}  // namespace ocicat::dataplane
