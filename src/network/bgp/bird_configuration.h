// An intent in BIRD's words: the whole configuration file of BIRD 2, both families.
//
// Pure text. Nothing that a user wrote stands in it as it was written: names become numbers (comments say
// which, cleared of control characters), patterns have been held to their characters, passwords to what BIRD
// can quote. The same intent gives the same text.
//
//   source   docs/design/bgp.md; the manual of BIRD 2.0
#pragma once

#include <cstdint>
#include <string>

#include "network/bgp/intent.h"

namespace ocicat::network::bgp {

// The metric of the agent's routes to workloads, into tunnels and to nowhere, which BIRD gives to none.
inline constexpr std::uint32_t kAgentMetric = kDefaultMetric;
// The metric of the agent's own routes by other hosts, worse than any that BIRD writes (2³¹−1 at most): they
// count only where BIRD has none yet, and BIRD does not take them for what this host has to tell.
inline constexpr std::uint32_t kStandInMetric = 4'000'000'000;
// The protocol and the metric of the agent's copies of what a BIRD that died has left in the kernel, which BIRD
// does not tell either. Another metric: for IPv6 two routes of one metric and way would be one to the kernel.
inline constexpr int kCopyProtocol = 81;
inline constexpr std::uint32_t kCopyMetric = kStandInMetric + 1;

// `log_file`: where BIRD writes what it has to say, at most 4 MiB and as much again of what came before; a
// path without quotes. Empty: its standard error.
std::string bird_configuration(const BgpIntent& intent, const std::string& log_file = {});

}  // namespace ocicat::network::bgp
