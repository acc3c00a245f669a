// Which host endpoint has which interface, and how each of them is. Pure; the same for every datapath.
//
//   source   semantics.md 2.4, validation.md 3.8
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "engine/host_state.h"
#include "kernel/routes.h"

namespace ocicat::dataplane {

using HostEndpoints = std::map<ResourceKey, HostEndpointState>;
using Links = std::map<std::string, kernel::Link>;  // by name

// An interface named by a host endpoint is in it whether or not it is there, so that it is never without
// policy.
struct HostInterfaces {
  std::map<std::string, ResourceKey> by_name;
  std::optional<ResourceKey> all_others;  // of "*"

  // nullptr: nobody.
  const ResourceKey* holder_of(const std::string& interface) const {
    const auto named = by_name.find(interface);
    if (named != by_name.end()) return &named->second;
    return all_others ? &*all_others : nullptr;
  }
  bool operator==(const HostInterfaces&) const = default;
};

// Of all that match an interface the first by key has it, and the first of those for "*" has all that is
// left.
HostInterfaces assign_interfaces(const HostEndpoints& endpoints, const Links& links);

// How a host endpoint is, policy being in force.
//   up      at an interface that is up
//   down    its interfaces are down or not there
//   error   it matches interfaces that others have; for "*": another one has what is left
enum class HostEndpointStatus : std::uint8_t { kUp, kDown, kError };
std::string_view to_string(HostEndpointStatus status);  // "up", "down", "error"
std::map<ResourceKey, HostEndpointStatus> statuses(const HostEndpoints& endpoints, const Links& links,
                                                   const HostInterfaces& interfaces);

}  // namespace ocicat::dataplane
