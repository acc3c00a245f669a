#include "kernel/routes.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>
#include <span>

#include "base/unique_fd.h"
#include "kernel/filters.h"
#include "kernel/hop_objects.h"
#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

// A send is answered by at most so many errors; they must fit into the receive buffer.
constexpr std::size_t kMessagesASend = 1024;
constexpr int kBuffer = 8 << 20;
// Of what the kernel announces while nobody listens: tens of thousands of routes.
constexpr int kAnnounced = 16 << 20;

// Where IPv6 has what leads nowhere. Said, as it would otherwise remove any route of that metric.
constexpr std::uint32_t kLoopback = 1;

void put_route(MessageBuilder& builder, std::uint16_t message, std::uint16_t flags, std::uint32_t sequence,
               int protocol, const KernelRoute& route) {
  rtmsg header{};
  header.rtm_family = family_number(route.destination.family());
  header.rtm_dst_len = route.destination.length;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = static_cast<std::uint8_t>(protocol);
  const bool nowhere = route.blackhole || route.unreachable;
  header.rtm_type = route.blackhole ? RTN_BLACKHOLE : route.unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
  header.rtm_scope = route.gateway || nowhere ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  if (route.gateway && route.object == 0) header.rtm_flags = RTNH_F_ONLINK;
  builder.begin(message, static_cast<std::uint16_t>(NLM_F_REQUEST | flags), sequence, header);
  builder.put(RTA_DST, address_bytes(route.destination.address));
  if (route.object != 0) {
    builder.put_u32(RTA_NH_ID, route.object);
  } else if (!nowhere) {
    if (route.gateway) builder.put(RTA_GATEWAY, address_bytes(*route.gateway));
    builder.put_u32(RTA_OIF, static_cast<std::uint32_t>(route.link));
  } else if (route.destination.family() == Family::kIpv6) {
    builder.put_u32(RTA_OIF, kLoopback);
  }
  builder.put_u32(RTA_PRIORITY, route.metric);
  builder.end();
}

std::optional<KernelRoute> route_of(MessageView message, int protocol) {
  if (message.nlmsg_type != RTM_NEWROUTE) return std::nullopt;
  const auto& header = header_of<rtmsg>(message);
  if (header.rtm_protocol != protocol || header.rtm_table != RT_TABLE_MAIN ||
      (header.rtm_type != RTN_UNICAST && header.rtm_type != RTN_BLACKHOLE &&
       header.rtm_type != RTN_UNREACHABLE)) {
    return std::nullopt;
  }
  const Family family = header.rtm_family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  KernelRoute route;
  route.destination.address = family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress{};
  route.destination.length = header.rtm_dst_len;
  route.blackhole = header.rtm_type == RTN_BLACKHOLE;
  route.unreachable = header.rtm_type == RTN_UNREACHABLE;
  // Read in place: a table of attributes for each of 65,536 messages takes longer than the rest.
  auto left = static_cast<unsigned>(RTM_PAYLOAD(&message));
  for (const auto* at = RTM_RTA(&header); RTA_OK(at, left); at = RTA_NEXT(at, left)) {
    const ByteView bytes{static_cast<const std::uint8_t*>(RTA_DATA(at)), RTA_PAYLOAD(at)};
    std::uint32_t number = 0;
    if (bytes.size() >= sizeof number) std::memcpy(&number, bytes.data(), sizeof number);
    switch (at->rta_type) {
      case RTA_DST:
        route.destination.address = address_of(bytes).value_or(route.destination.address);
        break;
      case RTA_GATEWAY:
        route.gateway = address_of(bytes);
        break;
      case RTA_OIF:
        route.link = static_cast<int>(number);
        break;
      case RTA_PRIORITY:
        route.metric = number;
        break;
      case RTA_NH_ID:
        route.object = number;
        break;
      default:
        break;
    }
  }
  if (route.blackhole || route.unreachable)
    route.link = 0;  // IPv6 says that it leads to the loopback interface
  return route;
}

// The object that another's route is by; 0: none, or the route is ours.
std::uint32_t object_of_others(MessageView message, int protocol) {
  const auto& header = header_of<rtmsg>(message);
  if (header.rtm_table == RT_TABLE_MAIN && header.rtm_protocol == protocol) return 0;
  return Attributes::of_message(message, sizeof(rtmsg), RTA_NH_ID + 1).u32(RTA_NH_ID);
}

