// What the router of one host should do: whom it speaks with, what it tells them, what it writes to the
// kernel.
//
//   in       resources, blocks and services as they stand
//   out      BgpIntent, whatever the router; bird_configuration.h says it in BIRD's words
//   errors   none: what cannot be is left out and named in `left_out`, with the reason
//   cost     O(nodes x peers); computed from nothing each time, so that nothing can fall out of step
//   source   docs/spec: semantics.md 4.4; docs/design/bgp.md
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "resources/bgp.h"
#include "resources/types.h"

namespace ocicat::network::bgp {

inline constexpr AsNumber kDefaultAsNumber = 64512;
inline constexpr std::uint16_t kDefaultPort = 179;
inline constexpr std::uint32_t kDefaultMetric = 1024;

// Addresses that belong together and to one host, as address management has it.
struct Block {
  Prefix prefix;
  std::string node;
  bool confirmed = true;

  auto operator<=>(const Block&) const = default;
};

struct Service {
  enum class From : std::uint8_t { kCluster, kLocal };  // which hosts take traffic for it from outside
  std::string name;                                     // "shop/frontend"
  From from = From::kCluster;
  bool ready_here = false;  // has a ready endpoint on this host
  std::vector<IpAddress> cluster_addresses;
  std::vector<IpAddress> external_addresses;
  std::vector<IpAddress> load_balancer_addresses;

  bool operator==(const Service&) const = default;
};

struct LocalWorkload {
  std::string name;  // "shop/router"
  Labels labels;     // as policy sees them
  std::vector<IpAddress> addresses;

  bool operator==(const LocalWorkload&) const = default;
};

// Maps by the object's name.
struct Input {
  std::string node;  // this host
  std::map<std::string, Node> nodes;
  std::map<std::string, BgpConfiguration> configurations;
  std::map<std::string, BgpPeer> peers;
  std::map<std::string, BgpFilter> filters;
  std::map<std::string, IpPool> pools;
  std::vector<Block> blocks;
  std::vector<Service> services;
  std::vector<LocalWorkload> workloads;
};

// Where passwords come from.
using Secrets = std::function<Result<std::string>(const SecretKey&)>;

// One neighbour, in one family.
struct Session {
  enum class Kind : std::uint8_t { kMesh, kGlobal, kNode, kLocalWorkload };

  std::string name;  // "Mesh_10_0_0_2": letters, digits and _
  Kind kind = Kind::kMesh;
  std::string because;    // "the node mesh", "BGPPeer tor"
  std::string peer_node;  // empty: no host of the cluster, as far as is known
  IpAddress peer;
  std::uint16_t port = kDefaultPort;
  AsNumber peer_as = 0;
  AsNumber local_as = 0;
  std::optional<IpAddress> local;  // the session's own address
  bool passive = false;            // the other side connects
  // It is told what others of this AS say, as it is no reflector itself or one of another cluster (RFC 4456).
  bool reflector_client = false;
  std::vector<std::string> filters;
  BgpPeer::NextHop next_hop = BgpPeer::NextHop::kAuto;
  std::optional<std::string> password;
  std::optional<std::chrono::seconds> restart_time;
  std::optional<std::chrono::seconds> keepalive_time;
  std::optional<std::uint32_t> allowed_local_as_numbers;
  std::optional<std::uint8_t> ttl_hops;
  std::optional<IpAddress> reachable_by;

  Family family() const { return peer.family(); }
  bool internal() const { return peer_as == local_as; }
  bool operator==(const Session&) const = default;
};

struct LeftOut {
  std::string object;  // "BGPPeer tor"
  std::string reason;

  auto operator<=>(const LeftOut&) const = default;
};

// Lists of prefixes are masked, ascending, and of one family.
struct FamilyIntent {
  std::vector<Prefix> confirmed_blocks;    // of this host: told as a whole
  std::vector<Prefix> unconfirmed_blocks;  // of this host: perhaps another's, told to nobody
  std::vector<Prefix> exported_pools;
  std::vector<Prefix> hidden_pools;        // nothing in them is told
  std::vector<Prefix> unprogrammed_pools;  // what leads into them is not for the router to write
  std::vector<Prefix> service_nets;        // where services may have addresses
  std::vector<Prefix> services;            // what this host says it has
  std::vector<BgpConfiguration::Advertisement> advertisements;
  std::uint32_t metric = kDefaultMetric;  // of an ordinary route

  bool operator==(const FamilyIntent&) const = default;
};

struct BgpIntent {
  IpAddress router_id;  // IPv4
  AsNumber as_number = kDefaultAsNumber;
  std::uint16_t listen_port = kDefaultPort;
  bool binds_node_address = false;
  std::optional<IpAddress> reflector_cluster;
  std::string log_severity = "Info";
  std::vector<std::string> ignored_interfaces;
  std::vector<Session> sessions;             // by name
  std::map<std::string, BgpFilter> filters;  // those that sessions use
  std::array<FamilyIntent, 2> families;      // 0: IPv4
  std::vector<LeftOut> left_out;             // ascending

  const FamilyIntent& of(Family family) const { return families[family == Family::kIpv4 ? 0 : 1]; }
  bool operator==(const BgpIntent&) const = default;
};

BgpIntent intent_for(const Input& input, const Secrets& secrets);

// Whether the router of a host writes routes to other hosts without encapsulation (BGPConfiguration's
// programClusterRoutes); where not, the agent does.
bool programs_routes(const std::map<std::string, BgpConfiguration>& configurations, const std::string& node);

}  // namespace ocicat::network::bgp
