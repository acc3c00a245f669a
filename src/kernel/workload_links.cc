#include "kernel/workload_links.h"

#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <ranges>
#include <set>
#include <thread>

#include "base/unique_fd.h"
#include "kernel/netlink.h"
#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

constexpr std::uint16_t kChange = NLM_F_REQUEST | NLM_F_ACK;
constexpr std::uint8_t kOperationalUp = 6;  // IF_OPER_UP of linux/if.h, which does not go with net/if.h
constexpr std::uint16_t kMake = kChange | NLM_F_CREATE | NLM_F_EXCL;

// Where another interface of the workload has the default route already, this one's is in a table of its own,
// which rules lead to: what the workload sends from this interface's address, or by this interface.
constexpr std::uint32_t kFirstOwnTable = 1000;
constexpr std::uint32_t kOwnRulePriority = 1000;
constexpr std::uint8_t kOwnRuleProtocol = 80;  // as our routes'
std::uint32_t own_table(int link) {
  return kFirstOwnTable + static_cast<std::uint32_t>(link);
}

IpAddress gateway(Family family) {
  if (family == Family::kIpv4) return IpAddress::v4(0xa9fe0101);  // 169.254.1.1
  // What the kernel makes of the host's MAC (RFC 4291, appendix A).
  return IpAddress::v6({0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0xec, 0xee, 0xee, 0xff, 0xfe, 0xee, 0xee, 0xee});
}

// Messages of one batch, each with the words for its failure.
class Batch {
 public:
  explicit Batch(NetlinkSocket& socket) : socket_(socket) {}

  template <class Header>
  MessageBuilder& begin(std::uint16_t type, std::uint16_t flags, const Header& header, std::string what,
                        int harmless = 0) {
    steps_.push_back({std::move(what), harmless});
    builder_.begin(type, flags, socket_.next_sequence(), header);
    return builder_;
  }
  void end() { builder_.end(); }

  // All are done in their order; the first failure that is not harmless counts.
  Result<void> send() {
    TRY(const auto acks, socket_.request(builder_.bytes()));
    if (acks.size() != steps_.size())
      return fail(ErrorCode::kInternal, "the kernel answered {} of {} messages", acks.size(), steps_.size());
    for (std::size_t i = 0; i < acks.size(); ++i) {
      const auto& ack = acks[i];
      if (ack.error_number == 0 || ack.error_number == steps_[i].harmless) continue;
      return fail_errno(ack.text.empty() ? steps_[i].what : fmt::format("{} ({})", steps_[i].what, ack.text),
                        ack.error_number);
    }
    return {};
  }

 private:
  struct Step {
    std::string what;
    int harmless = 0;
  };
  NetlinkSocket& socket_;
  MessageBuilder builder_;
  std::vector<Step> steps_;
};

Result<UniqueFd> open_namespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(fmt::format("open the workload's network namespace {}", path), errno);
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return fail(ErrorCode::kNotFound, "{} is no network namespace", path);
  return fd;
}

// On a thread of its own, so that the caller stays where it is.
Result<void> inside(const std::string& path, const std::function<Result<void>()>& work) {
  TRY(const auto fd, open_namespace(path));
  Result<void> result;
  std::thread([&] {
    if (::setns(fd.get(), CLONE_NEWNET) < 0) {
      result = fail_errno("enter the workload's network namespace", errno);
    } else {
      result = work();
    }
  }).join();
  return result;
}

struct LinkInfo {
  int index = 0;
  bool up = false;
  bool sends = false;  // what is queued there goes out
  MacAddress mac;
};

Result<std::optional<LinkInfo>> link_named(NetlinkSocket& socket, const std::string& name) {
  MessageBuilder request;
  request.begin(RTM_GETLINK, kChange, socket.next_sequence(), ifinfomsg{});
  request.put_string(IFLA_IFNAME, name);
  request.end();
  std::optional<LinkInfo> found;
  const auto asked = socket.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWLINK) return;
    const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_OPERSTATE + 1);
    const auto& header = header_of<ifinfomsg>(message);
    const auto state = attributes.bytes(IFLA_OPERSTATE);
    found = LinkInfo{.index = header.ifi_index,
                     .up = (header.ifi_flags & IFF_UP) != 0,
                     .sends = state.size() == 1 && state.front() == kOperationalUp};
    const auto mac = attributes.bytes(IFLA_ADDRESS);
    if (mac.size() == found->mac.bytes.size()) std::ranges::copy(mac, found->mac.bytes.begin());
  });
  if (!asked && asked.error().code != ErrorCode::kNotFound) return std::unexpected(asked.error());
  return found;
}

