#include "dataplane/nftables/ruleset.h"

#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include <array>
#include <chrono>
#include <cstring>

#include "dataplane/nftables/maps.h"
#include "kernel/nft_expressions.h"

namespace ocicat::dataplane {
namespace {

using kernel::ByteView;
using kernel::nft::Chain;
using kernel::nft::Expressions;
using kernel::nft::HeaderBase;
using kernel::nft::Hook;
using kernel::nft::Meta;

constexpr std::array<std::uint8_t, 1> kFamily4{NFPROTO_IPV4}, kFamily6{NFPROTO_IPV6}, kIcmpNumber{kIcmp},
    kIcmpV6Number{kIcmpV6};
constexpr std::array<std::uint8_t, 4> kZero{};
constexpr const char* kNeighbourTypes = "neighbour_types";
constexpr const char* kRejected = "rejected";  // what has been told is answered
constexpr const char* kAlone = "alone";        // what begins, unless the kernel tracks it
constexpr std::uint32_t kLoopbackIndex = 1;    // its index in any network namespace
constexpr const char* kProtocolsWithPorts = "protocols_with_ports";

// What tells flows of no connection apart.
enum class Alone : std::uint8_t { kPorts, kIcmp, kOther };
std::string alone_chain(Family family, Alone kind) {
  constexpr std::array kKinds{"ports", "icmp", "other"};
  return fmt::format("alone_{}{}", kKinds[static_cast<std::size_t>(kind)], family == Family::kIpv4 ? 4 : 6);
}

// As map told_lately of eBPF is (bpf/maps/events.h). Datatypes of the `nft` command: ipv4_addr 7, ipv6_addr 8,
// inet_proto 12, inet_service 13; a concatenation packs six bits each.
constexpr std::uint32_t kInternetProtocol = 12, kPort = 13;
const kernel::nft::Set& told_lately(Family family) {
  constexpr std::uint32_t kFlows = 16'384;
  constexpr std::chrono::minutes kFor{1};
  constexpr auto kType = [](std::uint32_t address) {
    return ((((address << 6 | address) << 6) | kInternetProtocol) << 6 | kPort) << 6 | kPort;
  };
  static const kernel::nft::Set v4{"told_lately4", kType(7), 20, 0, false, false, kFlows, kFor};
  static const kernel::nft::Set v6{"told_lately6", kType(8), 44, 0, false, false, kFlows, kFor};
  return family == Family::kIpv4 ? v4 : v6;
}

ByteView bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

class Writer {
 public:
  explicit Writer(const HostSettings& settings) : settings_(settings) {}

  Ruleset write() {
    // Listener and router discovery, neighbours: what a workload needs to speak IPv6 at all.
    StaticElements types{{kNeighbourTypes, 4, 1, 0, false, false}, {}};
    for (const int type : {130, 131, 132, 133, 135, 136, 143}) {
      const std::array<std::uint8_t, 1> key{static_cast<std::uint8_t>(type)};
      types.elements.push_back({kernel::nft::ElementKey(key), false, {}});
    }
    ruleset_.constants.push_back(std::move(types));
    add_endings();
    add_lookups(ruleset_, settings_);
    add_edges();
    add_directions();
    add_anti_spoofing();
    add_to_host();
    add_hooks();
    add_host_hooks();
    return std::move(ruleset_);
  }

 private:
  void chain(std::string name, std::optional<Hook> hook = {}) {
    chain_ = name;
    ruleset_.chains.push_back(Chain{std::move(name), hook});
  }
  void add(std::vector<kernel::nft::Rule> rules) {
    for (auto& rule : rules) ruleset_.rules.push_back(std::move(rule));
  }
  void add_edges() {
    auto [chains, rules] = edges_for(settings_);
    for (auto& edge : chains) ruleset_.chains.push_back(std::move(edge));
    add(std::move(rules));
  }
  void rule(Expressions& expressions) { ruleset_.rules.push_back(marked_rule(chain_, expressions.take())); }
  void rule(Expressions&& expressions) { rule(expressions); }

  static Expressions with_state(std::uint32_t bits) {
    Expressions rule;
    rule.conntrack_state(0).mask(0, host_order(bits)).differs(0, kZero);
    return rule;
  }
  static Expressions without_state(std::uint32_t bits) {
    Expressions rule;
    rule.conntrack_state(0).mask(0, host_order(bits)).equals(0, kZero);
    return rule;
  }
  static Expressions neighbour_discovery() {
    Expressions rule;
    rule.meta(Meta::kFamily, 0).equals(0, kFamily6).meta(Meta::kProtocol, 0).equals(0, kIcmpV6Number);
    rule.payload(HeaderBase::kTransport, 0, 1, 0).in_set(kNeighbourTypes, 0);
    return rule;
  }

