#include "kernel/tunnels.h"

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/unique_fd.h"
#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

constexpr std::string_view kVxlan = "vxlan", kIpip = "ipip";
// Of what the kernel announces while nobody listens: ends of thousands of hosts.
constexpr int kEndsAnnounced = 4 << 20;
constexpr std::string_view kMark = "ocicat";  // the alias of a link that is ours, whoever made it

std::optional<MacAddress> mac_of(ByteView bytes) {
  MacAddress mac;
  if (bytes.size() != mac.bytes.size()) return std::nullopt;
  std::ranges::copy(bytes, mac.bytes.begin());
  return mac;
}

std::uint16_t be16_of(ByteView bytes) {
  return bytes.size() < 2 ? 0 : static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}

// A link that says what it is.
Result<VxlanLink> vxlan_of(const std::string& name, MessageView message) {
  const auto& header = header_of<ifinfomsg>(message);
  const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_LINKINFO + 1);
  const auto info = Attributes::of_nest(attributes[IFLA_LINKINFO], IFLA_INFO_DATA + 1);
  if (info.text(IFLA_INFO_KIND) != kVxlan) {
    return fail(ErrorCode::kInvalid, "interface {} is there, and is no VXLAN interface: remove it", name);
  }
  const auto data = Attributes::of_nest(info[IFLA_INFO_DATA], IFLA_VXLAN_LOCAL6 + 1);
  VxlanLink link;
  link.index = header.ifi_index;
  link.up = (header.ifi_flags & IFF_UP) != 0;
  link.mtu = attributes.u32(IFLA_MTU);
  link.config.mac = mac_of(attributes.bytes(IFLA_ADDRESS)).value_or(MacAddress{});
  for (const auto which : {IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6}) {
    if (const auto local = address_of(data.bytes(static_cast<std::size_t>(which))))
      link.config.local = *local;
  }
  link.config.parent = static_cast<int>(data.u32(IFLA_VXLAN_LINK));
  link.config.vni = data.u32(IFLA_VXLAN_ID);
  link.config.port = be16_of(data.bytes(IFLA_VXLAN_PORT));
  return link;
}

Result<IpipLink> ipip_of(const std::string& name, MessageView message) {
  const auto& header = header_of<ifinfomsg>(message);
  const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_IFALIAS + 1);
  const auto info = Attributes::of_nest(attributes[IFLA_LINKINFO], IFLA_INFO_KIND + 1);
  if (info.text(IFLA_INFO_KIND) != kIpip)
    return fail(ErrorCode::kInvalid, "interface {} is there, and is no IPIP interface: remove it", name);
  return IpipLink{header.ifi_index, attributes.u32(IFLA_MTU), (header.ifi_flags & IFF_UP) != 0,
                  attributes.text(IFLA_IFALIAS) == kMark};
}

// An entry of a table of neighbours; the family of a table of forwarding is AF_BRIDGE.
MessageBuilder neighbour_message(std::uint32_t sequence, bool add, std::uint8_t family, int link,
                                 const MacAddress& mac, const IpAddress& address) {
  ndmsg header{};
  header.ndm_family = family;
  header.ndm_ifindex = link;
  header.ndm_state = NUD_PERMANENT;
  if (family == AF_BRIDGE) header.ndm_flags = NTF_SELF;
  MessageBuilder builder;
  const auto flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0);
  builder.begin(add ? RTM_NEWNEIGH : RTM_DELNEIGH, static_cast<std::uint16_t>(flags), sequence, header);
  builder.put(NDA_DST, address_bytes(address));
  if (add || family == AF_BRIDGE) builder.put(NDA_LLADDR, mac.bytes);
  builder.end();
  return builder;
}

struct Entry {
  MacAddress mac;
  IpAddress address;
};

// The permanent entries of a link.
Result<std::vector<Entry>> entries(NetlinkSocket& socket, std::uint8_t family, int link) {
  ndmsg header{};
  header.ndm_family = family;
  MessageBuilder request;
  request.begin(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), header);
  request.put_u32(NDA_IFINDEX, static_cast<std::uint32_t>(link));
  request.end();
  std::vector<Entry> found;
  TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWNEIGH) return;
    const auto& entry = header_of<ndmsg>(message);
    if (entry.ndm_ifindex != link || entry.ndm_family != family || (entry.ndm_state & NUD_PERMANENT) == 0)
      return;
    const auto attributes = Attributes::of_message(message, sizeof(ndmsg), NDA_LLADDR + 1);
    const auto mac = mac_of(attributes.bytes(NDA_LLADDR));
    const auto address = address_of(attributes.bytes(NDA_DST));
    if (mac && address) found.push_back({*mac, *address});
  }));
  return found;
}

}  // namespace