void put_make_pair(Batch& batch, const WorkloadPair& pair, int namespace_fd) {
  auto& builder = batch.begin(RTM_NEWLINK, kMake, ifinfomsg{},
                              fmt::format("make the pair {} and {}", pair.host_name, pair.name));
  builder.put_string(IFLA_IFNAME, pair.host_name);
  builder.put(IFLA_ADDRESS, kWorkloadHostMac.bytes);
  builder.put_u32(IFLA_MTU, pair.mtu);
  const auto queues = [&] {
    builder.put_u32(IFLA_NUM_TX_QUEUES, pair.queues);
    builder.put_u32(IFLA_NUM_RX_QUEUES, pair.queues);
  };
  queues();
  const auto link_info = builder.begin_nest(IFLA_LINKINFO);
  builder.put_string(IFLA_INFO_KIND, "veth");
  const auto data = builder.begin_nest(IFLA_INFO_DATA);
  const auto peer = builder.begin_nest(VETH_INFO_PEER);
  const ifinfomsg peer_header{};
  builder.append(&peer_header, sizeof peer_header);
  builder.put_string(IFLA_IFNAME, pair.name);
  builder.put_u32(IFLA_MTU, pair.mtu);
  queues();
  builder.put(IFLA_ADDRESS, pair.mac.bytes);
  builder.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(namespace_fd));
  builder.end_nest(peer);
  builder.end_nest(data);
  builder.end_nest(link_info);
  batch.end();
}