  // Where answers lead.
  void add_endings() {
    const bool rejects = settings_.nftables_rejects.value_or(settings_.reject);
    ruleset_.filled_by_packets.push_back(shares());
    chain(kRejected);
    add(rejection(kRejected));
    rule(Expressions().verdict(NF_DROP));
    for (const auto& telling :
         {kDenied, kRevoked, kDeniedQuietly, kSpoofed, kInvalid, kNotOurs, kNotForHost}) {
      chain(std::string(telling.chain));
      const bool answers = telling.chain == kDenied.chain || telling.chain == kRevoked.chain;
      if (rejects && answers) {
        add(tells_fairly(telling, NFT_GOTO, kRejected));
        rule(Expressions().verdict(NFT_GOTO, kRejected));
      } else {
        add(tells_fairly(telling, NF_DROP));
        ruleset_.rules.push_back(drops(telling));
      }
    }
    add_alone();
    chain(std::string(kBegun.chain));
    rule(without_state(kernel::nft::kStateNew).verdict(NFT_GOTO, kAlone));
    only_first_packets();
    add(tells_fairly(kBegun, NFT_RETURN));
    // To its own workloads the host also says what belongs to no connection (neighbour discovery): that begins nothing.
    chain(std::string(kBegunByHost.chain));
    rule(without_state(kernel::nft::kStateNew).verdict(NFT_RETURN));
    only_first_packets();
    ruleset_.rules.push_back(tells(kBegunByHost));
    add_endings_of_hosts();
  }

  // A connection is new until it is answered, and known once its first packet has passed: with the loopback interface that is
  // before it comes in.
  void only_first_packets() {
    rule(Expressions()
             .meta(Meta::kInputIndex, 0)
             .differs(0, host_order(kLoopbackIndex))
             .conntrack_status(0)
             .mask(0, host_order(kernel::nft::kStatusConfirmed))
             .differs(0, kZero)
             .verdict(NFT_RETURN));
  }
  // What passes and is of no connection has none that could say whether it begins: a set remembers for a minute that its
  // flow has been told, whichever way it went. Where the set is full, flows begin with each packet.
  void add_alone() {
    chain(std::string(kBegunAlone.chain));
    add(tells_fairly(kBegunAlone, NFT_RETURN));
    StaticElements ports{{kProtocolsWithPorts, kInternetProtocol, 1, 0, false, false}, {}};
    for (const auto protocol : {kTcp, kUdp, kSctp, kUdpLite})
      ports.elements.push_back({kernel::nft::ElementKey(std::array<std::uint8_t, 1>{protocol}), false, {}});
    ruleset_.constants.push_back(std::move(ports));
    for (const auto family : kFamilies) {
      ruleset_.filled_by_packets.push_back(told_lately(family));
      for (const auto kind : {Alone::kPorts, Alone::kIcmp, Alone::kOther}) add_alone(family, kind);
    }
    chain(kAlone);
    for (const auto family : kFamilies) {
      const auto of_family = [&] {
        return Expressions().meta(Meta::kFamily, 0).equals(0, family == Family::kIpv4 ? kFamily4 : kFamily6);
      };
      rule(of_family()
               .meta(Meta::kProtocol, 0)
               .in_set(kProtocolsWithPorts, 0)
               .verdict(NFT_GOTO, alone_chain(family, Alone::kPorts)));
      rule(of_family()
               .meta(Meta::kProtocol, 0)
               .equals(0, family == Family::kIpv4 ? kIcmpNumber : kIcmpV6Number)
               .verdict(NFT_GOTO, alone_chain(family, Alone::kIcmp)));
      rule(of_family().verdict(NFT_GOTO, alone_chain(family, Alone::kOther)));
    }
  }
  void add_alone(Family family, Alone kind) {
    const auto set = told_lately(family).name;
    chain(alone_chain(family, kind));
    for (const bool turned : {false, true})
      rule(flow_key(family, kind, turned).in_set(set, 0).update(set, 0).verdict(NFT_RETURN));
    rule(flow_key(family, kind, false).add(set, 0));
    rule(Expressions().verdict(NFT_GOTO, kBegunAlone.chain));
  }
  // Source, destination, protocol, port of the source and of the destination, each in whole registers from 0 on; of ICMP the
  // type is both ports, with a bit less: a question's is that of its answer.
  static Expressions flow_key(Family family, Alone kind, bool turned) {
    const bool v4 = family == Family::kIpv4;
    const std::uint32_t length = v4 ? 4 : 16, source = v4 ? 12 : 8, words = length / 4;
    const auto from = turned ? source + length : source, to = turned ? source : source + length;
    const auto protocol = 2 * words, port = protocol + 1;
    Expressions key;
    key.payload(HeaderBase::kNetwork, from, length, 0)
        .payload(HeaderBase::kNetwork, to, length, words)
        .meta(Meta::kProtocol, protocol);
    for (const std::uint32_t end : {0U, 1U}) {
      if (kind == Alone::kPorts) {
        key.payload(HeaderBase::kTransport, turned ? 2 - 2 * end : 2 * end, 2, port + end);
      } else if (kind == Alone::kIcmp) {
        const std::array<std::uint8_t, 1> same{static_cast<std::uint8_t>(v4 ? 0xf7 : 0xfe)};
        key.payload(HeaderBase::kTransport, 0, 1, port + end).mask(port + end, same);
      } else {
        key.immediate_be32(0, port + end);
      }
    }
    return key;
  }