// Where net.ipv4.nexthop_compat_mode is 0 the kernel does not say with a route what its object says.
Result<void> add_ways_of_objects(NetlinkSocket& socket, std::vector<KernelRoute>& routes) {
  const auto lacks_way = [](const KernelRoute& route) { return route.object != 0 && route.link == 0; };
  if (std::ranges::none_of(routes, lacks_way)) return {};
  TRY(const auto told, dump_hops(socket));
  std::map<std::uint32_t, HopObject> hops;
  for (const auto& one : told) hops.emplace(one.hop.number, one.hop);
  for (auto& route : routes) {
    const auto hop = lacks_way(route) ? hops.find(route.object) : hops.end();
    if (hop == hops.end() || hop->second.link == 0) continue;
    route.link = hop->second.link;
    route.gateway = hop->second.gateway;
  }
  return {};
}

// What the kernel says to a message, with its own words where it has any.
template <class... Args>
Error refusal(const Acknowledgement& why, fmt::format_string<Args...> format, Args&&... args) {
  auto what = fmt::format(format, std::forward<Args>(args)...);
  if (!why.text.empty()) what += fmt::format(" ({})", why.text);
  return fail_errno(what, why.error_number).error();
}

// Of a route in the way of one that is to be added.
Error others_route(const KernelRoute& route) {
  return {
      ErrorCode::kAlreadyExists,
      fmt::format("add route {}: a route of another program has its way and its metric {}, and the kernel "
                  "keeps one; ours is written when that one has gone (ip -{} route show {})",
                  route.destination.to_string(), route.metric,
                  route.destination.family() == Family::kIpv4 ? 4 : 6, route.destination.to_string())};
}

// Gives each link its addresses, all of them or the only one. An address that came with its link meanwhile is told of
// again.
Result<void> add_addresses(NetlinkSocket& socket, std::span<Link> links) {
  if (links.empty()) return {};
  std::map<int, std::vector<IpAddress>> addresses_by_link;
  ifaddrmsg asked{};
  if (links.size() == 1) asked.ifa_index = static_cast<std::uint32_t>(links.front().index);
  MessageBuilder request;
  request.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), asked);
  request.end();
  TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWADDR) return;
    const auto& header = header_of<ifaddrmsg>(message);
    const auto attributes = Attributes::of_message(message, sizeof(ifaddrmsg), IFA_MAX + 1);
    // Where an address has a peer, IFA_ADDRESS is the peer's.
    auto own = address_of(attributes.bytes(IFA_LOCAL));
    if (!own) own = address_of(attributes.bytes(IFA_ADDRESS));
    if (own) addresses_by_link[static_cast<int>(header.ifa_index)].push_back(*own);
  }));
  for (auto& link : links) {
    link.addresses = std::move(addresses_by_link[link.index]);
    std::ranges::sort(link.addresses);
  }
  return {};
}

// Where they begin with their IP header for whoever looks at the ingress hook. GRE and SIT keep the outer one before it.
bool is_bare(unsigned type) {
  constexpr unsigned kRawIp = 519;  // ARPHRD_RAWIP
  return type == ARPHRD_NONE || type == ARPHRD_TUNNEL || type == ARPHRD_PPP || type == kRawIp;
}

// Kinds of interfaces that come in pairs.
bool is_pair(const nlattr* info) {
  if (info == nullptr) return false;
  const auto kind = Attributes::of_nest(info, IFLA_INFO_KIND + 1).text(IFLA_INFO_KIND);
  return kind == "veth" || kind == "netkit";
}

}  // namespace

Link link_of(MessageView message) {
  constexpr std::string_view kVrf = "vrf";
  const auto& header = header_of<ifinfomsg>(message);
  const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_LINK_NETNSID + 1);
  Link link{header.ifi_index, std::string(attributes.text(IFLA_IFNAME)), (header.ifi_flags & IFF_UP) != 0};
  link.ethernet = header.ifi_type == ARPHRD_ETHER;
  link.mtu = attributes.u32(IFLA_MTU);
  link.master = static_cast<int>(attributes.u32(IFLA_MASTER));
  link.peer_elsewhere = attributes.has(IFLA_LINK_NETNSID) && is_pair(attributes[IFLA_LINKINFO]);
  link.bare = is_bare(header.ifi_type);
  if (!attributes.has(IFLA_LINKINFO)) return link;
  const auto info = Attributes::of_nest(attributes[IFLA_LINKINFO], IFLA_INFO_SLAVE_KIND + 1);
  link.vrf = info.text(IFLA_INFO_KIND) == kVrf;
  link.in_vrf = info.text(IFLA_INFO_SLAVE_KIND) == kVrf;
  return link;
}

