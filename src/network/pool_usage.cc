#include "network/pool_usage.h"

#include <algorithm>
#include <set>

#include "network/pool_choice.h"

namespace ocicat::network {
namespace {

constexpr std::chrono::hours kLookBack{1};
constexpr std::chrono::hours kLookAhead{24 * 30};
constexpr std::chrono::hours kSoon{24};
constexpr unsigned kScarce = 10;  // one part in so many

// As our allocator notes it, or as Go prints a time: "2026-11-26 20:17:59.12 +0000 UTC".
std::optional<TimePoint> time_of(const IpamBlock::Attribute& attribute) {
  const auto at = attribute.secondary.find("timestamp");
  if (at == attribute.secondary.end()) return std::nullopt;
  if (const auto time = parse_time(at->second)) return time;
  constexpr std::size_t kToTheSecond = 19;
  if (at->second.size() < kToTheSecond || at->second.find(" +0000") == std::string::npos) return std::nullopt;
  auto text = at->second.substr(0, kToTheSecond) + "Z";
  std::ranges::replace(text, ' ', 'T');
  return parse_time(text);
}

std::size_t given_since(const IpamBlock& block, TimePoint since) {
  std::size_t count = 0;
  for (IpamBlock::Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    const auto* attribute = attribute_of(block, ordinal);
    if (attribute == nullptr || attribute->released_at) continue;
    const auto time = time_of(*attribute);
    if (time && *time >= since) ++count;
  }
  return count;
}

void look_ahead(PoolUsage& pool, std::size_t given) {
  if (pool.disabled) return;
  if (given > 0 && pool.free / given < static_cast<Count>(kLookAhead.count()))
    pool.forecast = {given, std::chrono::hours(static_cast<std::int64_t>(pool.free / given))};
  const Count scarce = pool.size / kScarce + (pool.size % kScarce != 0 ? 1 : 0);
  pool.running_out = pool.free < scarce || (pool.forecast && pool.forecast->full_in < kSoon);
}

}  // namespace

Usage usage_of(std::span<const IpPool> pools, std::span<const IpamBlock> blocks,
               const Reservations& reservations, TimePoint now) {
  Usage usage;
  std::vector<std::size_t> given(pools.size());
  for (const auto& pool : pools) {
    auto& row = usage.pools.emplace_back();
    row.name = pool.metadata.name;
    row.cidr = pool.cidr;
    row.disabled = pool.disabled;
    row.size = size_of(pool.cidr);
    row.blocks_at_most = blocks_in(pool);
    row.reserved = reservations.count_in(pool.cidr);
  }
  for (const auto& block : blocks) {
    const auto counts = counts_of(block, reservations);
    const IpPool* pool = pool_of(pools, block.cidr.address);
    usage.blocks.push_back(
        {block.cidr, pool == nullptr ? "" : pool->metadata.name, block.affinity, block.claimed_at, counts});
    if (pool == nullptr) continue;
    const auto i = static_cast<std::size_t>(pool - pools.data());
    auto& row = usage.pools[i];
    row.used += counts.used;
    row.cooling += counts.cooling;
    ++row.blocks;
    given[i] += given_since(block, now - kLookBack);
    // Reserved ones that somebody has, since he named them, are used.
    const auto reserved_here = reservations.count_in(block.cidr);
    row.reserved -= std::min(row.reserved, reserved_here - std::min(reserved_here, Count{counts.reserved}));
  }
  for (std::size_t i = 0; i < usage.pools.size(); ++i) {
    auto& row = usage.pools[i];
    const Count taken = Count{row.used} + row.cooling + row.reserved;
    row.free = row.size - std::min(row.size, taken);
    look_ahead(row, given[i]);
  }
  std::ranges::sort(usage.blocks, {}, &BlockUsage::cidr);
  return usage;
}

bool has_room(const IpPool& pool, const BlockOwner& owner, std::span<const IpamBlock> blocks,
              std::span<const Prefix> unreadable, const IpamConfiguration& configuration,
              const Reservations& reservations, TimePoint now) {
  std::set<Prefix> taken(unreadable.begin(), unreadable.end());
  int own = 0;
  bool left_empty = false, at_others = false;
  for (const auto& as_read : blocks) {
    taken.insert(as_read.cidr);
    const bool is_own = as_read.affinity == owner;
    own += is_own && as_read.cidr.family() == pool.cidr.family();
    if (!is_block_of(pool, as_read.cidr)) continue;
    auto block = as_read;
    settle(block, now, configuration.cooldown);
    const bool has_free = counts_of(block, reservations).free > 0;
    if (is_own && has_free) return true;
    left_empty |= may_be_taken_over(block, owner, now);
    at_others |= !is_own && has_free && !block.strict_affinity;
  }
  if (configuration.auto_allocate_blocks) {
    if (own >= most_blocks(configuration)) return false;  // then nothing is taken from others either
    if (left_empty || next_block(pool, owner, taken, reservations)) return true;
  }
  return at_others && !configuration.strict_affinity;
}

}  // namespace ocicat::network