Result<std::unique_ptr<NetlinkTunnels>> NetlinkTunnels::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  return std::make_unique<NetlinkTunnels>(std::move(socket));
}

Result<bool> NetlinkTunnels::find(const std::string& name, const std::function<void(MessageView)>& visit) {
  MessageBuilder request;
  request.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(), ifinfomsg{});
  request.put_string(IFLA_IFNAME, name);
  request.end();
  bool found = false;
  const auto asked = socket_.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWLINK) return;
    found = true;
    visit(message);
  });
  if (!asked && asked.error().code != ErrorCode::kNotFound) return std::unexpected(asked.error());
  return found;
}

Result<std::optional<VxlanLink>> NetlinkTunnels::vxlan(const std::string& name) {
  Result<VxlanLink> link{};
  TRY(const bool found, find(name, [&](MessageView message) { link = vxlan_of(name, message); }));
  if (!found) return std::nullopt;
  if (!link) return std::unexpected(link.error());
  return *link;
}

Result<std::optional<IpipLink>> NetlinkTunnels::ipip(const std::string& name) {
  Result<IpipLink> link{};
  TRY(const bool found, find(name, [&](MessageView message) { link = ipip_of(name, message); }));
  if (!found) return std::nullopt;
  if (!link) return std::unexpected(link.error());
  return *link;
}

// Asked for one, the kernel loads its module, which makes the interface that was asked for.
Result<void> NetlinkTunnels::create_ipip(const std::string& name) {
  MessageBuilder builder;
  builder.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, socket_.next_sequence(),
                ifinfomsg{});
  builder.put_string(IFLA_IFNAME, name);
  const auto info = builder.begin_nest(IFLA_LINKINFO);
  builder.put_string(IFLA_INFO_KIND, kIpip);
  builder.end_nest(info);
  builder.end();
  auto made = socket_.change(builder, fmt::format("make the IPIP interface {}", name), EEXIST);
  if (!made && made.error().code == ErrorCode::kUnsupported) {
    made.error().message +=
        "; this kernel has no IPIP: load its module ipip, or set the pools' ipipMode to Never and vxlanMode "
        "instead";
  }
  return made;
}

Result<TunnelKernel::Parent> NetlinkTunnels::parent(const IpAddress& address) {
  ifaddrmsg header{};
  header.ifa_family = family_number(address.family());
  MessageBuilder request;
  request.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), header);
  request.end();
  std::set<int> having;
  TRY_VOID(socket_.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWADDR) return;
    const auto attributes = Attributes::of_message(message, sizeof(ifaddrmsg), IFA_MAX + 1);
    auto own = address_of(attributes.bytes(IFA_LOCAL));
    if (!own) own = address_of(attributes.bytes(IFA_ADDRESS));
    if (own && *own == address) having.insert(static_cast<int>(header_of<ifaddrmsg>(message).ifa_index));
  }));
  if (having.empty()) {
    return fail(ErrorCode::kNotFound, "no interface has this host's address {}, from which its tunnels go",
                address.to_string());
  }
  MessageBuilder links;
  links.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), ifinfomsg{});
  links.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  links.end();
  // An address on the loopback is routed by others: the least of all that are up is what a packet meets.
  Parent parent;
  std::uint32_t least = 0;
  TRY_VOID(socket_.query(links.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWLINK) return;
    const auto& link = header_of<ifinfomsg>(message);
    if (!having.contains(link.ifi_index)) return;
    const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_MTU + 1);
    const auto mtu = attributes.u32(IFLA_MTU);
    if ((link.ifi_flags & IFF_LOOPBACK) == 0 && (parent.index == 0 || link.ifi_index < parent.index))
      parent.index = link.ifi_index;
    if (least == 0 || mtu < least) least = mtu;
  }));
  parent.mtu = least;
  // Several links, or the loopback: the route says which.
  if (having.size() > 1) parent.index = 0;
  return parent;
}

Result<PortRange> NetlinkTunnels::source_ports() {
  constexpr const char* kSetting = "/proc/sys/net/ipv4/ip_local_port_range";
  PortRange range;
  std::ifstream file(kSetting);
  if (!(file >> range.first >> range.last) || range.first > range.last)
    return fail(ErrorCode::kUnavailable, "cannot read {}", kSetting);
  return range;
}

