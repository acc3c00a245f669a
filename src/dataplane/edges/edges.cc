#include "dataplane/edges/edges.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <vector>

#include "dataplane/edges/telling.h"
#include "kernel/nft_expressions.h"
#include "kernel/nft_matches.h"
#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::Chain;
using kernel::nft::End;
using kernel::nft::Expressions;
using kernel::nft::HeaderBase;
using kernel::nft::load_address;
using kernel::nft::marked_rule;
using kernel::nft::Meta;
using kernel::nft::of_family;

class Writer {
 public:
  Writer(const HostSettings& settings, std::uint32_t mark) : settings_(settings), mark_(mark) {}

  Edges write() {
    add_tunnels();
    add_service_loops();
    return std::move(edges_);
  }

 private:
  enum class Kind { kVxlan, kIpip, kWireguard };
  struct Tunnel {
    Kind kind;
    Family family;
    std::uint16_t port = 0;  // where it is UDP
  };

  std::vector<Tunnel> tunnels() const {
    std::vector<Tunnel> all;
    for (const auto family : kFamilies) {
      if (settings_.overlays.vxlan(family))
        all.push_back({Kind::kVxlan, family, settings_.encapsulation.vxlan_port});
      const auto port = settings_.overlays.wireguard_ports[family == Family::kIpv4 ? 0 : 1];
      if (port != 0) all.push_back({Kind::kWireguard, family, port});
    }
    if (settings_.overlays.ipip) all.push_back({Kind::kIpip, Family::kIpv4});
    return all;
  }
  // Packets of a tunnel.
  static Expressions of(const Tunnel& tunnel) {
    auto rule = of_family(tunnel.family);
    const auto number = static_cast<std::uint8_t>(tunnel.kind == Kind::kIpip ? IPPROTO_IPIP : IPPROTO_UDP);
    rule.meta(Meta::kProtocol, 0).equals(0, std::array{number});
    if (const auto port = tunnel.port; port != 0) {
      constexpr std::uint32_t kDestinationPort = 2;
      rule.payload(HeaderBase::kTransport, kDestinationPort, 2, 0)
          .equals(0, std::array{static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port)});
    }
    return rule;
  }
  static Expressions of(const Tunnel& tunnel, End end) {
    auto rule = of(tunnel);
    load_address(rule, tunnel.family, end);
    rule.in_set(hosts_set(tunnel.family).name, 0);
    return rule;
  }

  Expressions accept(Expressions rule) const {
    if (mark_ != 0) kernel::nft::set_mark_bit(rule, mark_, true);
    return rule.verdict(NF_ACCEPT);
  }

  void add_tunnels() {
    chain(kNotOfTunnel.chain.data());
    edges_.rules.push_back(tells(kNotOfTunnel));
    edges_.rules.push_back(drops(kNotOfTunnel));
    chain(kTunnelled);
    for (const auto& tunnel : tunnels()) rule(accept(of(tunnel)));
    chain(kTunnelledIn);
    for (const auto& tunnel : tunnels()) rule(accept(of(tunnel, End::kSource)));
    if (settings_.overlays.any()) {
      for (const auto& net : settings_.overlays.external_nodes)
        rule(kernel::nft::within(net, End::kSource).verdict(NFT_JUMP, kTunnelled));
    }
    // What WireGuard takes is signed; who is at the other end may be anywhere.
    for (const auto& tunnel : tunnels()) {
      auto other = of(tunnel);
      rule(tunnel.kind == Kind::kWireguard ? accept(other) : other.verdict(NFT_GOTO, kNotOfTunnel.chain));
    }
    chain(kTunnelledOut);
    for (const auto& tunnel : tunnels()) rule(accept(of(tunnel, End::kDestination)));
    // What VXLAN carries is tracked once it is out of the tunnel.
    chain(kUntrackedTunnels);
    for (const auto& tunnel : tunnels()) {
      if (tunnel.kind != Kind::kVxlan) continue;
      for (const auto end : {End::kSource, End::kDestination}) rule(of(tunnel, end).notrack());
    }
  }

  // Behind translation: what still has the address of a service is for nobody.
  void add_service_loops() {
    using enum HostSettings::ServiceLoops;
    chain(kOfNoService.chain.data());
    edges_.rules.push_back(tells(kOfNoService));
    if (settings_.service_loops == kReject) {
      for (auto& answer : rejection(kOfNoService.chain)) edges_.rules.push_back(std::move(answer));
    }
    rule(Expressions().verdict(NF_DROP));
    chain(kServiceLoops);
    if (settings_.service_loops == kForward) return;
    for (const auto& net : settings_.service_nets)
      rule(kernel::nft::within(net, End::kDestination).verdict(NFT_GOTO, kOfNoService.chain));
  }

  void chain(const char* name) {
    chain_ = name;
    edges_.chains.push_back(Chain{name, {}});
  }
  void rule(Expressions& expressions) { edges_.rules.push_back(marked_rule(chain_, expressions.take())); }
  void rule(Expressions&& expressions) { rule(expressions); }

  const HostSettings& settings_;
  std::uint32_t mark_;
  Edges edges_;
  const char* chain_ = "";
};

}  // namespace

Edges edges_for(const HostSettings& settings, std::uint32_t mark) {
  return Writer(settings, mark).write();
}

// Key types are datatypes of the `nft` command: ipv4_addr 7, ipv6_addr 8.
const kernel::nft::Set& hosts_set(Family family) {
  static const kernel::nft::Set v4{"hosts4", 7, 4, 0, false, false};
  static const kernel::nft::Set v6{"hosts6", 8, 16, 0, false, false};
  return family == Family::kIpv4 ? v4 : v6;
}

std::vector<kernel::nft::Element> host_elements(const HostAddresses& hosts, Family family) {
  std::vector<kernel::nft::Element> elements;
  for (const auto& host : hosts) {
    if (host.family() != family) continue;
    kernel::nft::Element element;
    element.key = kernel::nft::ElementKey(kernel::nft::packet_bytes(host));
    elements.push_back(element);
  }
  std::ranges::sort(elements);
  return elements;
}

std::vector<kernel::nft::Rule> rejection(std::string_view chain) {
  constexpr std::array<std::uint8_t, 1> kTcpNumber{kTcp};
  Expressions tcp, others;
  tcp.meta(Meta::kProtocol, 0).equals(0, kTcpNumber).reject_with_tcp_reset();
  others.reject_unreachable();
  return {marked_rule(chain, tcp.take()), marked_rule(chain, others.take())};
}

}  // namespace ocicat::dataplane