namespace {

// With index 0 all links.
Result<std::vector<Link>> read_links(NetlinkSocket& socket, int index) {
  return repeated<std::vector<Link>>([&]() -> Result<std::vector<Link>> {
    ifinfomsg asked{};
    asked.ifi_index = index;
    MessageBuilder request;
    request.begin(RTM_GETLINK, NLM_F_REQUEST | (index == 0 ? NLM_F_DUMP : NLM_F_ACK), socket.next_sequence(),
                  asked);
    request.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    request.end();
    std::vector<Link> links;
    TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
      if (message.nlmsg_type == RTM_NEWLINK) links.push_back(link_of(message));
    }));
    TRY_VOID(add_addresses(socket, links));
    return links;
  });
}

// A link as it is told of. Where one end of a pair comes from elsewhere, the other changes as well, and does not tell.
void doubt_link(MessageView message, LinkDoubts& doubts) {
  doubts.add(header_of<ifinfomsg>(message).ifi_index);
  const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_LINK_NETNSID + 1);
  if (attributes.has(IFLA_LINK_NETNSID) || !is_pair(attributes[IFLA_LINKINFO])) return;
  if (const auto other = attributes.u32(IFLA_LINK); other != 0) doubts.add(static_cast<int>(other));
}

}  // namespace

Result<std::unique_ptr<NetlinkRoutes>> NetlinkRoutes::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(socket.send_buffer(kBuffer));
  TRY_VOID(socket.receive_buffer(kBuffer));
  return std::make_unique<NetlinkRoutes>(std::move(socket));
}

Result<std::vector<Link>> NetlinkRoutes::links() {
  return read_links(socket_, 0);
}

Result<std::vector<Link>> NetlinkRoutes::links(const std::set<int>& indexes) {
  std::vector<Link> links;
  for (const auto index : indexes) {
    auto read = read_links(socket_, index);
    if (!read && read.error().code == ErrorCode::kNotFound) continue;
    if (!read) return read;
    std::ranges::move(*read, std::back_inserter(links));
  }
  return links;
}

Result<std::set<int>> NetlinkRoutes::controlled() {
  return repeated<std::set<int>>([&]() -> Result<std::set<int>> {
    MessageBuilder request;
    request.begin(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), tcmsg{});
    request.end();
    std::set<int> found, hooks;
    TRY_VOID(socket_.query(request.bytes(), [&](MessageView message) {
      const auto& header = header_of<tcmsg>(message);
      const auto attributes = Attributes::of_message(message, sizeof(tcmsg), TCA_KIND + 1);
      const auto kind = attributes.text(TCA_KIND);
      if (kind == "clsact") hooks.insert(header.tcm_ifindex);
      if (kind != "clsact" && kind != "noqueue") found.insert(header.tcm_ifindex);
    }));
    for (const auto interface : hooks) {
      TRY(const bool others, are_others_hooks(socket_, interface));
      if (others) found.insert(interface);
    }
    return found;
  });
}

Result<std::vector<KernelRoute>> NetlinkRoutes::routes(int protocol) {
  return repeated<std::vector<KernelRoute>>([&]() -> Result<std::vector<KernelRoute>> {
    std::vector<KernelRoute> routes;
    TRY_VOID(dump_routes(socket_, protocol, [&](MessageView message) {
      if (const auto route = route_of(message, protocol)) routes.push_back(*route);
    }));
    TRY_VOID(add_ways_of_objects(socket_, routes));
    return routes;
  });
}

