#include "kernel/route_copies.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

// A send is answered by at most so many errors.
constexpr std::size_t kCopiesASend = 1024;
constexpr int kCopiesBuffer = 8 << 20;

// Next hops as a route is told with, for one that is to be added: what the kernel thinks of each is its own.
void forget_states(std::vector<std::uint8_t>& hops) {
  for (std::size_t at = 0; at + sizeof(rtnexthop) <= hops.size();) {
    auto* hop = reinterpret_cast<rtnexthop*>(hops.data() + at);
    if (hop->rtnh_len < sizeof(rtnexthop)) return;
    hop->rtnh_flags = RTNH_F_ONLINK;
    at += RTNH_ALIGN(hop->rtnh_len);
  }
}

}  // namespace

struct RouteCopies::Found {
  Prefix destination;
  // By one gateway, or by several: what the kernel says of these.
  std::vector<std::uint8_t> gateway, hops;
  std::uint32_t link = 0;
};

Result<RouteCopies> RouteCopies::open(int protocol, std::uint32_t metric) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(socket.send_buffer(kCopiesBuffer));
  TRY_VOID(socket.receive_buffer(kCopiesBuffer));
  return RouteCopies(std::move(socket), protocol, metric);
}

Result<std::vector<RouteCopies::Found>> RouteCopies::find(int protocol) {
  return repeated<std::vector<Found>>([&]() -> Result<std::vector<Found>> {
    std::vector<Found> found;
    TRY_VOID(dump_routes(socket_, protocol, [&](MessageView message) {
      const auto& told = header_of<rtmsg>(message);
      if (message.nlmsg_type != RTM_NEWROUTE || told.rtm_protocol != protocol ||
          told.rtm_table != RT_TABLE_MAIN || told.rtm_type != RTN_UNICAST)
        return;
      const auto attributes = Attributes::of_message(message, sizeof(rtmsg), RTA_MULTIPATH + 1);
      const auto bytes = [&](std::size_t type) {
        const auto view = attributes.bytes(type);
        return std::vector<std::uint8_t>(view.begin(), view.end());
      };
      const bool v4 = told.rtm_family == AF_INET;
      Found route{.destination = {v4 ? IpAddress::v4(0) : IpAddress{}, told.rtm_dst_len},
                  .gateway = bytes(RTA_GATEWAY),
                  .hops = bytes(RTA_MULTIPATH),
                  .link = attributes.u32(RTA_OIF)};
      if (const auto address = address_of(attributes.bytes(RTA_DST))) route.destination.address = *address;
      if (!route.gateway.empty() || !route.hops.empty()) found.push_back(std::move(route));
    }));
    return found;
  });
}

Result<void> RouteCopies::change(std::uint16_t message, std::uint16_t flags, int harmless,
                                 const std::vector<Found>& routes) {
  Result<void> done;
  for (std::size_t next = 0; next < routes.size();) {
    MessageBuilder builder;
    const auto first = next;
    const auto first_sequence = socket_.next_sequence();
    for (; next < routes.size() && next - first < kCopiesASend; ++next) {
      const auto& route = routes[next];
      rtmsg header{};
      header.rtm_family = family_number(route.destination.family());
      header.rtm_dst_len = route.destination.length;
      header.rtm_table = RT_TABLE_MAIN;
      header.rtm_protocol = static_cast<std::uint8_t>(protocol_);
      header.rtm_type = RTN_UNICAST;
      header.rtm_scope = RT_SCOPE_UNIVERSE;
      if (route.hops.empty()) header.rtm_flags = RTNH_F_ONLINK;
      const auto sequence = static_cast<std::uint32_t>(first_sequence + (next - first));
      builder.begin(message, static_cast<std::uint16_t>(NLM_F_REQUEST | flags), sequence, header);
      socket_.sequence_used(sequence);
      builder.put(RTA_DST, address_bytes(route.destination.address));
      if (route.hops.empty()) {
        builder.put(RTA_GATEWAY, route.gateway);
        builder.put_u32(RTA_OIF, route.link);
      } else {
        auto hops = route.hops;
        forget_states(hops);
        builder.put(RTA_MULTIPATH, hops);
      }
      builder.put_u32(RTA_PRIORITY, metric_);
      builder.end();
    }
    // Only errors are answered.
    TRY(const auto acks, socket_.request(builder.bytes()));
    for (const auto& ack : acks) {
      if (ack.error_number == 0 || ack.error_number == harmless || ack.sequence < first_sequence || !done)
        continue;
      const auto& route = routes.at(first + (ack.sequence - first_sequence));
      done = fail_errno(
          fmt::format("{} a copy of the route to {}{}", message == RTM_NEWROUTE ? "add" : "remove",
                      route.destination.to_string(), ack.text.empty() ? "" : fmt::format(" ({})", ack.text)),
          ack.error_number);
    }
  }
  return done;
}

Result<void> RouteCopies::make(int original) {
  TRY(const auto routes, find(original));
  return change(RTM_NEWROUTE, NLM_F_CREATE, EEXIST, routes);
}

Result<std::size_t> RouteCopies::drop(const std::function<bool(const Prefix&)>& unwanted) {
  TRY(auto routes, find(protocol_));
  const auto all = routes.size();
  std::erase_if(routes, [&](const Found& route) { return !unwanted(route.destination); });
  TRY_VOID(change(RTM_DELROUTE, 0, ESRCH, routes));
  return all - routes.size();
}

}  // namespace ocicat::kernel
