#include "kernel/nft_matches.h"

#include <linux/netfilter.h>

#include <array>
#include <cstring>
#include <vector>

#include "kernel/rtnetlink.h"

namespace ocicat::kernel::nft {

void set_mark_bit(Expressions& rule, std::uint32_t bit, bool value) {
  const std::uint32_t others = ~bit, flip = value ? bit : 0;
  std::array<std::uint8_t, sizeof bit> keep_bytes{}, flip_bytes{};  // host order, as the kernel has marks
  std::memcpy(keep_bytes.data(), &others, sizeof others);
  std::memcpy(flip_bytes.data(), &flip, sizeof flip);
  rule.meta(Meta::kMark, 0).mask(0, keep_bytes, flip_bytes).set_mark(0);
}

ByteView packet_bytes(const IpAddress& address) {
  return address_bytes(address);
}

IpAddress address_of(ByteView bytes) {
  CHECK(bytes.size() == 4 || bytes.size() == 16);
  IpAddress::Bytes all{};
  std::ranges::copy(bytes, all.end() - static_cast<std::ptrdiff_t>(bytes.size()));
  if (bytes.size() == 4) all[10] = all[11] = 0xff;
  return IpAddress::v6(all);
}

Expressions of_family(Family family) {
  const std::array<std::uint8_t, 1> number{family == Family::kIpv4 ? std::uint8_t{NFPROTO_IPV4}
                                                                   : std::uint8_t{NFPROTO_IPV6}};
  Expressions rule;
  rule.meta(Meta::kFamily, 0).equals(0, number);
  return rule;
}

// RFC 791, RFC 8200.
void load_address(Expressions& rule, Family family, End end) {
  const bool v4 = family == Family::kIpv4;
  const std::uint32_t source = v4 ? 12 : 8;
  const std::uint32_t length = v4 ? 4 : 16;
  rule.payload(HeaderBase::kNetwork, end == End::kSource ? source : source + length, length, 0);
}

void load_addresses(Expressions& rule, Family family) {
  const bool v4 = family == Family::kIpv4;
  rule.payload(HeaderBase::kNetwork, v4 ? 12 : 8, v4 ? 8 : 32, 0);
}

Expressions within(const Prefix& net, End end) {
  auto rule = of_family(net.family());
  load_address(rule, net.family(), end);
  std::vector<std::uint8_t> mask(net.family() == Family::kIpv4 ? 4 : 16);
  for (int bit = 0; bit < net.length; ++bit)
    mask[static_cast<std::size_t>(bit / 8)] |= static_cast<std::uint8_t>(0x80 >> (bit % 8));
  rule.mask(0, mask).equals(0, packet_bytes(net.address));
  return rule;
}

}  // namespace ocicat::kernel::nft
