// What rules match of a packet's addresses.
#pragma once

#include "base/ip.h"
#include "kernel/nft_expressions.h"

namespace ocicat::kernel::nft {

enum class End { kSource, kDestination };

// Begins a rule for packets of one family.
Expressions of_family(Family family);
// The address at one end of the packet, which is of that family, into register 0.
void load_address(Expressions& rule, Family family, End end);
// Both, the source first, into registers from 0 on.
void load_addresses(Expressions& rule, Family family);
// Begins a rule for packets whose address at one end is within the net.
Expressions within(const Prefix& net, End end);
// Sets a bit of the packet's mark, or clears it; by register 0.
void set_mark_bit(Expressions& rule, std::uint32_t bit, bool value);
// The bytes of an address as a packet has them: 4 or 16. Borrowed.
ByteView packet_bytes(const IpAddress& address);
// The address of which these are the bytes.
IpAddress address_of(ByteView bytes);

}  // namespace ocicat::kernel::nft
