#include "network/ipam_block.h"

#include <algorithm>
#include <limits>

#include "network/address_block.h"

namespace ocicat::network {
namespace {

using Ordinal = IpamBlock::Ordinal;
using Attribute = IpamBlock::Attribute;

// What another host's empty block must have been left alone before it is taken over.
constexpr std::chrono::minutes kEmptyFor{1};

// What points behind all attributes must not come to point at somebody.
void point_nowhere(IpamBlock& block) {
  for (auto& index : block.allocations) {
    if (index && *index >= block.attributes.size()) index = std::numeric_limits<std::uint32_t>::max();
  }
}

std::uint32_t attribute_for(IpamBlock& block, const Grant& grant) {
  const Attribute wanted{grant.handle, grant.attributes, {}, {}};
  const auto at = std::ranges::find(block.attributes, wanted);
  if (at != block.attributes.end()) return static_cast<std::uint32_t>(at - block.attributes.begin());
  point_nowhere(block);
  block.attributes.push_back(wanted);
  return static_cast<std::uint32_t>(block.attributes.size() - 1);
}

// Attributes that no allocation points to go; the others move up.
void prune(IpamBlock& block) {
  point_nowhere(block);
  std::vector<bool> used(block.attributes.size());
  for (const auto& index : block.allocations) {
    if (index && *index < used.size()) used[*index] = true;
  }
  std::vector<std::uint32_t> moved(block.attributes.size());
  std::vector<Attribute> kept;
  for (std::size_t i = 0; i < used.size(); ++i) {
    moved[i] = static_cast<std::uint32_t>(kept.size());
    if (used[i]) kept.push_back(std::move(block.attributes[i]));
  }
  for (auto& index : block.allocations) {
    if (index && *index < moved.size()) index = moved[*index];
  }
  block.attributes = std::move(kept);
}

Given allocate(IpamBlock& block, Ordinal ordinal, std::uint32_t attribute) {
  block.allocations[ordinal] = attribute;
  block.allocated_at[ordinal] = block.sequence;
  return {address_at(block.cidr, ordinal), block.sequence};
}

// Frees the ordinals, or lets them cool down together. They are allocated.
void release(IpamBlock& block, const std::vector<Ordinal>& ordinals, TimePoint now,
             std::chrono::seconds cooldown) {
  if (ordinals.empty()) return;
  point_nowhere(block);
  if (cooldown.count() > 0) {
    const Attribute cooling{{}, {}, {}, std::chrono::ceil<std::chrono::seconds>(now)};
    block.attributes.push_back(cooling);
    for (const Ordinal ordinal : ordinals)
      block.allocations[ordinal] = static_cast<std::uint32_t>(block.attributes.size() - 1);
  } else {
    for (const Ordinal ordinal : ordinals) {
      block.allocations[ordinal].reset();
      block.allocated_at.erase(ordinal);
      block.unallocated.push_back(ordinal);
    }
  }
  prune(block);
}

std::string_view handle_of(const Attribute* attribute) {
  if (attribute == nullptr || !attribute->handle) return {};
  // Handles that came over from another tool's files may end in "\r…".
  const std::string_view handle = *attribute->handle;
  return handle.substr(0, handle.find('\r'));
}

std::vector<Ordinal> ordinals_of(const IpamBlock& block, std::string_view handle) {
  std::vector<Ordinal> ordinals;
  if (handle.empty()) return ordinals;
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    if (handle_of(attribute_of(block, ordinal)) == handle) ordinals.push_back(ordinal);
  }
  return ordinals;
}

}  // namespace

void raise_sequence(IpamBlock& block) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  block.sequence = block.sequence == kMost ? 0 : block.sequence + 1;
}

IpamBlock new_block(const Prefix& cidr, const BlockOwner& owner, TimePoint now) {
  IpamBlock block;
  block.cidr = cidr;
  block.affinity = owner;
  block.claimed_at = now;
  block.sequence = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  block.allocations.resize(static_cast<std::size_t>(size_of(cidr)));
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) block.unallocated.push_back(ordinal);
  return block;
}

std::vector<Given> give(IpamBlock& block, std::size_t count, const Grant& grant,
                        const Reservations& reservations) {
  std::vector<Given> given;
  if (count == 0 || block.unallocated.empty()) return given;
  const bool some_reserved = reservations.touches(block.cidr);
  std::optional<std::uint32_t> attribute;
  std::erase_if(block.unallocated, [&](Ordinal ordinal) {
    if (given.size() == count) return false;
    if (some_reserved && reservations.contains(address_at(block.cidr, ordinal))) return false;
    if (!attribute) attribute = attribute_for(block, grant);
    given.push_back(allocate(block, ordinal, *attribute));
    return true;
  });
  return given;
}

