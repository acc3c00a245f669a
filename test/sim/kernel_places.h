// Where a simulated kernel judges packets: the interfaces and addresses it has programs for.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <string_view>

#include "kernel/simulated_nft.h"
#include "policy/verdict.h"

namespace ocicat::test {

struct Place {
  std::string interface_name;
  IpAddress address;  // its own

  auto operator<=>(const Place&) const = default;
};
using Elements = kernel::nft::SimulatedKernel::Elements;
std::set<Place> places_of(const Elements& elements, policy::Direction direction);

// Whether packets of an interface are judged: by the prefix that workloads' interfaces have unless settings
// say otherwise, or by an element of its own.
bool is_guarded(const Elements& elements, std::string_view interface_name);

}  // namespace ocicat::test