  // Who sends from elsewhere: once the connection is open, its source does not say (revocation.h).
  void note_senders() {
    if (!settings_.allow_spoofing || settings_.elsewhere_mark == 0) return;
    const auto bit = host_order(settings_.elsewhere_mark), keep = host_order(~settings_.elsewhere_mark);
    for (const auto family : kFamilies) {
      Expressions noting;
      noting.meta(Meta::kFamily, 0).equals(0, family == Family::kIpv4 ? kFamily4 : kFamily6);
      must_be_source(noting, family);
      rule(noting.conntrack_mark(0).mask(0, keep, bit).set_conntrack_mark(0));
    }
  }

  // What untracked or pre-DNAT policy allows carries the mark, by which later hooks know it.
  void add_endings_of_hosts() {
    const auto flip = host_order(settings_.accept_mark);
    const auto keep = host_order(~settings_.accept_mark);
    for (const auto ending : {Ending::kUntracked, Ending::kPreDnat}) {
      chain(std::string(allow_chain(ending)));
      if (ending == Ending::kUntracked) rule(Expressions().notrack());
      // Cleared, then flipped.
      rule(Expressions().meta(Meta::kMark, 0).mask(0, keep, flip).set_mark(0));
      rule(Expressions().verdict(NF_ACCEPT));
    }
  }
  static std::array<std::uint8_t, 4> host_order(std::uint32_t bits) {
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &bits, sizeof bits);
    return bytes;
  }
  Expressions with_mark(bool carried, Expressions rule = {}) const {
    const auto bit = host_order(settings_.accept_mark);
    rule.meta(Meta::kMark, 0).mask(0, bit);
    carried ? rule.differs(0, kZero) : rule.equals(0, kZero);
    return rule;
  }

  // Asks the host endpoint of the packet's interface, where it has policy at the hook.
  void ask_host(policy::Hook hook, bool unless_marked = false) {
    for (const auto family : kFamilies) {
      Expressions asking = unless_marked ? with_mark(false) : Expressions();
      asking.meta(Meta::kFamily, 0).equals(0, family == Family::kIpv4 ? kFamily4 : kFamily6);
      must_have_host_endpoint(asking, hook.direction);
      rule(asking.verdict(NFT_JUMP, asking_chain(hook, family)));
    }
  }

  // Jumped to; return means allowed.
  void add_directions() {
    for (const auto direction : policy::kDirections) {
      chain(std::string(policy::to_string(direction)));
      if (settings_.drop_invalid)
        rule(with_state(kernel::nft::kStateInvalid).verdict(NFT_GOTO, kInvalid.chain));
      rule(Expressions().meta(Meta::kFamily, 0).equals(0, kFamily4).verdict(NFT_GOTO, chain_ + "4"));
      rule(Expressions().meta(Meta::kFamily, 0).equals(0, kFamily6).verdict(NFT_GOTO, chain_ + "6"));
      rule(Expressions().verdict(NFT_GOTO, kNotOurs.chain));
    }
  }

