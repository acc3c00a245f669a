// How rtnetlink writes addresses and families. Private to kernel/.
#pragma once

#include <cstdint>
#include <optional>

#include "base/ip.h"
#include "kernel/message.h"

namespace ocicat::kernel {

std::uint8_t family_number(Family family);  // AF_INET, AF_INET6
// In network order, as long as the family's addresses are. Borrows the address.
ByteView address_bytes(const IpAddress& address);
std::optional<IpAddress> address_of(ByteView bytes);

}  // namespace ocicat::kernel