// The side that was brought up first drops what is sent by it until the kernel's link watch has seen the other
// come up too. From Linux 6.8 on being asked for the link makes it look (rtnl_getlink).
Result<void> await_sending(const std::string& name) {
  constexpr auto kBetweenLooks = std::chrono::milliseconds(1);
  constexpr auto kPatience = std::chrono::seconds(5);
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  for (const auto begin = std::chrono::steady_clock::now();;) {
    TRY(const auto link, link_named(socket, name));
    if (!link) return fail(ErrorCode::kNotFound, "interface {} has gone as soon as it was made", name);
    if (link->sends) return {};
    if (std::chrono::steady_clock::now() - begin > kPatience)
      return fail(ErrorCode::kUnavailable, "interface {} does not come up", name);
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

ifinfomsg raised(int index = 0) {
  ifinfomsg header{};
  header.ifi_index = index;
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  return header;
}

void put_address(Batch& batch, int link, const IpAddress& address, std::uint8_t length, std::uint8_t scope) {
  ifaddrmsg header{};
  header.ifa_family = family_number(address.family());
  header.ifa_prefixlen = length;
  header.ifa_flags = address.is_v4() ? 0 : IFA_F_NODAD;  // nobody else can have it
  header.ifa_scope = scope;
  header.ifa_index = static_cast<std::uint32_t>(link);
  auto& builder = batch.begin(RTM_NEWADDR, kChange | NLM_F_CREATE, header,
                              fmt::format("assign {}", address.to_string()), EEXIST);
  builder.put(IFA_LOCAL, address_bytes(address));
  builder.put(IFA_ADDRESS, address_bytes(address));
  batch.end();
}

// `is_second`: another interface has the default route, and maybe the gateway's own.
void put_route(Batch& batch, int link, const Prefix& destination, const std::optional<IpAddress>& via,
               std::uint32_t table, bool is_second) {
  rtmsg header{};
  header.rtm_family = family_number(destination.family());
  header.rtm_dst_len = destination.length;
  header.rtm_table = RT_TABLE_UNSPEC;  // RTA_TABLE
  header.rtm_protocol = RTPROT_BOOT;
  if (is_second && via) header.rtm_flags = RTNH_F_ONLINK;
  header.rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  header.rtm_type = RTN_UNICAST;
  auto& builder = batch.begin(RTM_NEWROUTE, kChange | NLM_F_CREATE | NLM_F_EXCL, header,
                              fmt::format("route {} in the workload", destination.to_string()), EEXIST);
  if (destination.length > 0) builder.put(RTA_DST, address_bytes(destination.address));
  if (via) builder.put(RTA_GATEWAY, address_bytes(*via));
  builder.put_u32(RTA_OIF, static_cast<std::uint32_t>(link));
  builder.put_u32(RTA_TABLE, table);
  batch.end();
}

fib_rule_hdr rule_header(Family family) {
  fib_rule_hdr header{};
  header.family = static_cast<std::uint8_t>(family_number(family));
  header.action = FR_ACT_TO_TBL;
  return header;
}

// What comes from the address, or else goes by the interface, is looked up in the table.
void put_rule(Batch& batch, Family family, const std::optional<IpAddress>& from, const std::string& interface,
              std::uint32_t table) {
  auto header = rule_header(family);
  if (from) header.src_len = static_cast<std::uint8_t>(bits_of(family));
  auto& builder = batch.begin(RTM_NEWRULE, kMake, header,
                              fmt::format("make a rule for {} in the workload", interface), EEXIST);
  if (from) {
    builder.put(FRA_SRC, address_bytes(*from));
  } else {
    builder.put_string(FRA_OIFNAME, interface);
  }
  builder.put_u32(FRA_TABLE, table);
  builder.put_u32(FRA_PRIORITY, kOwnRulePriority);
  builder.put_u8(FRA_PROTOCOL, kOwnRuleProtocol);
  batch.end();
}

// The host's side: no link-local address of the kernel's making, which nobody could use for a second, but the
// same one at once.
Result<void> raise_host_side(NetlinkSocket& socket, const WorkloadPair& pair) {
  TRY(const auto link, link_named(socket, pair.host_name));
  if (!link)
    return fail(ErrorCode::kNotFound, "interface {} has gone as soon as it was made", pair.host_name);
  Batch batch(socket);
  if (pair.ipv6) {
    ifinfomsg header{};
    header.ifi_index = link->index;
    auto& builder = batch.begin(RTM_NEWLINK, kChange, header, "settle IPv6 of the host's side");
    const auto families = builder.begin_nest(IFLA_AF_SPEC);
    const auto ipv6 = builder.begin_nest(AF_INET6);
    builder.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    builder.end_nest(ipv6);
    builder.end_nest(families);
    batch.end();
  }
  batch.begin(RTM_NEWLINK, kChange, raised(link->index), fmt::format("bring {} up", pair.host_name));
  batch.end();
  if (pair.ipv6) put_address(batch, link->index, gateway(Family::kIpv6), 64, RT_SCOPE_LINK);
  return batch.send();
}

Result<void> set(const std::string& path, std::string_view value) {
  const UniqueFd file(::open(("/proc/sys/" + path).c_str(), O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), value.data(), value.size()) < 0)
    return fail_errno(fmt::format("set {} in the workload", path), errno);
  return {};
}

Result<void> set_inside(const WorkloadPair& pair) {
  if (pair.ipv6) {
    const auto of = [&](std::string_view name) {
      return fmt::format("net/ipv6/conf/{}/{}", pair.name, name);
    };
    // A runtime may have switched IPv6 off; and addresses are to be usable at once.
    TRY_VOID(set(of("disable_ipv6"), "0"));
    TRY_VOID(set(of("accept_dad"), "0"));
  }
  TRY_VOID(set("net/ipv4/ip_forward", pair.ip_forwarding ? "1" : "0"));
  if (pair.ipv6) TRY_VOID(set("net/ipv6/conf/all/forwarding", pair.ip_forwarding ? "1" : "0"));
  return {};
}

// A dump that others' changes interrupt begins anew; on a host where containers come and go they often do.
template <class Value>
Result<Value> undisturbed(const std::function<Result<Value>()>& dump) {
  constexpr int kTries = 100;
  for (int attempt = 1;; ++attempt) {
    auto value = dump();
    if (value || value.error().code != ErrorCode::kUnavailable || attempt == kTries) return value;
  }
}

// Where to, of which table, by which interface, and whether by our gateway.
struct Route {
  Prefix destination;
  std::uint32_t table = 0;
  int link = 0;
  bool is_ours = false;
};

Prefix everything(Family family) {
  return {family == Family::kIpv4 ? IpAddress::v4(0) : IpAddress::v6({}), 0};
}

Result<std::vector<Route>> unicast_routes(NetlinkSocket& socket, Family family) {
  using Routes = std::vector<Route>;
  return undisturbed<Routes>([&]() -> Result<Routes> {
    rtmsg header{};
    header.rtm_family = family_number(family);
    MessageBuilder request;
    request.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), header);
    request.end();
    Routes routes;
    TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
      if (message.nlmsg_type != RTM_NEWROUTE) return;
      const auto& route = header_of<rtmsg>(message);
      if (route.rtm_type != RTN_UNICAST) return;
      const auto attributes = Attributes::of_message(message, sizeof(rtmsg), RTA_MAX + 1);
      auto destination = everything(family);
      destination.address = address_of(attributes.bytes(RTA_DST)).value_or(destination.address);
      destination.length = route.rtm_dst_len;
      routes.push_back({.destination = destination,
                        .table = attributes.u32(RTA_TABLE),
                        .link = static_cast<int>(attributes.u32(RTA_OIF)),
                        .is_ours = address_of(attributes.bytes(RTA_GATEWAY)) == gateway(family)});
    }));
    return routes;
  });
}

