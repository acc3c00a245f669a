// Nested prefixes, flattened to disjoint intervals, each with the class of its longest prefix. One family.
//
// Intervals run from one prefix boundary to the next and are not merged, so a prefix that comes or goes
// changes only the intervals it covers and the one it stands in.
//
//   cost   of a change: intervals within the prefix × prefix lengths in use
#pragma once

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "base/changes.h"
#include "base/ip.h"
#include "dataplane/nftables/entries.h"
#include "policy/tables.h"

namespace ocicat::dataplane {

class NetRanges {
 public:
  explicit NetRanges(Family family) : family_(family) {}

  // Takes over the changes of prefixes that are not single addresses, and adds the entries that come and go.
  void update(const std::vector<std::pair<Prefix, std::optional<policy::ClassId>>>& changes, Entries& removed,
              Entries& added);
  void add_all(Entries& entries) const;

 private:
  // Boundaries: an interval begins there. Nothing stands for the end of the address space.
  using Boundaries = std::map<IpAddress, int>;
  struct Span {
    IpAddress first, last;
  };

  Span widened(const Prefix& prefix) const;
  void add_within(const Span& span, Entries& entries) const;
  std::optional<policy::ClassId> class_of(const IpAddress& address) const;
  void put(const Prefix& prefix, std::optional<policy::ClassId> address_class);
  void count_boundaries(const Prefix& prefix, int by);
  IpAddress first_of_family() const;
  IpAddress last_of_family() const;

  Family family_;
  std::map<Prefix, policy::ClassId> nets_;
  std::array<int, 129> lengths_{};
  Boundaries boundaries_;
};

}  // namespace ocicat::dataplane
