// Which routes are to pass filters again, between two configurations of BIRD.
//
//   pure     the text of network/bgp/bird_configuration.h in, protocols out; what it does not know counts as
//            changed
//   why      `configure soft` changes filters and leaves every route as the ones before have let it pass
//   cost     O(length of both)
//   design   docs/design/bgp.md, "Keeping BIRD"
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace ocicat::dataplane {

struct Reload {
  enum class Direction : std::uint8_t { kIn, kOut };
  std::string protocol;
  Direction direction = Direction::kIn;

  auto operator<=>(const Reload&) const = default;
};

// Of the protocols that both have: those ways in and out whose filter differs, or a function that it calls,
// over however many others.
std::set<Reload> reloads_between(std::string_view before, std::string_view after);
// Of all that have filters, for a BIRD of which nobody knows what it has read before.
std::set<Reload> reloads_of(std::string_view configuration);

}  // namespace ocicat::dataplane
