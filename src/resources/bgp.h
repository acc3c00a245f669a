// The kinds that say whom hosts speak BGP with, and what they tell them.
//
// Text that ends up in a router's configuration (patterns of interfaces) has been held to its characters when
// it was decoded; everything else is a number or an address.
//
//   source   docs/spec: semantics.md 4.4, validation.md 3.12 to 3.14
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "resources/metadata.h"

namespace ocicat {

using AsNumber = std::uint32_t;

// A mark on a route: "65000:1" (RFC 1997, two parts of 16 bits) or "65000:1:2" (RFC 8092, three of 32).
struct Community {
  bool large = false;
  std::array<std::uint32_t, 3> parts{};  // the third counts where it is large

  static std::optional<Community> parse(std::string_view text);
  auto operator<=>(const Community&) const = default;
};

// Where a password stands: an entry of a Kubernetes Secret.
struct SecretKey {
  std::string name;
  std::string key;

  auto operator<=>(const SecretKey&) const = default;
};

// `default` for the cluster, `node.NAME` for one host: what that one says comes first.
struct BgpConfiguration {
  enum class BindMode : std::uint8_t { kAny, kNodeAddress };
  enum class Programs : std::uint8_t { kAll, kNone, kIpipOnly, kNoEncapsulationOnly };
  struct Advertisement {
    Prefix cidr;
    std::vector<Community> communities;  // names resolved
    bool operator==(const Advertisement&) const = default;
  };

  Metadata metadata;  // without labels
  std::optional<AsNumber> as_number;
  std::optional<bool> mesh;  // every host with every other
  std::optional<BindMode> bind_mode;
  std::optional<Programs> programs;  // which of the cluster's routes the router writes to the kernel
  std::optional<std::uint16_t> listen_port;
  std::string log_severity;                                // empty: Info
  std::vector<std::string> ignored_interfaces;             // patterns with *
  std::array<std::optional<std::uint32_t>, 2> priorities;  // metric of an ordinary route; by family (0: IPv4)
  std::array<std::optional<IpAddress>, 2>
      workload_peering;  // the host's address towards its workloads; by family
  std::optional<std::chrono::seconds> mesh_restart_time;
  std::optional<SecretKey> mesh_password;
  std::optional<std::vector<Advertisement>> advertisements;
  std::vector<Prefix> service_cluster_nets;  // masked, ascending; these three likewise
  std::vector<Prefix> service_external_nets;
  std::vector<Prefix> service_load_balancer_nets;
  bool aggregates_load_balancers = true;

  bool operator==(const BgpConfiguration&) const = default;
};

// Whom the hosts that it selects speak with.
struct BgpPeer {
  enum class NextHop : std::uint8_t { kAuto, kSelf, kKeep };

  Metadata metadata;                    // without labels
  std::string node;                     // neither this nor a selector: every host
  std::string node_selector;            // empty: none
  std::optional<IpAddress> address;     // of a router; or
  std::uint16_t port = 0;               // 0: the one it listens at, or 179
  std::string peer_selector;            // of hosts; or
  std::string local_workload_selector;  // of the host's own workloads
  AsNumber as_number = 0;               // of `address` or the workloads; 0: the host's own
  std::optional<AsNumber> local_as_number;
  std::vector<std::string> filters;  // names of BGPFilters, in order
  NextHop next_hop = NextHop::kAuto;
  bool from_node_address = true;  // sourceAddress
  bool reverse = true;            // hosts that `peer_selector` selects speak back by themselves
  std::optional<SecretKey> password;
  std::optional<std::chrono::seconds> restart_time;
  std::optional<std::chrono::seconds> keepalive_time;
  std::optional<std::uint32_t> allowed_local_as_numbers;
  std::optional<std::uint8_t> ttl_hops;  // ttlSecurity
  std::optional<IpAddress> reachable_by;

  bool operator==(const BgpPeer&) const = default;
};

struct BgpFilterRule {
  enum class Match : std::uint8_t { kEqual, kNotEqual, kIn, kNotIn };
  enum class PeerType : std::uint8_t { kExternal, kInternal };
  struct AddCommunity {
    Community community;
    bool operator==(const AddCommunity&) const = default;
  };
  struct PrependAsPath {
    std::vector<AsNumber> prefix;
    bool operator==(const PrependAsPath&) const = default;
  };
  struct SetPriority {
    std::uint32_t metric = 0;
    bool operator==(const SetPriority&) const = default;
  };
  using Operation = std::variant<AddCommunity, PrependAsPath, SetPriority>;

  bool accept = false;
  // All that is said must hold.
  std::optional<Prefix> cidr;  // masked
  Match match = Match::kIn;
  std::optional<std::uint8_t> least_length;
  std::optional<std::uint8_t> most_length;
  std::string interface_name;  // pattern with *; empty: any
  bool from_remote_peers = false;
  std::optional<PeerType> peer_type;
  std::optional<Community> community;
  std::vector<AsNumber> as_path_prefix;
  std::optional<std::uint32_t> priority;  // metric
  std::vector<Operation> operations;      // where it accepts

  bool operator==(const BgpFilterRule&) const = default;
};

struct BgpFilter {
  Metadata metadata;                                       // without labels
  std::array<std::vector<BgpFilterRule>, 2> export_rules;  // by family (0: IPv4)
  std::array<std::vector<BgpFilterRule>, 2> import_rules;

  bool operator==(const BgpFilter&) const = default;
};

}  // namespace ocicat