// One of those that lead to tables of ours.
struct OwnRule {
  std::uint32_t table = 0;
  std::string interface;  // empty: by address
  std::optional<IpAddress> from;
};

Result<std::vector<OwnRule>> own_rules(NetlinkSocket& socket, Family family) {
  using Rules = std::vector<OwnRule>;
  return undisturbed<Rules>([&]() -> Result<Rules> {
    MessageBuilder request;
    fib_rule_hdr header{};
    header.family = static_cast<std::uint8_t>(family_number(family));
    request.begin(RTM_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), header);
    request.end();
    Rules found;
    TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
      if (message.nlmsg_type != RTM_NEWRULE) return;
      const auto attributes = Attributes::of_message(message, sizeof(fib_rule_hdr), FRA_MAX + 1);
      const auto protocol = attributes.bytes(FRA_PROTOCOL);
      const bool is_ours = protocol.size() == 1 && protocol.front() == kOwnRuleProtocol;
      if (!is_ours || attributes.u32(FRA_PRIORITY) != kOwnRulePriority) return;
      found.push_back({attributes.u32(FRA_TABLE), std::string(attributes.text(FRA_OIFNAME)),
                       address_of(attributes.bytes(FRA_SRC))});
    }));
    return found;
  });
}

// Those to the tables of interfaces that one of them is known by: the kernel keeps rules when an interface goes.
Result<void> remove_own_rules(NetlinkSocket& socket, Family family,
                              const std::function<bool(const OwnRule&)>& is_known) {
  TRY(const auto rules, own_rules(socket, family));
  std::set<std::uint32_t> tables;
  for (const auto& rule : rules) {
    if (is_known(rule)) tables.insert(rule.table);
  }
  Batch batch(socket);
  for (const auto& rule : rules) {
    if (!tables.contains(rule.table)) continue;
    auto header = rule_header(family);
    if (rule.from) header.src_len = static_cast<std::uint8_t>(bits_of(family));
    auto& builder = batch.begin(RTM_DELRULE, kChange, header,
                                fmt::format("remove a rule to table {} in the workload", rule.table), ENOENT);
    if (rule.from) builder.put(FRA_SRC, address_bytes(*rule.from));
    if (!rule.interface.empty()) builder.put_string(FRA_OIFNAME, rule.interface);
    builder.put_u32(FRA_TABLE, rule.table);
    builder.put_u32(FRA_PRIORITY, kOwnRulePriority);
    batch.end();
  }
  return tables.empty() ? Result<void>{} : batch.send();
}

std::vector<Prefix> destinations_of(const WorkloadPair& pair, Family family) {
  if (pair.destinations.empty()) return {everything(family)};
  std::vector<Prefix> destinations;
  for (const auto& destination : pair.destinations) {
    if (destination.family() == family) destinations.push_back(destination);
  }
  return destinations;
}

bool leads_everywhere(const std::vector<Prefix>& destinations) {
  return std::ranges::any_of(destinations, [](const Prefix& net) { return net.length == 0; });
}

