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

  SmallTable write(const std::set<IpAddress>& hosts) {
    table_.chains.push_back(Chain{kChain, Hook{NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, true}});
    if (nat_.hosts_inside) add_hosts(hosts);
    for (const auto& net : nat_.inside) add(kernel::nft::within(net, End::kDestination).verdict(NF_ACCEPT));
    for (const auto& net : nat_.sources) add_source(net);
    return std::move(table_);
  }

 private:
  void add(Expressions& rule) { table_.rules.push_back(marked_rule(kChain, rule.take())); }

  void add_hosts(const std::set<IpAddress>& hosts) {
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

std::optional<SmallTable> NatTable::wanted() const {
  if (nat_.sources.empty()) return std::nullopt;
  return Writer(nat_).write(hosts_);
}

Result<void> NatTable::sync() {
  if (table_.known() && !changed_) return {};
  TRY_VOID(table_.sync(wanted()));
  changed_ = false;
  return {};
}

}  // namespace ocicat::dataplane
