// The lookup of policy/tables.h in nf_tables' words.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <cstring>

#include "dataplane/nftables/entries.h"
#include "dataplane/nftables/ruleset.h"
#include "kernel/nft_expressions.h"

namespace ocicat::dataplane {
namespace {

using kernel::nft::Chain;
using kernel::nft::Element;
using kernel::nft::ElementKey;
using kernel::nft::Expressions;
using kernel::nft::HeaderBase;
using kernel::nft::Meta;
using kernel::nft::Set;
using kernel::nft::verdict_data;
using policy::ChainKind;
using policy::Direction;

// What the second half of a table's key is, by kind of protocol.
enum class Detail { kPort, kIcmp, kNone };
constexpr std::array kDetails{Detail::kPort, Detail::kIcmp, Detail::kNone};

// Whose class a rule finds. Addresses with a class of their own are most, and asking no net for them is
// quicker.
enum class Peers { kExact, kAll };

// What has the program: the own address, the chain for what a workload sends from elsewhere, or that of a
// host endpoint.
enum class Own { kAddress, kSource, kHost };

struct Way {
  Direction direction;
  Family family;
  std::optional<ChainKind> host = {};  // the chain of a host endpoint; none: of a workload

  std::string name() const {
    const int version = family == Family::kIpv4 ? 4 : 6;
    if (host) return host_chain({*host, direction}, family);
    return fmt::format("{}{}", policy::to_string(direction), version);
  }
  Meta interface() const {
    // What comes in through the interface of a host endpoint is what goes to that of a workload.
    const bool comes_in = direction == (host ? Direction::kIngress : Direction::kEgress);
    return comes_in ? Meta::kInputName : Meta::kOutputName;
  }
  std::string chain(Detail detail) const {
    constexpr std::array kSuffix{"_ports", "_icmp", "_other"};
    return name() + kSuffix[static_cast<std::size_t>(detail)];
  }
  std::string protocols() const { return "protocols_" + name(); }
  const std::string& answers() const {
    return set_of(host ? answers_map({*host, direction}, family) : answers_map(direction, family)).name;
  }
  // Those of the chain for source ports, which leads to no other.
  const std::string& final_answers() const {
    return set_of(host ? answers_map(ending_of({*host, direction})) : Map::kAnswers).name;
  }
  std::string source_ports_chain() const { return name() + "_source_ports"; }
};

// Offsets and length of addresses in the network header.
struct AddressAt {
  std::uint32_t source, destination, length;
};
AddressAt addresses_of(Family family) {
  return family == Family::kIpv4 ? AddressAt{12, 16, 4} : AddressAt{8, 24, 16};
}

// Registers. What is read from the packet for a first lookup stands in 0 to 7; on the way to the class of an
// address
//    1  its exact class             2  the address, then its net
// and then
//    1  second table                2  answer, in two        4  table, with protocol and detail behind it
//    8  program                     9  projection           10  base table, later with protocol and detail
//   11  vocabulary                 12  class                14  number of the step
// and on the way to the program of a host endpoint
//    6  chain                       7  vocabulary, then projection of the own side             8  its class
//    9  host endpoint              10  hook
//
// The data of maps begins with an unused word, so that the register which a lookup names as its destination
// is never the one that the next lookup names as its key: Debian 12's `nft list ruleset` aborts on a key that
// it takes for another map's answer. What it takes the keys for, and shows, is the interface name that
// mark_keys() loads.
constexpr kernel::nft::Register kOwn = 0, kExact = 1, kAddress = 2, kSecondTable = 1, kAnswer = 2, kTable = 4,
                                kProgram = 8, kProjection = 9, kBase = 10, kVocabulary = 11, kClass = 12,
                                kStepNumber = 14, kHost = 9, kHook = 10, kChain = 6, kOwnVocabulary = 7,
                                kOwnProjection = 7, kOwnClass = 8;

void mark_keys(Expressions& rule, Own own) {
  if (own != Own::kAddress) {
    for (const auto key : {kTable, kChain, kOwnVocabulary, kHost}) rule.meta(Meta::kInputName, key);
  }
  for (const auto key : {kExact, kProgram, kBase, kVocabulary}) rule.meta(Meta::kInputName, key);
  rule.meta(Meta::kFamily, kStepNumber);
}

// Leaves the class of the exact address at `offset` in `into`, and behind it. Ends the rule for strangers.
void look_up_exact_class(Expressions& rule, Family family, std::uint32_t offset, kernel::nft::Register into) {
  static_assert(kUnknownClass == 0xffffffff);
  constexpr std::array<std::uint8_t, 4> kUnknown{0xff, 0xff, 0xff, 0xff};
  rule.payload(HeaderBase::kNetwork, offset, addresses_of(family).length, kAddress)
      .map(set_of(classes_map(family)).name, kAddress, into)
      .differs(into, kUnknown);
}

// Leaves the class of the address at `offset` in `into`: that of the exact address, or else of its longest
// net. Both ways are one: where the exact address has a class, any net leads to it.
void look_up_class(Expressions& rule, Family family, std::uint32_t offset, kernel::nft::Register into) {
  const auto length = addresses_of(family).length;
  if (family == Family::kIpv6)
    rule.meta(Meta::kFamily, kAddress + 3);  // marks a key's end that a name misses
  rule.payload(HeaderBase::kNetwork, offset, length, kAddress)
      .map(set_of(classes_map(family)).name, kAddress, kExact - 1)
      .map(set_of(ranges_map(family)).name, kExact, kAddress)
      .map(set_of(nets_map(family)).name, kExact, into);
}

std::uint32_t own_offset(const Way& way) {
  const auto at = addresses_of(way.family);
  return way.direction == Direction::kIngress ? at.destination : at.source;
}
std::uint32_t peer_offset(const Way& way) {
  const auto at = addresses_of(way.family);
  return way.direction == Direction::kIngress ? at.source : at.destination;
}

// Leaves the chain in kChain, its vocabulary behind it; both 0 where nobody is asked.
void look_up_chain(Expressions& rule, const Way& way) {
  rule.meta(way.interface(), kOwn)
      .map(set_of(Map::kHostInterfaces).name, kOwn, kHost - 1)
      .immediate_be32(hook_number(way.family, {*way.host, way.direction}), kHook)
      .map(set_of(Map::kHostChains).name, kHost, kChain - 1)
      .meta(Meta::kFamily, kBase);  // marks it as a key again; a name would reach over the class
}

// Lets the packet go on where the host endpoint has no chain. That it has none is read in one step, as policy
// is: half of an old state and half of a new one may lead nowhere where both have one.
Expressions asks_nobody(const Way& way) {
  Expressions rule;
  mark_keys(rule, Own::kHost);
  rule.map(set_of(Map::kStep).name, kStepNumber, kStepNumber - 1);
  look_up_chain(rule, way);
  constexpr std::array<std::uint8_t, 4> kNoChain{};
  rule.equals(kChain, kNoChain).in_set(set_of(Map::kSteps).name, kStepNumber).verdict(NFT_RETURN);
  return rule;
}

// The same for what a workload sends from where it may beside its own addresses.
void look_up_source_chain(Expressions& rule, const Way& way) {
  must_be_source(rule, way.family);
  rule.map(set_of(source_chains_map(way.family)).name, kOwn, kChain - 1);
}

void look_up_program(Expressions& rule, const Way& way, Own own) {
  if (own == Own::kAddress) {
    rule.meta(way.interface(), kOwn)
        .payload(HeaderBase::kNetwork, own_offset(way), addresses_of(way.family).length, kOwn + 4)
        .map(set_of(programs_map(way.direction, way.family)).name, kOwn, kProgram - 1);
    return;
  }
  own == Own::kSource ? look_up_source_chain(rule, way) : look_up_chain(rule, way);
  look_up_class(rule, way.family, own_offset(way), kOwnClass);
  rule.map(set_of(Map::kProjections).name, kOwnVocabulary, kOwnProjection)
      .meta(Meta::kInputName, kProgram)  // marks it as a key again
      .map(set_of(Map::kChainPrograms).name, kChain, kProgram - 1);
}

// The program is read once: its base table and the table for the peer are of one and the same policy.
void look_up_tables(Expressions& rule, const Way& way, Peers peers, Own own) {
  mark_keys(rule, own);
  rule.map(set_of(Map::kStep).name, kStepNumber, kStepNumber - 1);
  const auto look_up = peers == Peers::kExact ? look_up_exact_class : look_up_class;
  look_up(rule, way.family, peer_offset(way), kClass);
  look_up_program(rule, way, own);
  rule.meta(Meta::kInputName, kAnswer);  // marks it as a key, now that addresses are done with
  rule.map(set_of(Map::kPrograms).name, kProgram, kBase - 1)
      .map(set_of(Map::kProjections).name, kVocabulary, kProjection)
      .map(set_of(Map::kTables).name, kProgram, kTable - 1);
}

// Leaves the answer in kAnswer, its outcome or second table in kSecondTable.
void look_up_cell(Expressions& rule, kernel::nft::Register table, Detail detail) {
  rule.meta(Meta::kProtocol, table + 1);
  switch (detail) {
    case Detail::kPort:
      rule.payload(HeaderBase::kTransport, 2, 2, table + 2);
      break;
    case Detail::kIcmp:
      rule.payload(HeaderBase::kTransport, 0, 2, table + 2);
      break;
    case Detail::kNone:
      rule.immediate_be32(0, table + 2);
      break;
  }
  rule.map(set_of(Map::kCells).name, table, kSecondTable - 1);
}

// Ends the rule where a step has come since it began.
void must_be_one_step(Expressions& rule) {
  rule.in_set(set_of(Map::kSteps).name, kStepNumber);
}

// A second table stands among the others, its source ports in place of the detail, with protocol 0. Where a
// cell leads to none, its word for it is 0: the table that asks the base table whatever the key.
void look_up_source_port(Expressions& rule) {
  rule.immediate_be32(0, kSecondTable + 1)
      .payload(HeaderBase::kTransport, 0, 2, kSecondTable + 2)
      .map(set_of(Map::kCells).name, kSecondTable, kSecondTable - 1);
}

class ChainWriter {
 public:
  ChainWriter(Ruleset& ruleset, std::string chain) : ruleset_(ruleset), chain_(std::move(chain)) {
    ruleset_.chains.push_back(Chain{chain_, {}});
  }
  void rule(Expressions& expressions) { ruleset_.rules.push_back(marked_rule(chain_, expressions.take())); }
  void rule(Expressions&& expressions) { rule(expressions); }

