// Log rules: what a packet that has passed some of them says to the kernel's log before its verdict.
//
// Each sequence of Log rules, with the verdict after it, has a chain of its own: one line a rule, in order,
// then allow, deny or nothing; and twins of it for host endpoints, whose chains end otherwise. A chain is
// known by whose rules log and not by what the lines say, so that another logPrefix changes rules and no
// cell.
//
//   source   Calico's semantics, section 3, "Log prefix"; projectcalico/calico#11496, #11672
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/nftables/maps.h"
#include "kernel/nft.h"
#include "policy/verdict.h"

namespace ocicat::dataplane {

// A Log rule of a policy, or of a profile.
struct LogRule {
  std::string tier;
  ResourceKey policy;

  bool operator==(const LogRule&) const = default;
};

struct LogChain {
  std::vector<LogRule> rules;
  policy::Verdict verdict = policy::Verdict::kDeny;

  bool operator==(const LogChain&) const = default;
};

// What a cell's answer is where it leads to the chain; 8 bytes, never those of another answer. The verdict is
// part of it as it is, so names that tenants choose cannot make two verdicts one.
using LogId = kernel::nft::ElementKey;
using LogChains = std::map<LogId, LogChain>;
LogId id_of(const LogChain& chain);
// Whether it is the id of a chain that allows, and of one that denies.
bool allows(const LogId& id);
bool denies(const LogId& id);

// Nothing for an outcome that passes no Log rule.
std::optional<LogChain> log_chain_of(const policy::Outcome& outcome);

inline constexpr std::string_view kLogChainPrefix = "log_";
// The chain's name where chains end so: it logs the same, and then does what they do.
std::string name_of(const LogId& id, Ending ending = Ending::kFilter);
// All of them.
std::vector<std::string> names_of(const LogId& id);
void add_log_chain(struct Ruleset& ruleset, const LogId& id, const LogChain& chain,
                   const std::string& log_prefix);

// The beginning of a line. In `format` (logPrefix; empty: "calico-packet") %t is the tier, empty for
// profiles, %k the kind by its short name, %n the name, %p the name behind namespace and slash where there is
// one. ": " follows. At most 127 bytes, which is what the kernel takes.
std::string log_text(const std::string& format, const LogRule& rule);

}  // namespace ocicat::dataplane