Result<std::vector<NetlinkRoutes::Refused>> NetlinkRoutes::send_each(std::size_t count, int harmless,
                                                                     const Put& put) {
  std::vector<Refused> refused;
  for (std::size_t next = 0; next < count;) {
    MessageBuilder builder;
    const std::size_t start = next;
    const std::uint32_t first_sequence = socket_.next_sequence();
    for (; next < count && next - start < kMessagesASend; ++next) {
      const auto sequence = static_cast<std::uint32_t>(first_sequence + (next - start));
      put(builder, sequence, next);
      socket_.sequence_used(sequence);
    }
    // Only errors are answered.
    TRY(auto acks, socket_.request(builder.bytes()));
    for (auto& ack : acks) {
      if (ack.error_number == 0 || ack.error_number == harmless || ack.sequence < first_sequence) continue;
      refused.push_back({start + (ack.sequence - first_sequence), std::move(ack)});
    }
  }
  return refused;
}

Result<std::vector<RouteFailure>> NetlinkRoutes::change(std::uint16_t message, std::uint16_t flags,
                                                        int protocol,
                                                        const std::vector<KernelRoute>& routes) {
  const bool adds = message == RTM_NEWROUTE;
  TRY(const auto refused, send_each(routes.size(), adds ? 0 : ESRCH,
                                    [&](auto& builder, std::uint32_t sequence, std::size_t place) {
                                      put_route(builder, message, flags, sequence, protocol, routes[place]);
                                    }));
  std::vector<RouteFailure> failures;
  for (const auto& [place, why] : refused) {
    const auto& route = routes.at(place);
    failures.push_back(
        {route, refusal(why, "{} route {}", adds ? "add" : "remove", route.destination.to_string())});
  }
  return failures;
}

// For IPv6 "File exists" may mean a route of another protocol, which NLM_F_REPLACE would take away: what is ours
// is read.
Result<std::vector<RouteFailure>> NetlinkRoutes::add(int protocol, const std::vector<KernelRoute>& routes) {
  TRY(auto failures, change(RTM_NEWROUTE, NLM_F_CREATE, protocol, routes));
  const auto is_there = [](const RouteFailure& failure) {
    return failure.error.code == ErrorCode::kAlreadyExists;
  };
  if (std::ranges::none_of(failures, is_there)) return failures;
  TRY(auto ours, this->routes(protocol));
  std::ranges::sort(ours);
  std::erase_if(failures, [&](const RouteFailure& failure) {
    return is_there(failure) && std::ranges::binary_search(ours, failure.route);
  });
  for (auto& failure : failures) {
    if (is_there(failure)) failure.error = others_route(failure.route);
  }
  return failures;
}

Result<std::vector<RouteFailure>> NetlinkRoutes::remove(int protocol,
                                                        const std::vector<KernelRoute>& routes) {
  return change(RTM_DELROUTE, 0, protocol, routes);
}

Result<std::vector<HopObject>> NetlinkRoutes::hops(int protocol) {
  TRY(const auto told, dump_hops(socket_));
  std::vector<HopObject> hops;
  for (const auto& one : told) {
    if (one.protocol == protocol) hops.push_back(one.hop);
  }
  return hops;
}

Result<std::vector<HopFailure>> NetlinkRoutes::add(int protocol, const std::vector<HopObject>& hops) {
  TRY(const auto refused,
      send_each(hops.size(), 0, [&](auto& builder, std::uint32_t sequence, std::size_t place) {
        put_added_hop(builder, sequence, protocol, hops[place]);
      }));
  std::vector<HopFailure> failures;
  for (const auto& [place, why] : refused)
    failures.push_back({hops.at(place), refusal(why, "add next hop {}", hops.at(place).gateway.to_string())});
  return failures;
}

Result<std::vector<HopFailure>> NetlinkRoutes::remove(const std::vector<HopObject>& hops) {
  TRY(const auto refused,
      send_each(hops.size(), ENOENT, [&](auto& builder, std::uint32_t sequence, std::size_t place) {
        put_removed_hop(builder, sequence, hops[place]);
      }));
  std::vector<HopFailure> failures;
  for (const auto& [place, why] : refused)
    failures.push_back({hops.at(place), refusal(why, "remove next hop {}", hops.at(place).number)});
  return failures;
}

Result<std::set<std::uint32_t>> NetlinkRoutes::hops_others_use(int protocol) {
  return repeated<std::set<std::uint32_t>>([&]() -> Result<std::set<std::uint32_t>> {
    std::set<std::uint32_t> used;
    TRY_VOID(dump_all_routes(socket_, [&](MessageView message) {
      if (const auto number = object_of_others(message, protocol); number != 0) used.insert(number);
    }));
    TRY(const auto told, dump_hops(socket_));
    for (const auto& hop : told) {
      if (hop.protocol != protocol) used.insert(hop.members.begin(), hop.members.end());
    }
    return used;
  });
}

