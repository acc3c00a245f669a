#include "kernel/rtnetlink.h"

#include <sys/socket.h>

#include <algorithm>

namespace ocicat::kernel {

std::uint8_t family_number(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

ByteView address_bytes(const IpAddress& address) {
  const auto bytes = std::span(address.bytes());
  return address.is_v4() ? bytes.last(4) : bytes;
}

std::optional<IpAddress> address_of(ByteView bytes) {
  if (bytes.size() == 4) {
    return IpAddress::v4(std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                         std::uint32_t{bytes[2]} << 8 | bytes[3]);
  }
  if (bytes.size() != 16) return std::nullopt;
  IpAddress::Bytes raw{};
  std::ranges::copy(bytes, raw.begin());
  return IpAddress::v6(raw);
}

}  // namespace ocicat::kernel