Result<void> NetlinkTunnels::create(const std::string& name, const VxlanConfig& config) {
  ifinfomsg header{};
  MessageBuilder builder;
  builder.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, socket_.next_sequence(),
                header);
  builder.put_string(IFLA_IFNAME, name);
  builder.put(IFLA_ADDRESS, config.mac.bytes);
  const auto info = builder.begin_nest(IFLA_LINKINFO);
  builder.put_string(IFLA_INFO_KIND, kVxlan);
  const auto data = builder.begin_nest(IFLA_INFO_DATA);
  builder.put_u32(IFLA_VXLAN_ID, config.vni);
  builder.put(config.local.is_v4() ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, address_bytes(config.local));
  if (config.parent != 0) builder.put_u32(IFLA_VXLAN_LINK, static_cast<std::uint32_t>(config.parent));
  const std::array port{static_cast<std::uint8_t>(config.port >> 8), static_cast<std::uint8_t>(config.port)};
  builder.put(IFLA_VXLAN_PORT, port);
  builder.put_u8(IFLA_VXLAN_LEARNING, 0);  // who is where is told, never guessed
  builder.end_nest(data);
  builder.end_nest(info);
  builder.end();
  auto made = socket_.change(builder, fmt::format("make the VXLAN interface {}", name));
  if (!made && made.error().code == ErrorCode::kUnsupported)
    made.error().message +=
        "; this kernel has no VXLAN: load the module vxlan, or choose another encapsulation";
  return made;
}

Result<void> NetlinkTunnels::remove(int link) {
  ifinfomsg header{};
  header.ifi_index = link;
  MessageBuilder builder;
  builder.begin(RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(), header);
  builder.end();
  return socket_.change(builder, "remove a VXLAN interface", ENODEV);
}

namespace {

// The rest of the message is for the caller to say, and to end.
MessageBuilder turn_message(std::uint32_t sequence, int link, bool up) {
  ifinfomsg header{};
  header.ifi_index = link;
  if (up) header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  MessageBuilder builder;
  builder.begin(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, sequence, header);
  return builder;
}

}  // namespace

Result<void> NetlinkTunnels::raise_ipip(int link, std::uint32_t mtu) {
  auto builder = turn_message(socket_.next_sequence(), link, true);
  builder.put_u32(IFLA_MTU, mtu);
  builder.put_string(IFLA_IFALIAS, kMark);
  builder.end();
  return socket_.change(builder, fmt::format("bring the IPIP interface up, MTU {}", mtu));
}

Result<void> NetlinkTunnels::lower_ipip(int link) {
  auto builder = turn_message(socket_.next_sequence(), link, false);
  builder.put_string(IFLA_IFALIAS, "");
  builder.end();
  return socket_.change(builder, "take the IPIP interface down", ENODEV);
}

Result<void> NetlinkTunnels::raise(int link, std::uint32_t mtu) {
  auto builder = turn_message(socket_.next_sequence(), link, true);
  if (mtu != 0) builder.put_u32(IFLA_MTU, mtu);
  builder.end();
  return socket_.change(builder, fmt::format("bring a tunnel's interface up, MTU {}", mtu));
}

namespace {

// ethtool's oldest way, which every kernel has: linux/ethtool.h.
Result<std::uint32_t> ask_driver(const std::string& name, std::uint32_t command, std::uint32_t data,
                                 std::string_view what) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket", errno);
  ethtool_value value{.cmd = command, .data = data};
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&value);
  if (::ioctl(socket.get(), SIOCETHTOOL, &request) < 0)
    return fail_errno(fmt::format("{} of {}", what, name), errno);
  return value.data;
}

}  // namespace

bool NetlinkTunnels::breaks_checksums() const {
  utsname name{};
  int major = 0, minor = 0;
  if (::uname(&name) < 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return std::pair(major, minor) < std::pair(5, 7);
}

Result<bool> NetlinkTunnels::offloads_checksums(const std::string& name) {
  TRY(const auto on, ask_driver(name, ETHTOOL_GTXCSUM, 0, "read the checksum offload"));
  return on != 0;
}

Result<void> NetlinkTunnels::offload_checksums(const std::string& name, bool on) {
  TRY([[maybe_unused]] const auto set,
      ask_driver(name, ETHTOOL_STXCSUM, on ? 1 : 0, "set the checksum offload"));
  return {};
}

Result<std::set<IpAddress>> NetlinkTunnels::addresses(int link) {
  MessageBuilder request;
  request.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(), ifaddrmsg{});
  request.end();
  std::set<IpAddress> own;
  TRY_VOID(socket_.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWADDR) return;
    const auto& header = header_of<ifaddrmsg>(message);
    if (static_cast<int>(header.ifa_index) != link || header.ifa_scope == RT_SCOPE_LINK) return;
    const auto attributes = Attributes::of_message(message, sizeof(ifaddrmsg), IFA_MAX + 1);
    auto address = address_of(attributes.bytes(IFA_LOCAL));
    if (!address) address = address_of(attributes.bytes(IFA_ADDRESS));
    if (address) own.insert(*address);
  }));
  return own;
}

