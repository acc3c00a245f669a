// The fixed part of table `inet ocicat`: chains, rules, and maps with their constant elements.
//
// It depends on the host's settings only; beside it there are log chains (log_chains.h). All policy is in the
// elements of maps (maps.h), which rules look up one after the other: the answer of one lookup is in the
// registers that are the next one's key. A lookup that finds nothing ends its rule; the last rule of every
// such chain drops.
//
//   design   docs/design/dataplane.md#rules
#pragma once

#include <string>
#include <vector>

#include "dataplane/edges/edges.h"
#include "dataplane/edges/telling.h"
#include "dataplane/nftables/maps.h"
#include "engine/host_state.h"
#include "kernel/nft.h"
#include "kernel/nft_expressions.h"
#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {

struct StaticElements {
  kernel::nft::Set set;
  std::vector<kernel::nft::Element> elements;
};

struct Ruleset {
  std::vector<kernel::nft::Chain> chains;
  std::vector<StaticElements> constants;  // maps whose elements never change
  std::vector<kernel::nft::Set> filled_by_packets;
  std::vector<kernel::nft::Rule> rules;  // in order; marked with the digest of what they say

  // What a kernel that holds this answers to read_shape(), the maps of maps.h included.
  kernel::nft::Shape shape() const;
};

Ruleset ruleset_for(const HostSettings& settings);

// Where allowed packets go where chains end so; empty: on.
constexpr std::string_view allow_chain(Ending ending) {
  if (ending == Ending::kUntracked) return "untracked_allow";
  return ending == Ending::kPreDnat ? "prednat_allow" : "";
}
// Where denied packets go: they are told, and dropped, or rejected where the kernel can.
constexpr std::string_view deny_chain(Ending ending) {
  return (ending == Ending::kFilter ? kDenied : kDeniedQuietly).chain;
}
// The chain that decides by source port.
std::string source_ports_chain(policy::Direction direction, Family family);
std::string source_ports_chain(policy::Hook hook, Family family);

// The chains that decide: (direction, family), by kind of protocol. In lookup_rules.cc.
void add_lookups(Ruleset& ruleset, const HostSettings& settings);

// The chain that decides at a hook of the host endpoint whose interface the packet comes in or goes out by;
// and the one that leads there where it has policy. In lookup_rules.cc.
std::string host_chain(policy::Hook hook, Family family);
std::string asking_chain(policy::Hook hook, Family family);
// Ends the rule for interfaces that no host endpoint has.
void must_have_host_endpoint(kernel::nft::Expressions& rule, policy::Direction direction);

// Ends the rule where the workload may not send from the packet's source beside its own addresses. Leaves the
// interface's name in register 0. In lookup_rules.cc.
void must_be_source(kernel::nft::Expressions& rule, Family family);

using kernel::nft::marked_rule;

}  // namespace ocicat::dataplane