 private:
  Ruleset& ruleset_;
  std::string chain_;
};

// What no rule has answered is dropped, unless it is because the chain has gone meanwhile.
void add_end(ChainWriter& chain, const Way& way) {
  if (way.host) chain.rule(asks_nobody(way));
  chain.rule(Expressions().verdict(NFT_GOTO, kNotOurs.chain));
}

std::vector<Own> owns_of(const Way& way) {
  if (way.host) return {Own::kHost};
  if (way.direction == Direction::kIngress) return {Own::kAddress};
  return {Own::kAddress, Own::kSource};
}

// The answer that asks the base table lets the rule go on to it. Whatever is missing ends the rule, and what
// no rule has answered is dropped. All is asked twice, for the packet that a step overtakes the first time.
// The kernel looks at each rule that reads the classes for each element that they get, so these are few.
void add_deciding_chain(Ruleset& ruleset, const Way& way, Detail detail) {
  ChainWriter chain(ruleset, way.chain(detail));
  std::vector<std::pair<Peers, Own>> asked;
  if (!way.host) asked.emplace_back(Peers::kExact, Own::kAddress);
  for (const auto own : owns_of(way)) asked.insert(asked.end(), 2, {Peers::kAll, own});
  for (const auto& [peers, own] : asked) {
    Expressions rule;
    look_up_tables(rule, way, peers, own);
    look_up_cell(rule, kTable, detail);
    must_be_one_step(rule);
    rule.verdict_map(way.answers(), kAnswer);
    look_up_cell(rule, kBase, detail);
    rule.verdict_map(way.answers(), kAnswer);
    chain.rule(rule);
  }
  add_end(chain, way);
}

// Led to by cells that leave it to the source port: finds the cell again, then the second table, and where
// that leaves it to the base table the same there. Among the final answers these two let the rule go on.
void add_source_ports_chain(Ruleset& ruleset, const Way& way) {
  ChainWriter chain(ruleset, way.source_ports_chain());
  for (const auto own : owns_of(way)) {
    Expressions rule;
    look_up_tables(rule, way, Peers::kAll, own);
    look_up_cell(rule, kTable, Detail::kPort);
    must_be_one_step(rule);
    rule.verdict_map(way.final_answers(), kAnswer);
    look_up_source_port(rule);
    rule.verdict_map(way.final_answers(), kAnswer);
    look_up_cell(rule, kBase, Detail::kPort);
    rule.verdict_map(way.final_answers(), kAnswer);
    look_up_source_port(rule);
    rule.verdict_map(way.final_answers(), kAnswer);
    chain.rule(rule);
  }
  add_end(chain, way);
}

StaticElements protocols_of(const Way& way) {
  StaticElements map{{way.protocols(), 12, 1, 0, true, false}, {}};
  const auto add = [&](Protocol protocol, Detail detail) {
    const std::array<std::uint8_t, 1> key{protocol};
    map.elements.push_back({ElementKey(key), false, verdict_data(NFT_GOTO, way.chain(detail))});
  };
  for (const Protocol protocol : {kTcp, kUdp, kSctp, kUdpLite}) add(protocol, Detail::kPort);
  for (const Protocol protocol : {kIcmp, kIcmpV6}) add(protocol, Detail::kIcmp);
  return map;
}

Expressions drops_invalid() {
  constexpr std::array<std::uint8_t, 4> kZero{};
  std::array<std::uint8_t, 4> invalid{};
  std::memcpy(invalid.data(), &kernel::nft::kStateInvalid, invalid.size());
  Expressions rule;
  rule.conntrack_state(0).mask(0, invalid).differs(0, kZero).verdict(NFT_GOTO, kInvalid.chain);
  return rule;
}

// Takes away what others may have set of the mark: from here on it says what policy of ours has allowed.
Expressions clears(std::uint32_t mark) {
  std::array<std::uint8_t, 4> others{};
  mark = ~mark;
  std::memcpy(others.data(), &mark, others.size());
  Expressions rule;
  rule.meta(Meta::kMark, 0).mask(0, others).set_mark(0);
  return rule;
}

// Jumped to for interfaces of host endpoints, first of all before connection tracking.
void add_asking_chain(Ruleset& ruleset, const Way& way, std::uint32_t accept_mark) {
  ChainWriter chain(ruleset, asking_chain({*way.host, way.direction}, way.family));
  if (*way.host == ChainKind::kUntracked) chain.rule(clears(accept_mark));
  chain.rule(asks_nobody(way));
  chain.rule(Expressions().verdict(NFT_GOTO, way.name()));
}

void add_way(Ruleset& ruleset, const Way& way, const HostSettings& settings) {
  // What workloads send and get has passed a chain that drops it; before connection tracking nothing is
  // invalid.
  const bool drop_invalid = settings.drop_invalid && way.host && *way.host != ChainKind::kUntracked;
  ruleset.constants.push_back(protocols_of(way));
  for (const auto detail : kDetails) add_deciding_chain(ruleset, way, detail);
  add_source_ports_chain(ruleset, way);
  ChainWriter leads_to_them(ruleset, way.name());
  if (drop_invalid) leads_to_them.rule(drops_invalid());
  leads_to_them.rule(Expressions().meta(Meta::kProtocol, 0).verdict_map(way.protocols(), 0));
  leads_to_them.rule(Expressions().verdict(NFT_GOTO, way.chain(Detail::kNone)));
  if (way.host) add_asking_chain(ruleset, way, settings.accept_mark);
}

}  // namespace

// Short: an element that leads to a chain has room for 28 letters of it.
std::string host_chain(policy::Hook hook, Family family) {
  constexpr std::array kChains{"normal", "forward", "untracked", "prednat"};
  return fmt::format("{}_{}{}", kChains[static_cast<std::size_t>(hook.chain)],
                     hook.direction == Direction::kIngress ? "in" : "out", family == Family::kIpv4 ? 4 : 6);
}

std::string source_ports_chain(Direction direction, Family family) {
  return Way{direction, family}.source_ports_chain();
}

std::string source_ports_chain(policy::Hook hook, Family family) {
  return Way{hook.direction, family, hook.chain}.source_ports_chain();
}

std::string asking_chain(policy::Hook hook, Family family) {
  return "ask_" + host_chain(hook, family);
}

void must_have_host_endpoint(Expressions& rule, Direction direction) {
  constexpr std::array<std::uint8_t, 4> kNobody{};
  rule.meta(Meta::kInputName, kHost)  // marks it, as mark_keys() does
      .meta(direction == Direction::kIngress ? Meta::kInputName : Meta::kOutputName, kOwn)
      .map(set_of(Map::kHostInterfaces).name, kOwn, kHost - 1)
      .differs(kHost, kNobody);
}

void must_be_source(Expressions& rule, Family family) {
  const auto at = addresses_of(family);
  rule.meta(Meta::kInputName, kOwn)
      .payload(HeaderBase::kNetwork, at.source, at.length, kOwn + 4)
      .in_set(set_of(sources_map(family)).name, kOwn);
}

void add_lookups(Ruleset& ruleset, const HostSettings& settings) {
  for (const auto family : kFamilies) {
    for (const auto direction : policy::kDirections) add_way(ruleset, {direction, family}, settings);
    for (const auto hook : policy::kHooks) {
      add_way(ruleset, {hook.direction, family, hook.chain}, settings);
    }
  }
}

}  // namespace ocicat::dataplane
