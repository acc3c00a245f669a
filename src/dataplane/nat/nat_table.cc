#include "dataplane/nat/nat_table.h"

#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <array>
#include <utility>

#include "dataplane/edges/edges.h"
#include "kernel/nft_matches.h"

namespace ocicat::dataplane {
namespace {

using namespace kernel::nft;

constexpr const char* kChain = "nat_outgoing";
constexpr Register kAnswer = 8;  // behind all keys

// A floating address → a workload's own; and twice the workload's own → the floating one that it sees itself
// by. Key types are datatypes of the `nft` command: ipv4_addr 7, ipv6_addr 8; of two, six bits each.
const Set& floating_map(Family family) {
  static const Set v4{"floating4", 7, 4, 4}, v6{"floating6", 8, 16, 16};
  return family == Family::kIpv4 ? v4 : v6;
}
const Set& hairpin_map(Family family) {
  static const Set v4{"hairpin4", 7 << 6 | 7, 8, 4}, v6{"hairpin6", 8 << 6 | 8, 32, 16};
  return family == Family::kIpv4 ? v4 : v6;
}

// Ends the rule for packets that leave by another interface. Names are compared with the zeros that fill
// them.
void must_leave_by(Expressions& rule, std::string interface) {
  if (interface.empty()) return;
  if (interface.back() == '+') {
    interface.pop_back();
    if (interface.empty()) return;
  } else {
    interface.resize(IFNAMSIZ);
  }
  rule.meta(Meta::kOutputName, 0)
      .equals(0, {reinterpret_cast<const std::uint8_t*>(interface.data()), interface.size()});
}

class Writer {
 public:
  explicit Writer(const HostSettings::NatOutgoing& nat) : nat_(nat) {}

  SmallTable write(const HostAddresses& hosts, const std::map<IpAddress, IpAddress>& floating) {
    if (!nat_.sources.empty()) add_outgoing(hosts);
    if (!floating.empty()) add_floating(floating);
    return std::move(table_);
  }

 private:
  void add_outgoing(const HostAddresses& hosts) {
    table_.chains.push_back(Chain{kChain, Hook{NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, true}});
    if (nat_.hosts_inside) add_hosts(hosts);
    for (const auto& net : nat_.inside) add(kernel::nft::within(net, End::kDestination).verdict(NF_ACCEPT));
    for (const auto& net : nat_.sources) add_source(net);
  }

  void add_floating(const std::map<IpAddress, IpAddress>& floating) {
    constexpr const char *kIn = "floating_in", *kOut = "floating_out", *kBack = "floating_back";
    table_.chains.push_back(Chain{kIn, Hook{NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, true}});
    table_.chains.push_back(Chain{kOut, Hook{NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST, true}});
    table_.chains.push_back(Chain{kBack, Hook{NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, true}});
    for (const auto family : kFamilies) {
      table_.sets.emplace_back(floating_map(family), floating_elements(floating, family));
      table_.sets.emplace_back(hairpin_map(family), hairpin_elements(floating, family));
      for (const auto* chain : {kIn, kOut}) {
        auto rule = of_family(family);
        load_address(rule, family, End::kDestination);
        rule.map(floating_map(family).name, 0, kAnswer).translate_destination(family, kAnswer);
        table_.rules.push_back(marked_rule(chain, rule.take()));
      }
      auto rule = of_family(family);
      load_addresses(rule, family);
      rule.map(hairpin_map(family).name, 0, kAnswer).translate_source(family, kAnswer);
      table_.rules.push_back(marked_rule(kBack, rule.take()));
    }
  }
  static std::vector<Element> floating_elements(const std::map<IpAddress, IpAddress>& floating,
                                                Family family) {
    std::vector<Element> elements;
    for (const auto& [address, own] : floating) {
      if (address.family() != family) continue;
      elements.push_back({.key = ElementKey(packet_bytes(address)), .data = ElementData(packet_bytes(own))});
    }
    std::ranges::sort(elements);
    return elements;
  }
  // Of several floating addresses a workload sees itself by the first.
  static std::vector<Element> hairpin_elements(const std::map<IpAddress, IpAddress>& floating,
                                               Family family) {
    std::map<IpAddress, IpAddress> firsts;
    for (const auto& [address, own] : floating) firsts.emplace(own, address);
    std::vector<Element> elements;
    for (const auto& [own, address] : firsts) {
      if (own.family() != family) continue;
      const auto bytes = packet_bytes(own);
      std::vector<std::uint8_t> twice(bytes.begin(), bytes.end());
      twice.insert(twice.end(), bytes.begin(), bytes.end());
      elements.push_back({.key = ElementKey(twice), .data = ElementData(packet_bytes(address))});
    }
    std::ranges::sort(elements);
    return elements;
  }

  void add(Expressions& rule) { table_.rules.push_back(marked_rule(kChain, rule.take())); }

  void add_hosts(const HostAddresses& hosts) {
    for (const auto family : kFamilies) {
      table_.sets.emplace_back(hosts_set(family), host_elements(hosts, family));
      auto rule = of_family(family);
      load_address(rule, family, End::kDestination);
      add(rule.in_set(hosts_set(family).name, 0).verdict(NF_ACCEPT));
    }
  }