Result<DefaultTables> give_addresses(const WorkloadPair& pair, const std::vector<IpAddress>& addresses) {
  TRY_VOID(set_inside(pair));
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY(const auto link, link_named(socket, pair.name));
  if (!link) return fail(ErrorCode::kNotFound, "the workload's interface {} has gone", pair.name);
  std::map<Family, std::uint32_t> tables;
  std::map<Family, bool> is_second;
  for (const auto family : kFamilies) {
    TRY(const auto routes, unicast_routes(socket, family));
    const auto has_another = [&](const Prefix& destination) {
      return std::ranges::any_of(routes, [&](const Route& route) {
        return route.destination == destination && route.table == RT_TABLE_MAIN && route.link != link->index;
      });
    };
    const bool taken = has_another(everything(family));
    is_second[family] = taken || has_another(Prefix::host(gateway(family)));
    tables[family] = taken ? own_table(link->index) : std::uint32_t{RT_TABLE_MAIN};
    if (!taken) continue;
    const auto had = [&](const OwnRule& rule) { return rule.interface == pair.name; };
    TRY_VOID(remove_own_rules(socket, family, had));
  }
  DefaultTables own{};
  Batch batch(socket);
  batch.begin(RTM_NEWLINK, kChange, raised(link->index), fmt::format("bring {} up", pair.name));
  batch.end();
  for (const auto& address : addresses) {
    put_address(batch, link->index, address, static_cast<std::uint8_t>(bits_of(address.family())),
                RT_SCOPE_UNIVERSE);
  }
  for (const auto family : kFamilies) {
    const auto is_of_it = [&](const IpAddress& address) { return address.family() == family; };
    if (std::ranges::none_of(addresses, is_of_it)) continue;
    const auto table = tables[family];
    if (family == Family::kIpv4 && !is_second[family])
      put_route(batch, link->index, Prefix::host(gateway(family)), {}, table, false);
    const auto destinations = destinations_of(pair, family);
    for (const auto& destination : destinations) {
      const auto where = destination.length == 0 ? table : std::uint32_t{RT_TABLE_MAIN};
      put_route(batch, link->index, destination, gateway(family), where, is_second[family]);
    }
    if (table == RT_TABLE_MAIN || !leads_everywhere(destinations)) continue;
    own[family == Family::kIpv4 ? 0 : 1] = table;
    put_rule(batch, family, {}, pair.name, table);
    for (const auto& address : addresses | std::views::filter(is_of_it))
      put_rule(batch, family, address, pair.name, table);
  }
  TRY_VOID(batch.send());
  return own;
}

Result<std::vector<IpAddress>> own_addresses(NetlinkSocket& socket, int link) {
  std::vector<IpAddress> own;
  MessageBuilder request;
  request.begin(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), ifaddrmsg{});
  request.end();
  TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
    if (message.nlmsg_type != RTM_NEWADDR) return;
    const auto& header = header_of<ifaddrmsg>(message);
    if (static_cast<int>(header.ifa_index) != link || header.ifa_scope == RT_SCOPE_LINK) return;
    const auto attributes = Attributes::of_message(message, sizeof(ifaddrmsg), IFA_MAX + 1);
    auto address = address_of(attributes.bytes(IFA_LOCAL));
    if (!address) address = address_of(attributes.bytes(IFA_ADDRESS));
    if (address) own.push_back(*address);
  }));
  return own;
}

// Where the default route is in a table of its own, the rules that lead there belong to it.
Result<bool> has_routes(NetlinkSocket& socket, const LinkInfo& link, const WorkloadPair& pair, Family family,
                        const std::vector<IpAddress>& given) {
  TRY(const auto routes, unicast_routes(socket, family));
  const auto is_in = [&](const Prefix& destination, std::uint32_t table) {
    return std::ranges::any_of(routes, [&](const Route& route) {
      return route.is_ours && route.link == link.index && route.table == table &&
             route.destination == destination;
    });
  };
  bool in_own_table = false;
  for (const auto& destination : destinations_of(pair, family)) {
    if (is_in(destination, RT_TABLE_MAIN)) continue;
    if (destination.length > 0 || !is_in(destination, own_table(link.index))) return false;
    in_own_table = true;
  }
  if (!in_own_table) return true;
  TRY(auto rules, own_rules(socket, family));
  std::erase_if(rules, [&](const OwnRule& rule) { return rule.table != own_table(link.index); });
  return std::ranges::find(rules, pair.name, &OwnRule::interface) != rules.end() &&
         std::ranges::all_of(given, [&](const IpAddress& address) {
           return address.family() != family ||
                  std::ranges::find(rules, address, &OwnRule::from) != rules.end();
         });
}

