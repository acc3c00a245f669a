// Log rules: what a packet that has passed some of them says to the kernel's log before its verdict.
//
// Each sequence of Log rules, with the verdict after it, has a chain of its own: one line a rule, in order,
// then allow, deny or nothing; and twins of it for host endpoints, whose chains end otherwise. A chain is
// known by whose rules log and not by what the lines say, so that another logPrefix changes rules and no
// cell.
//
//   source   projectcalico/calico#11496, #11672
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/edges/log_text.h"
#include "dataplane/nftables/maps.h"
#include "kernel/nft.h"
#include "policy/host_settings.h"
#include "policy/verdict.h"

namespace ocicat::dataplane {

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
                   const HostSettings& settings);

}  // namespace ocicat::dataplane