  // A range of ports is for protocols that have some.
  void add_source(const Prefix& net) {
    if (nat_.ports.first != 0) {
      for (const auto protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        auto rule = from(net);
        rule.meta(Meta::kProtocol, 0).equals(0, std::array{static_cast<std::uint8_t>(protocol)});
        constexpr Register kPorts = 4;
        rule.immediate(bytes_of(nat_.ports.first), kPorts).immediate(bytes_of(nat_.ports.second), kPorts + 1);
        translate(rule, net.family(), kPorts);
        add(rule);
      }
    }
    auto rule = from(net);
    translate(rule, net.family(), {});
    add(rule);
  }
  Expressions from(const Prefix& net) const {
    auto rule = kernel::nft::within(net, End::kSource);
    must_leave_by(rule, nat_.interface);
    return rule;
  }
  void translate(Expressions& rule, Family family, std::optional<Register> ports) const {
    if (nat_.address && nat_.address->family() == family) {
      constexpr Register kAddress = 8;
      rule.immediate(packet_bytes(*nat_.address), kAddress).translate_source(family, kAddress, ports);
    } else {
      rule.masquerade(ports);
    }
  }
  static std::array<std::uint8_t, 2> bytes_of(std::uint16_t port) {
    return {static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port)};
  }

  const HostSettings::NatOutgoing& nat_;
  SmallTable table_;
};

}  // namespace

void NatTable::want(const HostSettings::NatOutgoing& nat) {
  changed_ |= !(nat == nat_);
  nat_ = nat;
}

void NatTable::want(const Changes<IpAddress, network::Peer>& peers) {
  for (const auto& [address, peer] : peers.entries()) {
    const bool is_other = peer ? hosts_.insert(address).second : hosts_.erase(address) > 0;
    changed_ |= is_other && nat_.hosts_inside;
  }
}

void NatTable::want(const Changes<IpAddress, IpAddress>& floating) {
  for (const auto& [address, own] : floating.entries()) {
    moved_.insert(address);
    if (const auto before = floating_.find(address); before != floating_.end()) {
      const auto others = floating_by_own_.find(before->second);
      others->second.erase(address);
      if (others->second.empty()) floating_by_own_.erase(others);
    }
    if (own) floating_by_own_[*own].insert(address);
  }
  floating.apply_to(floating_);
  changed_ |= !floating.empty();
}

const std::set<IpAddress>& NatTable::floating_of(const IpAddress& own) const {
  static const std::set<IpAddress> none;
  const auto found = floating_by_own_.find(own);
  return found == floating_by_own_.end() ? none : found->second;
}

bool NatTable::translates(const IpAddress& source, const IpAddress& destination) const {
  const auto has = [](const std::vector<Prefix>& nets, const IpAddress& address) {
    return std::ranges::any_of(nets, [&](const Prefix& net) { return net.contains(address); });
  };
  const bool any_interface = nat_.interface.empty() || nat_.interface == "+";
  return any_interface && has(nat_.sources, source) && !has(nat_.inside, destination) &&
         !(nat_.hosts_inside && hosts_.contains(destination));
}

std::optional<SmallTable> NatTable::wanted() const {
  if (nat_.sources.empty() && floating_.empty()) return std::nullopt;
  return Writer(nat_).write(hosts_, floating_);
}

// Nobody knows what the table has said meanwhile, but by reading it.
Result<void> NatTable::find_moved() {
  TRY(const auto shape, kernel_.read_shape());
  if (!shape) return {};
  for (const auto family : kFamilies) {
    const auto& map = floating_map(family);
    const auto there = shape->sets.find(map.name);
    if (there == shape->sets.end() || !(there->second == map)) continue;
    TRY(const auto elements, kernel_.read_elements(map));
    for (const auto& element : elements) {
      const auto address = address_of(element.key.view());
      const auto leads = floating_.find(address);
      const auto data = leads == floating_.end() ? kernel::ByteView() : packet_bytes(leads->second);
      if (!std::ranges::equal(element.data.view(), data)) moved_.insert(address);
    }
  }
  return {};
}

Result<void> NatTable::forget_moved() {
  if (moved_.empty()) return {};
  std::vector<kernel::Connection> old;
  TRY_VOID(connections_.list([&](const kernel::Connection& connection) {
    if (!moved_.contains(connection.asked)) return;
    const auto leads = floating_.find(connection.asked);
    const auto& to = leads == floating_.end() ? connection.asked : leads->second;
    if (connection.destination != to) old.push_back(connection);
  }));
  TRY_VOID(connections_.remove(old));
  moved_.clear();
  return {};
}

Result<void> NatTable::sync() {
  if (table_.known() && !changed_) return forget_moved();
  if (!table_.known()) TRY_VOID(find_moved());
  TRY_VOID(table_.sync(wanted()));
  changed_ = false;
  return forget_moved();
}

}  // namespace ocicat::dataplane