namespace {

MessageBuilder address_message(std::uint32_t sequence, bool add, int link, const IpAddress& address) {
  ifaddrmsg header{};
  header.ifa_family = family_number(address.family());
  header.ifa_prefixlen = static_cast<std::uint8_t>(bits_of(address.family()));
  header.ifa_flags = address.is_v4() ? 0 : IFA_F_NODAD;  // nobody else can have it
  header.ifa_index = static_cast<std::uint32_t>(link);
  MessageBuilder builder;
  const auto flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE : 0);
  builder.begin(add ? RTM_NEWADDR : RTM_DELADDR, static_cast<std::uint16_t>(flags), sequence, header);
  builder.put(IFA_LOCAL, address_bytes(address));
  builder.put(IFA_ADDRESS, address_bytes(address));
  builder.end();
  return builder;
}

}  // namespace

Result<void> NetlinkTunnels::add_address(int link, const IpAddress& address) {
  return socket_.change(address_message(socket_.next_sequence(), true, link, address),
                        fmt::format("give a tunnel's interface the address {}", address.to_string()), EEXIST);
}
Result<void> NetlinkTunnels::remove_address(int link, const IpAddress& address) {
  return socket_.change(address_message(socket_.next_sequence(), false, link, address),
                        fmt::format("take the address {} from a tunnel's interface", address.to_string()),
                        EADDRNOTAVAIL);
}

Result<std::set<Neighbour>> NetlinkTunnels::neighbours(int link) {
  std::set<Neighbour> all;
  for (const auto family : kFamilies) {
    TRY(const auto found, entries(socket_, family_number(family), link));
    for (const auto& entry : found) all.insert({entry.address, entry.mac});
  }
  return all;
}
Result<void> NetlinkTunnels::add(int link, const Neighbour& neighbour) {
  return socket_.change(
      neighbour_message(socket_.next_sequence(), true, family_number(neighbour.address.family()), link,
                        neighbour.mac, neighbour.address),
      fmt::format("add the neighbour {}", neighbour.address.to_string()));
}
Result<void> NetlinkTunnels::remove(int link, const Neighbour& neighbour) {
  return socket_.change(
      neighbour_message(socket_.next_sequence(), false, family_number(neighbour.address.family()), link,
                        neighbour.mac, neighbour.address),
      fmt::format("remove the neighbour {}", neighbour.address.to_string()), ENOENT);
}

Result<std::set<ForwardingEntry>> NetlinkTunnels::forwarding(int link) {
  TRY(const auto found, entries(socket_, AF_BRIDGE, link));
  std::set<ForwardingEntry> all;
  for (const auto& entry : found) all.insert({entry.mac, entry.address});
  return all;
}
Result<void> NetlinkTunnels::add(int link, const ForwardingEntry& entry) {
  return socket_.change(
      neighbour_message(socket_.next_sequence(), true, AF_BRIDGE, link, entry.mac, entry.host),
      fmt::format("forward {} to {}", entry.mac.to_string(), entry.host.to_string()));
}
Result<void> NetlinkTunnels::remove(int link, const ForwardingEntry& entry) {
  return socket_.change(
      neighbour_message(socket_.next_sequence(), false, AF_BRIDGE, link, entry.mac, entry.host),
      fmt::format("no longer forward {} to {}", entry.mac.to_string(), entry.host.to_string()), ENOENT);
}

Result<EndMonitor> EndMonitor::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(socket.receive_buffer(kEndsAnnounced));
  TRY_VOID(socket.hear_of(RTM_DELNEIGH, offsetof(ndmsg, ndm_ifindex), std::nullopt));
  TRY_VOID(socket.join(RTNLGRP_NEIGH));
  return EndMonitor(std::move(socket));
}

Result<void> EndMonitor::watch(const std::set<int>& links) {
  if (links == links_) return {};
  TRY_VOID(socket_.hear_of(RTM_DELNEIGH, offsetof(ndmsg, ndm_ifindex), links));
  links_ = links;
  return {};
}

Result<EndMonitor::Gone> EndMonitor::read() {
  Gone gone;
  TRY_VOID(socket_.receive_waiting([&](MessageView message) {
    if (message.nlmsg_type != RTM_DELNEIGH) return;
    const auto attributes = Attributes::of_message(message, sizeof(ndmsg), NDA_LLADDR + 1);
    if (header_of<ndmsg>(message).ndm_family == AF_BRIDGE) {
      if (const auto mac = mac_of(attributes.bytes(NDA_LLADDR))) gone.forwarding.push_back(*mac);
    } else if (const auto address = address_of(attributes.bytes(NDA_DST))) {
      gone.neighbours.push_back(*address);
    }
  }));
  return gone;
}

}  // namespace ocicat::kernel
