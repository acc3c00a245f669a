// How rtnetlink writes next hop objects (ip-nexthop(8), linux/nexthop.h). Private to kernel/.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "kernel/message.h"
#include "kernel/netlink.h"
#include "kernel/routes.h"

namespace ocicat::kernel {

void put_added_hop(MessageBuilder& builder, std::uint32_t sequence, int protocol, const HopObject& hop);
void put_removed_hop(MessageBuilder& builder, std::uint32_t sequence, const HopObject& hop);

// Of a message of type RTM_NEWNEXTHOP or RTM_DELNEXTHOP.
struct ToldHop {
  int protocol = 0;
  HopObject hop;
  std::vector<std::uint32_t> members{};  // of a group: the objects that it names
};
ToldHop hop_of(MessageView message);

// All there are, whosever.
Result<std::vector<ToldHop>> dump_hops(NetlinkSocket& socket);

}  // namespace ocicat::kernel
