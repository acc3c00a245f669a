// Settings of the whole host, from FelixConfiguration.
//
// For each field the first source that sets it counts: the configuration named `node.<host>`, the one that
// selects the host's node by its labels (of several the first by name), the one named `default`, the built-in
// value. Empty text is not set; text that cannot be read is the built-in value, which then counts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "policy/model.h"
#include "resources/types.h"

namespace ocicat {

// What concerns the whole host.
struct HostSettings {
  enum class ToHost : std::uint8_t { kDrop, kAccept, kReturn };
  std::vector<std::string> workload_prefixes{"cali"};  // interfaces that are workloads', known to us or not
  ToHost endpoint_to_host = ToHost::kDrop;             // defaultEndpointToHostAction
  bool drop_invalid = true;                            // not disableConntrackInvalidCheck
  bool reject = false;                                 // iptablesFilterDenyAction: Reject
  std::string log_prefix = "calico-packet";
  policy::EncapsulationGuard encapsulation;  // decided by programs, not by the ruleset
  policy::Failsafes failsafes;               // failsafeInboundHostPorts, failsafeOutboundHostPorts; likewise
  // The lowest bit of nftablesMarkMask: carried by packets that untracked or pre-DNAT policy has allowed.
  std::uint32_t accept_mark = 0x10000;
  bool allow_spoofing = false;  // workloadSourceSpoofing: Any

  bool operator==(const HostSettings&) const = default;
};

using FelixConfigurations = std::map<std::string, FelixConfiguration>;  // by name

// `node` is the host's name; without one only `default` counts. `labels` are those of its Node.
HostSettings resolve_settings(const FelixConfigurations& configurations,
                              const std::optional<std::string>& node, const Labels& labels);

}  // namespace ocicat
