// Nested nets, flattened to disjoint intervals that cover all addresses: each leads to the longest net there,
// and the net to its class. One family.
//
// Intervals run from one boundary of a net to the next and are not merged, so a net that comes or goes
// changes only the intervals it covers and the one it stands in. A class that changes is one element of a
// hash map.
//
//   cost   of a net that comes or goes: intervals within it × lengths in use
#pragma once

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "base/ip.h"
#include "dataplane/nftables/policy_delta.h"
#include "policy/tables.h"

namespace ocicat::dataplane {

class NetRanges {
 public:
  explicit NetRanges(Family family) : family_(family) {}

  // Takes over the changes, of nets that are not single addresses, each at most once, and adds what comes and
  // goes. New nets have their intervals before the step, with the class that is in force there; nets that go
  // leave them after it.
  using NetChanges = std::vector<std::pair<Prefix, std::optional<policy::ClassId>>>;
  void update(const NetChanges& changes, PolicyDelta& delta);
  void add_all(Entries& entries) const;

 private:
  using Nets = std::vector<std::pair<Prefix, policy::ClassId>>;
  struct Span {
    IpAddress first, last;
  };

  Transaction insert(const Nets& nets);
  Transaction erase(const Nets& nets);
  void take_out(const Nets& nets);
  std::vector<Span> spans_of(const Nets& nets) const;
  void add_within(const Span& span, Entries& entries) const;
  // The longest net shorter than that.
  std::optional<Prefix> net_of(const IpAddress& address, int shorter_than) const;
  // The class of what is around a net.
  policy::ClassId outer_class(const Prefix& net) const;
  void count_boundaries(const Prefix& net, int by);
  IpAddress first_of_family() const;
  IpAddress last_of_family() const;

  Family family_;
  std::map<Prefix, policy::ClassId> nets_;
  std::array<int, 129> lengths_{};
  std::map<IpAddress, int> boundaries_;  // where intervals begin, by how many nets
};

}  // namespace ocicat::dataplane
