// How full pools and blocks are, and how long it will last.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "network/address_block.h"
#include "network/ipam_block.h"
#include "network/reservations.h"
#include "resources/ipam.h"
#include "resources/types.h"

namespace ocicat::network {

struct BlockUsage {
  Prefix cidr;
  std::string pool;  // empty: of none
  std::optional<BlockOwner> owner;
  std::optional<TimePoint> claimed_at;
  BlockCounts counts;
};

// What goes on as in the last hour. Addresses that were released since are not seen, so it is a lower bound.
struct Forecast {
  std::size_t given_last_hour = 0;  // and still held
  std::chrono::hours full_in{0};    // rounded down
};

struct PoolUsage {
  std::string name;
  Prefix cidr;
  bool disabled = false;
  Count size = 0;  // addresses
  std::size_t used = 0;
  std::size_t cooling = 0;
  Count reserved = 0;  // of those nobody has
  Count free = 0;
  std::size_t blocks = 0;
  Count blocks_at_most = 0;
  std::optional<Forecast> forecast;  // where it is in use and will be full within a month
  bool running_out = false;          // less than a tenth is free, or it will be full within a day
};

struct Usage {
  std::vector<PoolUsage> pools;    // in the order they were given
  std::vector<BlockUsage> blocks;  // by address
};

// Blocks of no pool count for none.
Usage usage_of(std::span<const IpPool> pools, std::span<const IpamBlock> blocks,
               const Reservations& reservations, TimePoint now);

// Whether the owner would be given an address of the pool: from a block of its own, one that nobody has, one that another
// host has left empty, or, where blocks are not strictly their owners', from another's. `blocks` are those of all pools, and
// `unreadable` those that are there and cannot be used.
//
//   cost     O(addresses of the pool's blocks, and what next_block takes)
bool has_room(const IpPool& pool, const BlockOwner& owner, std::span<const IpamBlock> blocks,
              std::span<const Prefix> unreadable, const IpamConfiguration& configuration,
              const Reservations& reservations, TimePoint now);

}  // namespace ocicat::network
