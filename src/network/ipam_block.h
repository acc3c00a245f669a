// What may be done to a block. Pure: each function changes the value that it is given; whether the change
// counts is decided by who writes the block against the revision it was read at.
//
// Kept by all of them: an ordinal is either allocated or stands in `unallocated` once; attributes are those
// that an allocation points to; only allocated ordinals have a sequence number.
//
//   cost     O(addresses of the block), at most 4,096
//   source   docs/spec: semantics.md 5
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "network/reservations.h"
#include "resources/ipam.h"

namespace ocicat::network {

// Addresses that Windows hosts keep for themselves in each of their blocks are given under this name.
inline constexpr std::string_view kWindowsHandle = "windows-reserved-ipam-handle";

// Of an address with this type, a host's own in one of its blocks: what containers there have for a gateway.
inline constexpr std::string_view kGatewayType = "gatewayAddress";

// As each write of a block raises it; from the largest there is to 0.
void raise_sequence(IpamBlock& block);

// An empty block. Its sequence begins with the time, so that one that is made again in the place of another
// never repeats what the other said.
IpamBlock new_block(const Prefix& cidr, const BlockOwner& owner, TimePoint now);

// Who an address is given to.
struct Grant {
  std::string handle;
  Labels attributes;
};

// An address of a block that has been given. `sequence` tells this giving from all others.
struct Given {
  IpAddress address;
  std::int64_t sequence = 0;

  bool operator==(const Given&) const = default;
};

// Gives at most `count` of the free addresses that are not reserved, the one that was free longest first.
std::vector<Given> give(IpamBlock& block, std::size_t count, const Grant& grant,
                        const Reservations& reservations);
// Gives this one. kAlreadyExists says who has it; kUnavailable that it cools down, and until when it may;
// kInvalid that it is not in the block. Reservations are only for who does not name an address.
Result<Given> give_this(IpamBlock& block, const IpAddress& address, const Grant& grant);
// As if `given` had never been given: for what has not been written.
void take_back(IpamBlock& block, const Given& given);
// Whether the address is given, under the handle, by this very giving.
bool holds(const IpamBlock& block, std::string_view handle, const Given& given);

// What is given under the handle.
std::vector<IpAddress> given_under(const IpamBlock& block, std::string_view handle);

// Released addresses cool down, and come back through settle(); without a cool-down at once. Who asks again
// is told again: nothing is released twice.
std::vector<IpAddress> release_handle(IpamBlock& block, std::string_view handle, TimePoint now,
                                      std::chrono::seconds cooldown);
struct Release {
  IpAddress address;
  std::optional<std::string> handle;     // it must be given under this one
  std::optional<std::int64_t> sequence;  // and be this giving
};
// True: released; false: nobody had it. kConflict: another has it by now.
Result<bool> release_this(IpamBlock& block, const Release& release, TimePoint now,
                          std::chrono::seconds cooldown);

// Brings addresses back whose cool-down is over. Whether there were any.
bool settle(IpamBlock& block, TimePoint now, std::chrono::seconds cooldown);

// Who has the address; nullptr where nobody has it, or where what is known of them is lost: see is_free().
const IpamBlock::Attribute* attribute_of(const IpamBlock& block, IpamBlock::Ordinal ordinal);
bool is_free(const IpamBlock& block, IpamBlock::Ordinal ordinal);

struct BlockCounts {
  std::size_t used = 0;
  std::size_t cooling = 0;
  std::size_t reserved = 0;  // of the others
  std::size_t free = 0;
};
BlockCounts counts_of(const IpamBlock& block, const Reservations& reservations);
// Nobody has an address, and none cools down; what Windows keeps does not count.
bool is_empty(const IpamBlock& block);
// Whether it is another host's, empty, and has been left alone for long enough to become this owner's.
bool may_be_taken_over(const IpamBlock& block, const BlockOwner& by, TimePoint now);

}  // namespace ocicat::network
