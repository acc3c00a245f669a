// How rtnetlink writes addresses and families, and how it is asked for routes. Private to kernel/.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/ip.h"
#include "base/result.h"
#include "kernel/message.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

std::uint8_t family_number(Family family);  // AF_INET, AF_INET6
// In network order, as long as the family's addresses are. Borrows the address.
ByteView address_bytes(const IpAddress& address);
std::optional<IpAddress> address_of(ByteView bytes);

// Visits what the kernel tells of the routes of the main table that carry the protocol number, of both families; a kernel
// that does not choose tells of others as well. kUnavailable: they changed meanwhile.
Result<void> dump_routes(NetlinkSocket& socket, int protocol, const std::function<void(MessageView)>& visit);
// The same of all routes, of whatever table, whosever.
Result<void> dump_all_routes(NetlinkSocket& socket, const std::function<void(MessageView)>& visit);

// Asks again, some times, where what is asked for changed meanwhile (kUnavailable).
template <class T, class Try>
Result<T> repeated(Try attempt_once) {
  constexpr int kTries = 5;
  Result<T> result = attempt_once();
  for (int attempt = 1; attempt < kTries && !result && result.error().code == ErrorCode::kUnavailable;
       ++attempt) {
    result = attempt_once();
  }
  return result;
}

}  // namespace ocicat::kernel
