// What BIRD says of its protocols, as values.
//
//   pure     text in, values out; text of another shape gives fewer values, never an error
//   source   BIRD 2.0 `show protocols all`, `show status`, `show route export kernel4 all`
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace ocicat::dataplane {

struct SessionState {
  std::string name;    // "Mesh_10_0_0_2"
  std::string state;   // "Established", "Active", …: what RFC 4271 calls it; "Down" where it is turned off
  std::string since;   // when it came into this state, as BIRD writes it
  std::string reason;  // why it is not established; empty where it is, or where BIRD says nothing
  std::uint64_t imported = 0;  // routes that came from there and count
  std::uint64_t exported = 0;

  bool established() const { return state == "Established"; }
  bool operator==(const SessionState&) const = default;
};

// Those of kind BGP, in BIRD's order.
std::vector<SessionState> read_sessions(std::string_view protocols);
// Where packets go that follow a route, as the kernel is to have it.
struct Way {
  Prefix destination;
  std::optional<IpAddress> gateway;  // nothing: nowhere, as the next hop cannot be reached
  std::uint32_t metric = 0;

  auto operator<=>(const Way&) const = default;
};
// The ways by neighbours that `show route export KERNEL all` tells of; a route by several of them has several, and
// one whose next hop cannot be reached the one nowhere.
std::set<Way> read_ways(std::string_view routes);
// Whether BIRD holds back what it learns, after a start in which it keeps what its predecessor left.
bool recovers(std::string_view status);
// Whether it is still busy with a configuration, and keeps one that it reads now for later.
bool reconfigures(std::string_view status);

}  // namespace ocicat::dataplane
