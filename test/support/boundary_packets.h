// The packets at which a verdict may change: on each edge that a resource mentions, and one step beyond.
//
// In two parts, since their product is large: callers enumerate it or draw from it.
#pragma once

#include <vector>

#include "policy/evaluator.h"
#include "policy/verdict.h"
#include "test/support/random.h"

namespace ocicat::test {

struct Boundaries {
  // Of endpoints; first and last of every prefix, and their neighbours; of strangers. Ascending.
  std::vector<IpAddress> addresses;
  // Everything but the addresses: protocols mentioned and their neighbours; destination and source ports at
  // the ends of every range and of named ports, with neighbours; ICMP types and codes, with neighbours.
  std::vector<policy::Packet> shapes;
};

Boundaries boundaries_of(const policy::Snapshot& snapshot);

// Every shape from (egress) or to (ingress) `own`, with every other address of its family as the peer.
std::vector<policy::Packet> boundary_packets(const Boundaries& boundaries, const IpAddress& own,
                                             policy::Direction direction);
// `count` of them, drawn at random.
std::vector<policy::Packet> random_boundary_packets(Random& random, const Boundaries& boundaries,
                                                    const IpAddress& own, policy::Direction direction,
                                                    std::size_t count);

}  // namespace ocicat::test
