// Which pools an address may come from, and in which order.
//
//   source   docs/spec: semantics.md 5 (AutoAssign, step 1)
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "network/reservations.h"
#include "resources/ipam.h"
#include "resources/types.h"

namespace ocicat::network {

// Pools that somebody names, or their CIDRs, for addresses of each family.
struct PoolNames {
  std::vector<std::string> ipv4, ipv6;

  std::vector<std::string>& of(Family family) { return family == Family::kIpv4 ? ipv4 : ipv6; }
  const std::vector<std::string>& of(Family family) const { return family == Family::kIpv4 ? ipv4 : ipv6; }
  bool operator==(const PoolNames&) const = default;
};

struct PoolQuery {
  Family family = Family::kIpv4;
  PoolUse use = PoolUse::kWorkload;
  std::vector<std::string>
      named;  // names or CIDRs of pools: then those alone, whatever they select, in this order
  std::string host;
  Labels host_labels;
  std::optional<Labels> namespace_labels;  // nothing: the address is for nothing in a namespace
};

// Borrowed, at least one. kNotFound: a named pool does not exist, or is of the other family; kExhausted: none is left, and for each why.
Result<std::vector<const IpPool*>> choose_pools(std::span<const IpPool> pools, const PoolQuery& query);

// The pool that the address is in, in use or not; nullptr: none. Pools do not overlap.
const IpPool* pool_of(std::span<const IpPool> pools, const IpAddress& address);

// Whether hosts with these labels may have blocks of the pool.
bool selects_host(const IpPool& pool, const Labels& host_labels);

// The next block of the pool that is neither taken nor wholly reserved. It begins at a place that depends on
// the owner, so that owners who claim at once seldom meet, and wraps around.
//
//   cost   O(taken and reserved blocks it meets × log taken)
std::optional<Prefix> next_block(const IpPool& pool, const BlockOwner& owner, const std::set<Prefix>& taken,
                                 const Reservations& reservations);

// How many blocks of one family a host may have.
inline constexpr int kDefaultMaxBlocks = 20;
int most_blocks(const IpamConfiguration& configuration);

}  // namespace ocicat::network
