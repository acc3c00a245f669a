// The lookup of policy/tables.h in nf_tables' words.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "dataplane/nftables/maps.h"
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
using policy::Direction;

// What the second half of a table's key is, by kind of protocol.
enum class Detail { kPort, kIcmp, kNone };
constexpr std::array kDetails{Detail::kPort, Detail::kIcmp, Detail::kNone};

// Where the class of the peer comes from.
enum class Source { kExact, kRange, kBase };
constexpr std::array kSources{Source::kExact, Source::kRange, Source::kBase};

struct Way {
  Direction direction;
  Family family;

  std::string name() const {
    return fmt::format("{}{}", policy::to_string(direction), family == Family::kIpv4 ? 4 : 6);
  }
  std::string chain(Detail detail) const {
    constexpr std::array kSuffix{"_ports", "_icmp", "_other"};
    return name() + kSuffix[static_cast<std::size_t>(detail)];
  }
  std::string source_ports_chain() const { return name() + "_source_ports"; }
  std::string protocols() const { return "protocols_" + name(); }
  std::string answers() const { return "answers_" + name(); }
};
// The answers of second tables, which lead nowhere further.
constexpr const char* kFinalAnswers = "answers";

// Offsets and length of addresses in the network header.
struct AddressAt {
  std::uint32_t source, destination, length;
};
AddressAt addresses_of(Family family) {
  return family == Family::kIpv4 ? AddressAt{12, 16, 4} : AddressAt{8, 24, 16};
}

// Registers. What is read from the packet for a first lookup stands in 0 to 7; then
//    8  program, later table        9  projection, later protocol    10  detail
//   11  second table               12  vocabulary, later answer      13  class, later source port
//
// The data of maps begins with an unused word, so that the register which a lookup names as its destination
// is never the one that the next lookup names as its key: Debian 12's `nft list ruleset` aborts on a key that
// it takes for another map's answer. What it takes the keys for, and shows, is the interface name that
// mark_keys() loads.
constexpr kernel::nft::Register kOwn = 0, kPeer = 0, kTable = 8, kProgram = 8, kProjection = 9, kProtocol = 9,
                                kDetail = 10, kSecondTable = 11, kVocabulary = 12, kAnswer = 12, kClass = 13;

void mark_keys(Expressions& rule) {
  rule.meta(Meta::kInputName, kProgram)
      .meta(Meta::kInputName, kSecondTable)
      .meta(Meta::kInputName, kVocabulary);
}

void look_up_program(Expressions& rule, const Way& way) {
  const auto at = addresses_of(way.family);
  const bool ingress = way.direction == Direction::kIngress;
  rule.meta(ingress ? Meta::kOutputName : Meta::kInputName, kOwn)
      .payload(HeaderBase::kNetwork, ingress ? at.destination : at.source, at.length, kOwn + 4)
      .map(set_of(programs_map(way.direction, way.family)).name, kOwn, kProgram - 1);
}

void look_up_class(Expressions& rule, const Way& way, Source source) {
  const auto at = addresses_of(way.family);
  const bool ingress = way.direction == Direction::kIngress;
  rule.payload(HeaderBase::kNetwork, ingress ? at.source : at.destination, at.length, kPeer)
      .map(set_of(classes_map(way.family)).name, kPeer, kClass);
  if (source == Source::kRange) {
    // An address with a class of its own has all its sets there: only strangers may take a range's.
    const std::array<std::uint8_t, 4> unknown{0xff, 0xff, 0xff, 0xff};
    static_assert(kUnknownClass == 0xffffffff);
    rule.equals(kClass, unknown).map(set_of(ranges_map(way.family)).name, kPeer, kClass);
  }
}

// Leaves the table in kTable.
void look_up_table(Expressions& rule, const Way& way, Source source) {
  look_up_program(rule, way);
  const auto& programs = set_of(Map::kPrograms).name;  // unused, base table, vocabulary
  if (source == Source::kBase) {
    rule.map(programs, kProgram, kTable - 1);
    return;
  }
  rule.map(programs, kProgram, kVocabulary - 2);
  look_up_class(rule, way, source);
  rule.map(set_of(Map::kProjections).name, kVocabulary, kProjection)
      .map(set_of(Map::kTables).name, kProgram, kTable - 1);
}