Result<NextHop> NetlinkRoutes::next_hop(const IpAddress& address) {
  rtmsg header{};
  header.rtm_family = family_number(address.family());
  header.rtm_dst_len = static_cast<std::uint8_t>(bits_of(address.family()));
  MessageBuilder request;
  request.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(), header);
  request.put(RTA_DST, address_bytes(address));
  request.end();
  std::optional<NextHop> hop;
  const auto asked = socket_.query(request.bytes(), [&](MessageView message) {
    const auto& found = header_of<rtmsg>(message);
    const auto attributes = Attributes::of_message(message, sizeof(rtmsg), RTA_MAX + 1);
    if (message.nlmsg_type != RTM_NEWROUTE || found.rtm_type != RTN_UNICAST) return;
    hop = NextHop{static_cast<int>(attributes.u32(RTA_OIF)), address_of(attributes.bytes(RTA_GATEWAY))};
  });
  if (!asked || !hop) return fail(ErrorCode::kNotFound, "no route to next hop {}", address.to_string());
  return *hop;
}

Result<bool> NetlinkRoutes::set(const std::string& setting, const std::string& value) {
  const std::string path = "/proc/sys/" + setting;
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file) return fail_errno(path, errno);
  std::array<char, 64> buffer{};
  const ssize_t size = ::read(file.get(), buffer.data(), buffer.size());
  if (size < 0) return fail_errno("read " + path, errno);
  std::string_view present(buffer.data(), static_cast<std::size_t>(size));
  while (!present.empty() && present.back() == '\n') present.remove_suffix(1);
  if (present == value) return false;
  if (::pwrite(file.get(), value.data(), value.size(), 0) < 0) return fail_errno("write " + path, errno);
  return true;
}

Result<RouteMonitor> RouteMonitor::open(std::uint32_t own_port) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(socket.receive_buffer(kAnnounced));
  TRY_VOID(socket.ignore_changes_of({own_port}));
  for (const unsigned group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                               RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP, RTNLGRP_TC}) {
    TRY_VOID(socket.join(group));
  }
  return RouteMonitor(std::move(socket));
}

Result<RouteMonitor::Events> RouteMonitor::read(int protocol) {
  Events events;
  const auto received = socket_.receive_waiting([&](MessageView message) {
    switch (message.nlmsg_type) {
      case RTM_DELLINK:  // it may have gone elsewhere: of what that is to others here they do not tell
        events.links.add({.all = true});
        break;
      case RTM_NEWLINK:
        doubt_link(message, events.links);
        break;
      case RTM_NEWADDR:
      case RTM_DELADDR:
        events.links.add(static_cast<int>(header_of<ifaddrmsg>(message).ifa_index));
        break;
      case RTM_NEWQDISC:
      case RTM_DELQDISC:
      case RTM_NEWTFILTER:
      case RTM_DELTFILTER:  // filters that several links share say none
        events.links.add(header_of<tcmsg>(message).tcm_ifindex);
        break;
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP: {
        const auto told = hop_of(message);
        events.own |= told.protocol == protocol;
        if (told.protocol == protocol) break;
        events.hops.push_back(told.hop.number);
        events.hops.insert(events.hops.end(), told.members.begin(), told.members.end());
        break;
      }
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        if (const auto number = object_of_others(message, protocol); number != 0)
          events.hops.push_back(number);
        const auto& header = header_of<rtmsg>(message);
        if (header.rtm_table != RT_TABLE_MAIN) break;
        const bool own = header.rtm_protocol == protocol;
        (own ? events.own : events.others) = true;
        if (own || message.nlmsg_type == RTM_NEWROUTE) break;
        const auto attributes = Attributes::of_message(message, sizeof(rtmsg), RTA_DST + 1);
        if (const auto address = address_of(attributes.bytes(RTA_DST)))
          events.vacated.push_back({*address, header.rtm_dst_len});
        break;
      }
      default:
        break;
    }
  });
  if (!received && received.error().code != ErrorCode::kExhausted) return std::unexpected(received.error());
  if (!received) return Events{.links = {.all = true}, .own = true, .others = true};
  return events;
}

}  // namespace ocicat::kernel