Result<Given> give_this(IpamBlock& block, const IpAddress& address, const Grant& grant) {
  const auto ordinal = ordinal_of(block.cidr, address);
  if (!ordinal) {
    return fail(ErrorCode::kInvalid, "{} is not in block {}", address.to_string(), block.cidr.to_string());
  }
  if (!is_free(block, *ordinal)) {
    const auto* attribute = attribute_of(block, *ordinal);
    if (attribute != nullptr && attribute->released_at)
      return fail(ErrorCode::kUnavailable, "{} was released at {} and cools down", address.to_string(),
                  seconds_text(*attribute->released_at));
    const auto handle = handle_of(attribute);
    return fail(ErrorCode::kAlreadyExists, "{} is assigned already, to handle {}", address.to_string(),
                handle.empty() ? "(none)" : handle);
  }
  std::erase(block.unallocated, *ordinal);
  return allocate(block, *ordinal, attribute_for(block, grant));
}

void take_back(IpamBlock& block, const Given& given) {
  const auto ordinal = ordinal_of(block.cidr, given.address);
  CHECK(ordinal && block.allocations[*ordinal]);
  block.allocations[*ordinal].reset();
  block.allocated_at.erase(*ordinal);
  block.unallocated.insert(block.unallocated.begin(), *ordinal);
  prune(block);
}

bool holds(const IpamBlock& block, std::string_view handle, const Given& given) {
  const auto ordinal = ordinal_of(block.cidr, given.address);
  if (!ordinal || handle_of(attribute_of(block, *ordinal)) != handle) return false;
  const auto sequence = block.allocated_at.find(*ordinal);
  return sequence != block.allocated_at.end() && sequence->second == given.sequence;
}

std::vector<IpAddress> given_under(const IpamBlock& block, std::string_view handle) {
  std::vector<IpAddress> addresses;
  for (const Ordinal ordinal : ordinals_of(block, handle))
    addresses.push_back(address_at(block.cidr, ordinal));
  return addresses;
}

std::vector<IpAddress> release_handle(IpamBlock& block, std::string_view handle, TimePoint now,
                                      std::chrono::seconds cooldown) {
  auto addresses = given_under(block, handle);
  release(block, ordinals_of(block, handle), now, cooldown);
  return addresses;
}

Result<bool> release_this(IpamBlock& block, const Release& wanted, TimePoint now,
                          std::chrono::seconds cooldown) {
  const auto ordinal = ordinal_of(block.cidr, wanted.address);
  if (!ordinal)
    return fail(ErrorCode::kInvalid, "{} is not in block {}", wanted.address.to_string(),
                block.cidr.to_string());
  const auto* attribute = attribute_of(block, *ordinal);
  if (is_free(block, *ordinal) || (attribute != nullptr && attribute->released_at)) return false;
  const auto sequence = block.allocated_at.find(*ordinal);
  const bool other_giving =
      wanted.sequence && (sequence == block.allocated_at.end() ? 0 : sequence->second) != *wanted.sequence;
  if (other_giving || (wanted.handle && handle_of(attribute) != *wanted.handle)) {
    return fail(ErrorCode::kConflict, "{} has been assigned anew since, to handle {}",
                wanted.address.to_string(), handle_of(attribute));
  }
  release(block, {*ordinal}, now, cooldown);
  return true;
}

bool settle(IpamBlock& block, TimePoint now, std::chrono::seconds cooldown) {
  std::vector<std::pair<TimePoint, Ordinal>> cold;
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    const auto* attribute = attribute_of(block, ordinal);
    if (attribute == nullptr || !attribute->released_at) continue;
    if (*attribute->released_at + cooldown <= now) cold.emplace_back(*attribute->released_at, ordinal);
  }
  if (cold.empty()) return false;
  std::ranges::sort(cold);  // in the order in which they were released
  std::vector<Ordinal> ordinals;
  ordinals.reserve(cold.size());
  for (const auto& [when, ordinal] : cold) ordinals.push_back(ordinal);
  release(block, ordinals, now, std::chrono::seconds(0));
  return true;
}

const Attribute* attribute_of(const IpamBlock& block, Ordinal ordinal) {
  const auto& index = block.allocations[ordinal];
  return index && *index < block.attributes.size() ? &block.attributes[*index] : nullptr;
}

bool is_free(const IpamBlock& block, Ordinal ordinal) {
  return !block.allocations[ordinal];
}

BlockCounts counts_of(const IpamBlock& block, const Reservations& reservations) {
  BlockCounts counts;
  const bool some_reserved = reservations.touches(block.cidr);
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    const auto* attribute = attribute_of(block, ordinal);
    if (attribute != nullptr && attribute->released_at) {
      ++counts.cooling;
    } else if (!is_free(block, ordinal)) {
      ++counts.used;
    } else if (some_reserved && reservations.contains(address_at(block.cidr, ordinal))) {
      ++counts.reserved;
    } else {
      ++counts.free;
    }
  }
  return counts;
}

bool is_empty(const IpamBlock& block) {
  for (Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
    if (is_free(block, ordinal)) continue;
    if (handle_of(attribute_of(block, ordinal)) != kWindowsHandle) return false;
  }
  return true;
}

bool may_be_taken_over(const IpamBlock& block, const BlockOwner& by, TimePoint now) {
  const bool is_another_hosts =
      block.affinity && *block.affinity != by && block.affinity->type == BlockOwner::Type::kHost;
  const bool is_old = !block.claimed_at || *block.claimed_at + kEmptyFor <= now;
  return is_another_hosts && is_old && is_empty(block);
}

}  // namespace ocicat::network
