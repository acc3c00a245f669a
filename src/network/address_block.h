// Addresses by number: in a block, and blocks in a pool. Counts of blocks go up to 2^122.
#pragma once

#include <cstdint>
#include <optional>

#include "base/ip.h"
#include "resources/ipam.h"
#include "resources/types.h"

namespace ocicat::network {

__extension__ using Count = unsigned __int128;

// How many addresses a prefix has; 2^128 counts as the largest Count.
Count size_of(const Prefix& prefix);

// Nothing where the address is not in the block.
std::optional<IpamBlock::Ordinal> ordinal_of(const Prefix& block, const IpAddress& address);

// The blocks that a pool consists of. None where the pool is smaller than a block of it.
Count blocks_in(const IpPool& pool);
Prefix block_at(const IpPool& pool, Count index);
// Of the block that the address is in; nothing where it is not in the pool.
std::optional<Count> block_index(const IpPool& pool, const IpAddress& address);
std::optional<Prefix> block_of(const IpPool& pool, const IpAddress& address);
// Whether the prefix is exactly one of the pool's blocks.
bool is_block_of(const IpPool& pool, const Prefix& prefix);

}  // namespace ocicat::network
