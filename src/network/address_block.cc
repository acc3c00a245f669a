#include "network/address_block.h"

#include "base/result.h"

namespace ocicat::network {
namespace {

// The address as a number: 128 bits, of which IPv4 uses the last 32.
Count number_of(const IpAddress& address) {
  if (address.is_v4()) return address.v4_value();
  Count number = 0;
  for (const auto byte : address.bytes()) number = number << 8 | byte;
  return number;
}

IpAddress address_of(Count number, Family family) {
  if (family == Family::kIpv4) return IpAddress::v4(static_cast<std::uint32_t>(number));
  IpAddress::Bytes bytes{};
  for (std::size_t i = bytes.size(); i-- > 0; number >>= 8) bytes[i] = static_cast<std::uint8_t>(number);
  return IpAddress::v6(bytes);
}

int block_bits(const IpPool& pool) {
  return bits_of(pool.cidr.family()) - pool.block_size;
}

}  // namespace

Count size_of(const Prefix& prefix) {
  const int bits = bits_of(prefix.family()) - prefix.length;
  return bits == 128 ? ~Count{0} : Count{1} << bits;
}

std::optional<IpamBlock::Ordinal> ordinal_of(const Prefix& block, const IpAddress& address) {
  if (!block.contains(address)) return std::nullopt;
  return static_cast<IpamBlock::Ordinal>(number_of(address) - number_of(block.first()));
}

Count blocks_in(const IpPool& pool) {
  if (pool.cidr.length > pool.block_size) return 0;
  return size_of(pool.cidr) >> block_bits(pool);
}

Prefix block_at(const IpPool& pool, Count index) {
  CHECK(index < blocks_in(pool));
  const Count first = number_of(pool.cidr.first()) + (index << block_bits(pool));
  return {address_of(first, pool.cidr.family()), static_cast<std::uint8_t>(pool.block_size)};
}

std::optional<Count> block_index(const IpPool& pool, const IpAddress& address) {
  if (!pool.cidr.contains(address) || blocks_in(pool) == 0) return std::nullopt;
  return (number_of(address) - number_of(pool.cidr.first())) >> block_bits(pool);
}

std::optional<Prefix> block_of(const IpPool& pool, const IpAddress& address) {
  const auto index = block_index(pool, address);
  return index ? std::optional(block_at(pool, *index)) : std::nullopt;
}

bool is_block_of(const IpPool& pool, const Prefix& prefix) {
  return prefix.length == pool.block_size && pool.cidr.contains(prefix);
}

}  // namespace ocicat::network