// Leaves the answer in kAnswer, its outcome or second table in kSecondTable.
void look_up_cell(Expressions& rule, Detail detail) {
  rule.meta(Meta::kProtocol, kProtocol);
  switch (detail) {
    case Detail::kPort:
      rule.payload(HeaderBase::kTransport, 2, 2, kDetail);
      break;
    case Detail::kIcmp:
      rule.payload(HeaderBase::kTransport, 0, 2, kDetail);
      break;
    case Detail::kNone:
      rule.immediate_be32(0, kDetail);
      break;
  }
  rule.map(set_of(Map::kCells).name, kTable, kSecondTable - 1);
}

// A second table stands among the others, its source ports in place of the detail, with protocol 0.
void look_up_source_port(Expressions& rule) {
  ElementKey source_ports;
  source_ports.append_be32(static_cast<std::uint32_t>(Answer::kSourcePorts));
  rule.equals(kAnswer, source_ports.view())
      .immediate_be32(0, kSecondTable + 1)
      .payload(HeaderBase::kTransport, 0, 2, kSecondTable + 2)
      .map(set_of(Map::kCells).name, kSecondTable, kSecondTable - 1);
}

void add_deciding_chain(Ruleset& ruleset, const Way& way, const std::string& chain, Detail detail,
                        bool source_ports) {
  ruleset.chains.push_back(Chain{chain, {}});
  for (const auto source : kSources) {
    Expressions rule;
    mark_keys(rule);
    look_up_table(rule, way, source);
    look_up_cell(rule, detail);
    if (source_ports) look_up_source_port(rule);
    rule.verdict_map(source_ports ? kFinalAnswers : way.answers(), kAnswer);
    ruleset.rules.push_back(marked_rule(chain, rule.take()));
  }
  ruleset.rules.push_back(marked_rule(chain, Expressions().verdict(NF_DROP).take()));
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

void add_answer(StaticElements& map, Answer answer, int code, std::string_view chain = {}) {
  ElementKey key;
  key.append_be32(static_cast<std::uint32_t>(answer));
  map.elements.push_back({key, false, verdict_data(code, chain)});
}

StaticElements answers(std::string name) {
  StaticElements map{{std::move(name), 19, 4, 0, true, false}, {}};
  add_answer(map, Answer::kAllow, NFT_RETURN);
  add_answer(map, Answer::kDeny, NFT_GOTO, "deny");
  add_answer(map, Answer::kLogAllow, NFT_GOTO, "log_allow");
  add_answer(map, Answer::kLogDeny, NFT_GOTO, "log_deny");
  return map;
}

StaticElements answers_of(const Way& way) {
  auto map = answers(way.answers());
  add_answer(map, Answer::kSourcePorts, NFT_GOTO, way.source_ports_chain());
  return map;
}

}  // namespace

void add_lookups(Ruleset& ruleset) {
  ruleset.constants.push_back(answers(kFinalAnswers));
  for (const auto direction : policy::kDirections) {
    for (const auto family : kFamilies) {
      const Way way{direction, family};
      ruleset.constants.push_back(protocols_of(way));
      ruleset.constants.push_back(answers_of(way));
      for (const auto detail : kDetails) add_deciding_chain(ruleset, way, way.chain(detail), detail, false);
      add_deciding_chain(ruleset, way, way.source_ports_chain(), Detail::kPort, true);
      // The chain that leads to them.
      ruleset.chains.push_back(Chain{way.name(), {}});
      ruleset.rules.push_back(marked_rule(
          way.name(), Expressions().meta(Meta::kProtocol, 0).verdict_map(way.protocols(), 0).take()));
      ruleset.rules.push_back(
          marked_rule(way.name(), Expressions().verdict(NFT_GOTO, way.chain(Detail::kNone)).take()));
    }
  }
}

}  // namespace ocicat::dataplane