  // A workload sends from its own addresses, and from where else it may. Link-local and unspecified sources
  // are for the link: the kernel forwards neither (RFC 4291 2.5.2, 2.5.6), so they reach the host at most.
  void add_anti_spoofing() {
    chain("anti_spoofing");
    for (const auto family : kFamilies) {
      const bool v4 = family == Family::kIpv4;
      rule(Expressions()
               .meta(Meta::kFamily, 0)
               .equals(0, v4 ? kFamily4 : kFamily6)
               .meta(Meta::kInputName, 0)
               .payload(HeaderBase::kNetwork, v4 ? 12 : 8, v4 ? 4 : 16, 4)
               .map(set_of(programs_map(policy::Direction::kEgress, family)).name, 0, 8)
               .verdict(NF_ACCEPT));
      Expressions elsewhere;
      elsewhere.meta(Meta::kFamily, 0).equals(0, v4 ? kFamily4 : kFamily6);
      must_be_source(elsewhere, family);
      rule(elsewhere.verdict(NF_ACCEPT));
    }
    constexpr std::array<std::uint8_t, 2> kLinkLocal{0xfe, 0x80}, kLinkLocalMask{0xff, 0xc0};
    constexpr std::array<std::uint8_t, 16> kUnspecified{};
    rule(neighbour_discovery()
             .payload(HeaderBase::kNetwork, 8, 2, 0)
             .mask(0, kLinkLocalMask)
             .equals(0, kLinkLocal)
             .verdict(NF_ACCEPT));
    rule(neighbour_discovery()
             .payload(HeaderBase::kNetwork, 8, 16, 0)
             .equals(0, kUnspecified)
             .verdict(NF_ACCEPT));
    rule(Expressions().verdict(NFT_GOTO, kSpoofed.chain));
  }

  void add_to_host() {
    chain("to_host");
    rule(neighbour_discovery().verdict(NF_ACCEPT));
    rule(Expressions().verdict(NFT_JUMP, "egress"));
    if (settings_.endpoint_to_host != HostSettings::ToHost::kDrop)
      rule(Expressions().verdict(NFT_JUMP, kBegun.chain));
    switch (settings_.endpoint_to_host) {
      case HostSettings::ToHost::kDrop:
        rule(Expressions().verdict(NFT_GOTO, kNotForHost.chain));
        break;
      case HostSettings::ToHost::kAccept:
        rule(Expressions().verdict(NF_ACCEPT));
        break;
      case HostSettings::ToHost::kReturn:
        rule(Expressions().verdict(NFT_RETURN));
        break;
    }
  }

  // Packets of a workload's interface go to `target`.
  void dispatch(Meta side, int verdict, const char* target) {
    for (const auto& prefix : settings_.workload_prefixes) {
      if (prefix.empty() || prefix.size() >= IFNAMSIZ) continue;  // matches no interface, or would match all
      rule(Expressions().meta(side, 0).equals(0, bytes_of(prefix)).verdict(verdict, target));
    }
    rule(Expressions().meta(side, 0).in_set(set_of(Map::kInterfaces).name, 0).verdict(verdict, target));
  }

  // Accept ends these chains only: whoever else has chains at a hook has his say as well.
  void add_hooks() {
    constexpr auto kKnown = kernel::nft::kStateEstablished | kernel::nft::kStateRelated;
    using enum policy::ChainKind;
    using enum policy::Direction;
    chain("prerouting", Hook{NF_INET_PRE_ROUTING, NF_IP_PRI_RAW});
    dispatch(Meta::kInputName, NFT_GOTO, "anti_spoofing");
    if (settings_.overlays.any()) rule(Expressions().verdict(NFT_JUMP, kUntrackedTunnels));
    ask_host({kUntracked, kIngress});
    chain("input", Hook{NF_INET_LOCAL_IN, NF_IP_PRI_FILTER});
    if (settings_.overlays.any()) rule(Expressions().verdict(NFT_JUMP, kTunnelledIn));
    rule(revoked().verdict(NFT_GOTO, kRevoked.chain));
    rule(with_state(kKnown).verdict(NF_ACCEPT));
    note_senders();
    dispatch(Meta::kInputName, NFT_GOTO, "to_host");
    tell_of_host(kIngress, kBegun.chain, with_mark(true));
    rule(with_mark(true).verdict(NF_ACCEPT));
    ask_host({kNormal, kIngress});
    tell_of_hosts(kNormal);
    chain("forward", Hook{NF_INET_FORWARD, NF_IP_PRI_FILTER});
    rule(revoked().verdict(NFT_GOTO, kRevoked.chain));
    rule(with_state(kKnown).verdict(NF_ACCEPT));
    note_senders();
    ask_host({kForward, kIngress}, true);
    dispatch(Meta::kInputName, NFT_JUMP, "egress");
    dispatch(Meta::kOutputName, NFT_JUMP, "ingress");
    ask_host({kForward, kEgress});
    if (!settings_.service_nets.empty()) rule(Expressions().verdict(NFT_JUMP, kServiceLoops));
    // What has come so far begins here.
    dispatch(Meta::kInputName, NFT_GOTO, kBegun.chain.data());
    dispatch(Meta::kOutputName, NFT_GOTO, kBegun.chain.data());
    tell_of_hosts(kForward);
  }
  // The same where the interface by which it comes or goes has a host endpoint.
  void tell_of_hosts(policy::ChainKind at) {
    tell_of_host(policy::Direction::kIngress, kBegun.chain);
    if (at == policy::ChainKind::kForward) tell_of_host(policy::Direction::kEgress, kBegun.chain);
  }
  void tell_of_host(policy::Direction direction, std::string_view chain, Expressions of = {}) {
    must_have_host_endpoint(of, direction);
    rule(of.verdict(NFT_GOTO, chain));
  }
  // What the host sends, once others than policy have let it pass. What it sends to its own workloads is nobody's to judge.
  void judge_output() {
    dispatch(Meta::kOutputName, NFT_GOTO, kBegunByHost.chain.data());
    ask_host({policy::ChainKind::kNormal, policy::Direction::kEgress});
    tell_of_host(policy::Direction::kEgress, kAlone, without_state(kernel::nft::kStateNew));
    tell_of_host(policy::Direction::kEgress, kBegunByHost.chain);
  }

