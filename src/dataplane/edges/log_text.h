// What Log rules say, whoever says it: the kernel for nftables, the agent for eBPF.
//
//   source   Calico's semantics, section 3, "Log prefix"
#pragma once

#include <string>
#include <vector>

#include "policy/verdict.h"
#include "resources/types.h"

namespace ocicat::dataplane {

// A Log rule of a policy, or of a profile.
struct LogRule {
  std::string tier;
  ResourceKey policy;

  bool operator==(const LogRule&) const = default;
};

// Those that a packet of this outcome has passed, in order.
std::vector<LogRule> log_rules_of(const policy::Outcome& outcome);

// The beginning of a line. In `format` (logPrefix; empty: "calico-packet") %t is the tier, empty for
// profiles, %k the kind by its short name, %n the name, %p the name behind namespace and slash where there is
// one. ": " follows. At most 127 bytes, which is what the kernel takes.
std::string log_text(const std::string& format, const LogRule& rule);

}  // namespace ocicat::dataplane