Result<std::optional<WorkloadPairState>> look_inside(const WorkloadPair& pair,
                                                     const std::vector<IpAddress>& given) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY(const auto link, link_named(socket, pair.name));
  if (!link) return std::nullopt;
  WorkloadPairState state{.up = link->up, .mac = link->mac};
  using Addresses = std::vector<IpAddress>;
  TRY(state.addresses, undisturbed<Addresses>([&] { return own_addresses(socket, link->index); }));
  TRY(state.routes4, has_routes(socket, *link, pair, Family::kIpv4, given));
  TRY(state.routes6, has_routes(socket, *link, pair, Family::kIpv6, given));
  return state;
}

// Of the link of that name, and this Ethernet address: names come again.
Result<void> set_link_mtu(const std::string& name, const MacAddress& mac, std::uint32_t mtu) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY(const auto link, link_named(socket, name));
  if (!link || link->mac != mac) return fail(ErrorCode::kNotFound, "the interface {} has gone", name);
  ifinfomsg header{};
  header.ifi_index = link->index;
  Batch batch(socket);
  batch.begin(RTM_NEWLINK, kChange, header, fmt::format("give {} an MTU of {}", name, mtu))
      .put_u32(IFLA_MTU, mtu);
  batch.end();
  return batch.send();
}

}  // namespace

Result<void> NetlinkWorkloadLinks::create(const WorkloadPair& pair) {
  TRY(const auto workload, open_namespace(pair.namespace_path));
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  Batch batch(socket);
  // What a workload of that name has left behind.
  batch.begin(RTM_DELLINK, kChange, ifinfomsg{}, fmt::format("remove the old {}", pair.host_name), ENODEV)
      .put_string(IFLA_IFNAME, pair.host_name);
  batch.end();
  put_make_pair(batch, pair, workload.get());
  TRY_VOID(batch.send());
  return raise_host_side(socket, pair);
}

Result<DefaultTables> NetlinkWorkloadLinks::address(const WorkloadPair& pair,
                                                    const std::vector<IpAddress>& addresses) {
  DefaultTables tables{};
  TRY_VOID(inside(pair.namespace_path, [&]() -> Result<void> {
    TRY(tables, give_addresses(pair, addresses));
    return {};
  }));
  TRY_VOID(await_sending(pair.host_name));
  return tables;
}

Result<bool> NetlinkWorkloadLinks::remove(const std::string& host_name) {
  return removal_.remove(host_name);
}

Result<void> NetlinkWorkloadLinks::remove_rules(const WorkloadPair& pair,
                                                const std::vector<IpAddress>& given) {
  const auto had = [&](const OwnRule& rule) {
    return rule.from && std::ranges::find(given, *rule.from) != given.end();
  };
  auto removed = inside(pair.namespace_path, [&]() -> Result<void> {
    TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
    for (const auto family : kFamilies) TRY_VOID(remove_own_rules(socket, family, had));
    return {};
  });
  if (!removed && removed.error().code == ErrorCode::kNotFound) return {};
  return removed;
}

Result<bool> NetlinkWorkloadLinks::has(const std::string& host_name) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY(const auto link, link_named(socket, host_name));
  return link.has_value();
}

Result<std::optional<WorkloadPairState>> NetlinkWorkloadLinks::look(const WorkloadPair& pair,
                                                                    const std::vector<IpAddress>& given) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  TRY(const auto host_side, link_named(socket, pair.host_name));
  std::optional<WorkloadPairState> state;
  TRY_VOID(inside(pair.namespace_path, [&]() -> Result<void> {
    TRY(state, look_inside(pair, given));
    return {};
  }));
  if (!host_side || !state) return std::nullopt;
  state->host_up = host_side->up;
  return state;
}

Result<void> NetlinkWorkloadLinks::set_mtu(const WorkloadPair& pair, std::uint32_t before) {
  const auto workload = [&] {
    return inside(pair.namespace_path, [&] { return set_link_mtu(pair.name, pair.mac, pair.mtu); });
  };
  const auto host = [&] { return set_link_mtu(pair.host_name, kWorkloadHostMac, pair.mtu); };
  if (pair.mtu > before) {
    TRY_VOID(host());
    return workload();
  }
  TRY_VOID(workload());
  return host();
}

}  // namespace ocicat::kernel