  // semantics.md 2.4
  void add_host_hooks() {
    using enum policy::ChainKind;
    using enum policy::Direction;
    constexpr auto kKnown = kernel::nft::kStateEstablished | kernel::nft::kStateRelated;
    chain("raw_output", Hook{NF_INET_LOCAL_OUT, NF_IP_PRI_RAW});
    if (settings_.overlays.any()) rule(Expressions().verdict(NFT_JUMP, kUntrackedTunnels));
    ask_host({kUntracked, kEgress});
    chain("mangle_prerouting", Hook{NF_INET_PRE_ROUTING, NF_IP_PRI_MANGLE});
    rule(with_state(kKnown).verdict(NF_ACCEPT));
    rule(with_mark(true).verdict(NF_ACCEPT));
    ask_host({kPreDnat, kIngress});
    // The interface of what has been translated on its way out is not known before the packet leaves.
    chain("output", Hook{NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER});
    if (settings_.overlays.any()) rule(Expressions().verdict(NFT_JUMP, kTunnelledOut));
    rule(revoked().verdict(NFT_GOTO, kRevoked.chain));
    rule(with_state(kKnown).verdict(NF_ACCEPT));
    tell_of_host(kEgress, kAlone, untracked_and_allowed());
    rule(untracked_and_allowed().verdict(NF_ACCEPT));
    rule(translated().differs(0, kZero).verdict(NF_ACCEPT));
    judge_output();
    chain("mangle_postrouting", Hook{NF_INET_POST_ROUTING, NF_IP_PRI_MANGLE});
    rule(translated().equals(0, kZero).verdict(NF_ACCEPT));
    // What is not tracked has no such state.
    if (settings_.overlays.any()) rule(Expressions().verdict(NFT_JUMP, kTunnelledOut));
    rule(with_state(kKnown).verdict(NF_ACCEPT));
    rule(untracked_and_allowed().verdict(NF_ACCEPT));
    // What is forwarded has come in by an interface, and has been judged.
    constexpr std::array<std::uint8_t, IFNAMSIZ> kNoName{};
    rule(Expressions().meta(Meta::kInputName, 0).differs(0, kNoName).verdict(NF_ACCEPT));
    judge_output();
  }
  // By untracked policy where it is sent, and not marked by somebody who then led it to another interface.
  Expressions untracked_and_allowed() const {
    return with_mark(true, with_state(kernel::nft::kStateUntracked));
  }
  // A connection that policy denies by now (revocation.h).
  Expressions revoked() const {
    Expressions rule;
    rule.conntrack_mark(0).mask(0, host_order(settings_.revoked_mark)).differs(0, kZero);
    return rule;
  }
  static Expressions translated() {
    Expressions rule;
    rule.conntrack_status(0).mask(0, host_order(kernel::nft::kStatusDestinationTranslated));
    return rule;
  }

  const HostSettings& settings_;
  Ruleset ruleset_;
  std::string chain_;
};

}  // namespace

kernel::nft::Shape Ruleset::shape() const {
  kernel::nft::Shape shape;
  for (const auto& set : all_maps()) shape.sets.emplace(set.name, set);
  for (const auto& set : filled_by_packets) shape.sets.emplace(set.name, set);
  for (const auto& constant : constants) shape.sets.emplace(constant.set.name, constant.set);
  for (const auto& one : chains) shape.chains.emplace(one.name, one);
  for (const auto& one : rules) shape.rules_by_chain[one.chain].push_back(one.mark);
  return shape;
}

Ruleset ruleset_for(const HostSettings& settings) {
  return Writer(settings).write();
}

}  // namespace ocicat::dataplane
