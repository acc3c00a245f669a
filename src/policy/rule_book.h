// What rules can say, each saying kept once: atomic sets, and the matches of rules that are made of them.
//
// Rules of different policies that ask for the same thing share one match, so a policy is a short list of
// numbers. An atom is *active* while a policy or profile in force on this host mentions it; only then does it
// divide addresses into classes.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "policy/model.h"
#include "policy/sequence_pool.h"

namespace ocicat::policy {

using AtomId = std::uint32_t;   // from 1
using MatchId = std::uint32_t;  // from 1

// One thing a rule can say of an address.
struct Atom {
  enum class Type : std::uint8_t {
    kSelector,   // it has an owner that `selector` selects
    kNets,       // it lies in one of `nets`
    kNamedPort,  // it has an owner with a port `port_name` of `protocol`, that `selector` selects if there is
                 // one; one set for each number that such ports have
    kService,    // it stands behind `service`
    kServicePorts,  // the same; one set for each protocol and port that it stands there with
  };
  Type type = Type::kSelector;
  std::optional<Selector> selector;
  std::vector<Prefix> nets;  // masked, ascending, no two alike
  std::string port_name;
  Protocol protocol = 0;
  ServiceMatch service;
  std::string meaning;       // in names
  Digest digest;             // of its meaning
  std::uint32_t users = 0;   // matches that mention it
  std::uint32_t active = 0;  // active matches that mention it
};

// One side of a match.
struct SideMatch {
  std::vector<AtomId> in;      // the address is in all of these sets
  std::vector<AtomId> not_in;  // and in none of these
  std::vector<PortRange> ports;
  std::vector<AtomId> named_ports;
  std::vector<PortRange> not_ports;
  std::vector<AtomId> not_named_ports;
  std::vector<AtomId> service_ports;  // of a destination; at most one

  // Which ports it means depends on the address.
  bool names_sets() const { return !in.empty() || !not_in.empty() || names_ports(); }
  bool names_ports() const {
    return !named_ports.empty() || !not_named_ports.empty() || !service_ports.empty();
  }
  bool limits_ports() const { return !ports.empty() || !named_ports.empty(); }
  bool excludes_ports() const { return !not_ports.empty() || !not_named_ports.empty(); }
};

// All that a rule asks of a packet.
struct RuleMatch {
  bool ipv4 = true;
  bool ipv6 = true;
  std::optional<Protocol> protocol;
  std::optional<Protocol> not_protocol;
  std::optional<IcmpMatch> icmp;
  std::optional<IcmpMatch> not_icmp;
  Protocol port_protocol = kTcp;  // what its ports are ports of
  SideMatch source;
  SideMatch destination;
  Digest digest;  // of its meaning
  std::uint32_t active = 0;

  bool can_match(Family family) const { return family == Family::kIpv4 ? ipv4 : ipv6; }
};

class RuleBook {
 public:
  RuleBook() : atoms_(1), matches_(1) {}

  // One more user for what the rule asks.
  MatchId acquire(const MatchRule& rule);
  void release(MatchId id);
  const RuleMatch& match(MatchId id) const { return matches_[id]; }
  const Atom& atom(AtomId id) const { return atoms_[id]; }
  std::size_t atom_bound() const { return atoms_.size(); }

  // Matches are counted as often as they are activated.
  void activate(MatchId id);
  void deactivate(MatchId id);
  // Atoms that may have become active or ceased to be, since the last call; each once, ascending. Atoms
  // without a user are kept until the call after that in which they were reported.
  std::vector<AtomId> take_touched();

 private:
  AtomId acquire_atom(Atom atom, std::string meaning);
  void release_atom(AtomId id);
  Digest meaning_of(const RuleMatch& match) const;
  SideMatch side_of(const EntityMatch& entity, Protocol port_protocol, bool is_source);
  template <class Visit>
  static void for_each_atom(const RuleMatch& match, Visit visit);

  std::vector<Atom> atoms_;
  std::vector<AtomId> free_atoms_;
  boost::unordered_flat_map<std::string, AtomId> atom_by_meaning_;
  std::deque<RuleMatch> matches_;  // by id of its words; a match stays where it is
  SequencePool words_;             // what a match says, as numbers
  std::vector<AtomId> touched_;
  std::vector<AtomId> unused_;  // without a user, and reported
};

}  // namespace ocicat::policy
