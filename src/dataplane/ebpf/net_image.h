// The classes of addresses and nets (bpf/maps/nets.h): which nodes say what, and what an update writes.
//
//   tree    is the map itself: no copy of it is kept here
//   cost    of an update: for each net, the nodes above it, with those beside each of them, but no look at what
//           is wanted there beside it; of a net shorter than roots are, its roots
//   errors  kExhausted: nodes or classes do not fit, with what is to be replaced by them; what was in force
//           stays, and the map counts as unknown until resync() has succeeded
#pragma once

#include <absl/container/btree_map.h>

#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "dataplane/ebpf/extents.h"
#include "dataplane/ebpf/step.h"
#include "kernel/bpf.h"
#include "maps/nets.h"
#include "policy/tables.h"

namespace ocicat::dataplane::ebpf {

// Of prefixes in order, those that follow one another.
template <class Sorted>
struct Stretch {
  typename Sorted::const_iterator begin, end;
  bool empty() const { return begin == end; }
};

// The map, as far as it is looked at. Whoever makes one keeps what it stands in.
struct NetMemory {
  template <class T>
  using Elements = kernel::bpf::Elements<T>;
  using Roots = bpf::net_node[2];
  using All = std::uint32_t[2];

  static NetMemory of(bpf::nets& nets) {
    return {Elements<Roots>(nets.roots), Elements<bpf::net_node>(nets.nodes),
            Elements<std::uint32_t>(nets.classes), Elements<All>(nets.all)};
  }

  Elements<Roots> roots;
  Elements<bpf::net_node> nodes;
  Elements<std::uint32_t> classes;
  Elements<All> all;
};

class NetImage {
 public:
  using Nets = absl::btree_map<Prefix, policy::ClassId>;  // masked, of one family; single addresses as well

  // Borrows the map.
  explicit NetImage(const NetMemory& memory)
      : memory_(memory), nodes_(bpf::NET_NODES_MAX), classes_(bpf::NET_CLASSES_MAX) {}

  // What is said of a family from the step on, where only these nets may differ from what has been said.
  Result<void> update(Family family, const Nets& wanted, const std::set<Prefix>& changed, Step& step);
  // The same, whatever the map says.
  Result<void> resync(const Nets& ipv4, const Nets& ipv6, Step& step);
  // Of the map's, nodes and classes together; what the step at hand replaces is in use until it shows.
  std::size_t places_in_use() const { return nodes_.in_use() + classes_.in_use(); }

 private:
  using Node = bpf::net_node;
  using OldNode = std::optional<Node>;
  using OldChildren = std::array<OldNode, 1U << bpf::NET_BITS>;
  // What a pass over a tree goes by.
  struct Pass {
    Family family;
    const Nets& wanted;
    const std::set<Prefix>* changed;  // nullptr: whatever there is
    Step& step;
  };

  void put_all(const Pass& pass);
  static std::uint32_t class_around(const Prefix& root, const OldNode& old, const Pass& pass);
  Result<void> put_root(std::uint32_t root, const OldNode& old, const Pass& pass);
  Result<Node> make(const bpf::net_bits& first, unsigned bits, Stretch<Nets> nets, const OldNode& old,
                    const Pass& pass);
  Result<Node> make_child(unsigned most, Stretch<Nets> nets, const OldNode& old, const Pass& pass);
  Result<void> place_children(Node& node, const std::vector<Node>& children, const OldNode& same, Step& step);
  Result<void> place_classes(Node& node, std::span<const std::uint32_t> said, const OldNode& same,
                             Step& step);
  OldChildren open(const bpf::net_bits& first, unsigned bits, OldNode& old);
  std::span<const Node> nodes_below(const Node& node) const;
  void release_arrays(const Node& node);
  void release(const Node& node);
  bool claim(const Node& node);
  void finish(Step& step);

  NetMemory memory_;
  Extents nodes_, classes_;
  // Of the update at hand: what nothing leads to once it shows.
  std::vector<Extent> free_nodes_, free_classes_;
};

// What the map says on a side, in as few prefixes as say it.
std::map<Prefix, policy::ClassId> nets_in(const bpf::nets& nets, std::size_t side);

}  // namespace ocicat::dataplane::ebpf
