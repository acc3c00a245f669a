#include "network/pool_choice.h"

#include <algorithm>

#include "network/address_block.h"
#include "resources/labels.h"

namespace ocicat::network {
namespace {

bool selects(const std::string& selector, const Labels& labels) {
  const auto parsed = Selector::parse(selector);
  return parsed && parsed->matches(LabelsOf(labels));  // decoded ones parse
}

bool is_named(const IpPool& pool, std::string_view name) {
  if (pool.metadata.name == name) return true;
  const auto cidr = Prefix::parse(name);
  return cidr && cidr->masked() == pool.cidr;
}

// Why the pool is not for this query; empty where it is.
std::string unfit(const IpPool& pool, const PoolQuery& query, bool named) {
  if (pool.disabled) return "is disabled";
  if (!pool.allows(query.use)) return fmt::format("is not for the use {}", to_string(query.use));
  if (blocks_in(pool) == 0) return "is smaller than a block of it";
  if (named) return {};
  if (!pool.automatic) return "has assignmentMode Manual";
  if (!selects_host(pool, query.host_labels))
    return fmt::format("does not select host {} (nodeSelector {})", query.host, pool.node_selector);
  if (pool.namespace_selector.empty()) return {};
  if (!query.namespace_labels) return "is for namespaces alone (namespaceSelector)";
  if (!selects(pool.namespace_selector, *query.namespace_labels))
    return fmt::format("does not select the namespace (namespaceSelector {})", pool.namespace_selector);
  return {};
}

// Those that the query names.
Result<std::vector<const IpPool*>> named_pools(std::span<const IpPool> pools, const PoolQuery& query) {
  std::vector<const IpPool*> found;
  for (const auto& name : query.named) {
    const auto at = std::ranges::find_if(pools, [&](const auto& pool) { return is_named(pool, name); });
    if (at == pools.end()) return fail(ErrorCode::kNotFound, "there is no IPPool {}", name);
    if (at->cidr.family() != query.family) {
      return fail(ErrorCode::kNotFound, "IPPool {} ({}) gives no IPv{} addresses, for which it is named",
                  name, at->cidr.to_string(), static_cast<int>(query.family));
    }
    if (std::ranges::find(found, &*at) == found.end()) found.push_back(&*at);
  }
  return found;
}

std::vector<const IpPool*> of_family(std::span<const IpPool> pools, Family family) {
  std::vector<const IpPool*> found;
  for (const auto& pool : pools) {
    if (pool.cidr.family() == family) found.push_back(&pool);
  }
  return found;
}

// FNV-1, 32 bits.
std::uint32_t hash_of(std::string_view text) {
  std::uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash * 16777619U) ^ static_cast<unsigned char>(c);
  return hash;
}

}  // namespace

Result<std::vector<const IpPool*>> choose_pools(std::span<const IpPool> pools, const PoolQuery& query) {
  TRY(auto all, named_pools(pools, query));
  const bool named = !all.empty();
  if (!named) all = of_family(pools, query.family);
  std::vector<const IpPool*> chosen;
  std::string reasons;
  for (const IpPool* pool : all) {
    const auto reason = unfit(*pool, query, named);
    if (reason.empty()) {
      chosen.push_back(pool);
    } else {
      reasons += fmt::format("; {} ({}) {}", pool->metadata.name, pool->cidr.to_string(), reason);
    }
  }
  if (!chosen.empty()) return chosen;
  return fail(ErrorCode::kExhausted, "no IPPool gives {} an IPv{} address{}", query.host,
              static_cast<int>(query.family), reasons.empty() ? ": there is none of that family" : reasons);
}

const IpPool* pool_of(std::span<const IpPool> pools, const IpAddress& address) {
  const auto at = std::ranges::find_if(pools, [&](const auto& pool) { return pool.cidr.contains(address); });
  return at == pools.end() ? nullptr : &*at;
}

bool selects_host(const IpPool& pool, const Labels& host_labels) {
  return pool.node_selector.empty() || selects(pool.node_selector, host_labels);
}

namespace {

// Blocks of a pool are all of one size; those made by hand need not be. O(bits of an address * log taken).
bool overlaps_any(const Prefix& block, const std::set<Prefix>& taken) {
  const auto inside = taken.lower_bound(Prefix{block.first(), 0});
  if (inside != taken.end() && block.contains(*inside)) return true;
  for (std::uint8_t length = 0; length < block.length; ++length) {
    if (taken.contains(Prefix{block.address, length}.masked())) return true;
  }
  return false;
}

}  // namespace

std::optional<Prefix> next_block(const IpPool& pool, const BlockOwner& owner, const std::set<Prefix>& taken,
                                 const Reservations& reservations) {
  const Count count = blocks_in(pool);
  if (count == 0) return std::nullopt;
  const Count start = Count{hash_of(owner.name)} % count;
  Count walked = 0;
  while (walked < count) {
    const Count index = (start + walked) % count;
    const Prefix block = block_at(pool, index);
    if (const auto* reserved = reservations.covering(block)) {
      // All blocks up to the end of the reservation, or of the pool, at once.
      const auto last =
          pool.cidr.contains(reserved->last()) ? *block_index(pool, reserved->last()) : count - 1;
      walked += last - index + 1;
      continue;
    }
    if (!overlaps_any(block, taken)) return block;
    ++walked;
  }
  return std::nullopt;
}

int most_blocks(const IpamConfiguration& configuration) {
  return configuration.max_blocks_per_host > 0 ? configuration.max_blocks_per_host : kDefaultMaxBlocks;
}

}  // namespace ocicat::network
