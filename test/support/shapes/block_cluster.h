// Hosts that have blocks of addresses: what ways are computed from.
#pragma once

#include "test/support/shapes/shape.h"

namespace ocicat::test {

// Host 0 is kShapeNode. Each has an address and the end of a tunnel; the blocks lie in one pool, 10.0.0.0/8,
// one after another, each a /26. Of every tenth block one address is the next host's.
struct BlockCluster {
  unsigned hosts = 5'000;
  unsigned blocks_of_each = 4;
  IpPool::Encapsulation vxlan = IpPool::Encapsulation::kAlways;

  static std::string host_name(unsigned number);
  // Its address is another in every `version`.
  static Item host(unsigned number, unsigned version = 0);
  Item block(unsigned number) const;  // of host number / blocks_of_each
  Item pool() const;
  unsigned blocks() const { return hosts * blocks_of_each; }

  // Pool, hosts, blocks.
  void each(const Take& take) const;
};

}  // namespace ocicat::test
