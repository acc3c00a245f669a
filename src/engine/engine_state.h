// What an engine holds, and the steps of a batch. Private to this folder.
//
//   intake.cc           resources in: policies, members, nodes, settings
//   local_endpoints.cc  endpoints of this host: who has which interface, and which programs
//   host_endpoints.cc   host endpoints of this host, and their chains
//   local_floating.cc   who is reached under which floating address
//   local_routes.cc     the ways to addresses
//   entry_bound.cc      what becomes of endpoints whose programs would take too many entries
//   engine.cc           the steps in order
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "network/floating_addresses.h"
#include "network/route_resolver.h"
#include "policy/host_settings.h"
#include "policy/key_pool.h"
#include "policy/policy_index.h"
#include "policy/program_store.h"

namespace ocicat {

using policy::MemberId;

// An endpoint of this host.
struct LocalEndpoint {
  MemberId member = 0;
  std::string node;
  std::string interface_name;
  std::vector<std::string> profiles;
  bool in_force = false;      // not waiting for another endpoint's interface
  bool denied = false;        // for want of entries; then its addresses have no programs
  std::uint64_t arrival = 0;  // the later, the higher

  struct Address {
    IpAddress address;
    policy::PlaceId place = 0;                              // once computed
    policy::SignatureId signature = 0;                      // what it is in; held
    std::array<policy::ProgramStore::Index, 2> programs{};  // by direction; 0: none yet
  };
  std::vector<Address> addresses;  // ascending
  // As in EndpointState; 0: none. Held.
  std::vector<Prefix> sources = {};
  std::array<policy::ProgramStore::ChainIndex, 2> source_chains{};
  BandwidthLimits limits;
  BandwidthLimits shown_limits;  // as they were told last
  // What there is to tell beside: of its limits, and of floating addresses that it is not reached under.
  std::string limits_told;
  std::string floating_told;
};

// A host endpoint of this host.
struct LocalHost {
  MemberId member = 0;
  HostEndpointState state;
  std::optional<HostEndpointState> shown;  // as it was told last
  // As in HostEndpointState; 0: none. Held.
  using Chains = std::array<std::array<policy::ProgramStore::ChainIndex, policy::kHooks.size()>, 2>;
  Chains chains{};
};

struct Engine::State {
  static constexpr auto kNoRetry = std::numeric_limits<std::uint64_t>::max();

  explicit State(Options given)
      : node(std::move(given.node)),
        ways(node),
        most_entries(given.most_entries),
        router(given.router),
        ids(given.dictionary) {}

  std::optional<std::string> node;
  network::RouteResolver ways;
  network::FloatingAddresses floating;
  std::map<IpAddress, IpAddress> translated;  // as HostState has it
  std::size_t most_entries;
  Router router;
  policy::IdRegistry ids;
  policy::SetSpace sets;
  policy::RuleBook book;
  policy::AddressIndex addresses{sets, ids};
  policy::MemberIndex members{sets, addresses};
  policy::PolicyIndex policies{book, members};
  policy::ProgramStore programs{book, members, sets, ids};

  policy::KeyPool keys;  // of members
  policy::StringPool node_names;
  std::vector<std::uint32_t> node_by_member;  // 0: no endpoint
  std::map<ResourceKey, LocalEndpoint> locals;
  boost::unordered_flat_map<MemberId, const ResourceKey*> local_by_member;  // into `locals`
  std::map<ResourceKey, LocalHost> local_hosts;
  boost::unordered_flat_map<MemberId, ResourceKey> host_by_member;
  // Who wants an interface; the first has it.
  std::map<std::pair<std::string, std::string>, std::set<ResourceKey>> claims_by_interface;

  boost::unordered_flat_set<Prefix> routed;
  FelixConfigurations configurations;
  AgentConfigurations agent_configurations;
  NetworkResources network;
  std::map<std::string, Labels> labels_by_node;
  std::map<ResourceKey, std::string> refused;
  std::map<ResourceKey, std::string> waiting;
  std::map<ResourceKey, std::string> bounded;  // as told
  std::map<ResourceKey, std::string> remarks;  // what else there is to tell of endpoints that are not refused
  std::uint64_t arrivals = 0;
  // Endpoints that are denied for want of entries, and how many there were left in use when they were.
  std::map<ResourceKey, std::size_t> denied;
  std::set<ResourceKey> missing;  // tiers and profiles that are named and not there
  std::map<ResourceKey, WorkloadEndpoint>
      spoofers;  // may send from others' addresses, if the settings let them
  std::optional<HostSettings> settings;
  VxlanDevices vxlan;
  std::optional<IpipDevice> ipip;

  // Of the batch.
  HostChanges out;
  std::vector<Prefix> rerouted;
  std::set<std::string, std::less<>> moved_nodes;
  std::vector<Prefix> moved_blocks;  // any address inside may have another way
  bool moved_all = true;             // any way may be another: none has been told yet
  std::vector<IpAddress> touched_peers;
  std::set<std::pair<std::string, std::string>> contested;
  bool resettle = true;
  std::set<ResourceKey> restart;  // local endpoints to compute from nothing
  // Denied ones of this arrival and later are tried again, whatever is in use.
  std::uint64_t retry_from = kNoRetry;
  std::vector<std::pair<ResourceKey, LocalEndpoint>> retired;
  std::vector<LocalEndpoint> releasing;  // uses of programs and signatures to give back
  std::set<ResourceKey> restart_hosts;   // host endpoints to compute from nothing
  std::vector<LocalHost::Chains> releasing_chains;
  std::set<MemberId> gone_members;  // numbers to give back, unless they are wanted again by then

  void set(const ResourceKey& key, const Resource& resource);
  void remove(const ResourceKey& key);
  void set(const ResourceKey& key, const NetworkPolicy& policy);
  void set(const ResourceKey& key, const Profile& profile);
  void set(const ResourceKey& key, const NetworkSet& set);
  void set(const ResourceKey& key, const WorkloadEndpoint& endpoint);
  void set(const ResourceKey& key, const HostEndpoint& endpoint);
  void set(const ResourceKey& key, const Node& node);
  void remove_member(const ResourceKey& key);
  void remove_node(const std::string& name);
  void take(const std::string& name, network::RouteResolver::Changed changed);
  std::size_t expect(ResourceChanges::Entries::const_iterator at,
                     ResourceChanges::Entries::const_iterator end);
  void take(network::BlockMap::Changed changed);
  void settle_route(const Prefix& prefix, policy::PlaceId place);
  void settle_routes_of_endpoints();
  void reroute_inside(const Prefix& block);
  MemberId member_of(const ResourceKey& key);
  void set_node_of(MemberId member, std::string_view name);
  bool is_local(const WorkloadEndpoint& endpoint) const { return !node || endpoint.node == *node; }
  bool withhold(const ResourceKey& key, const WorkloadEndpoint& endpoint);
  void set_local(const ResourceKey& key, MemberId member, const WorkloadEndpoint& endpoint);
  void retire_local(const ResourceKey& key);
  void refuse(const ResourceKey& key, const std::string& why);
  void remark(const ResourceKey& key, const std::string& what);
  void tell_bounded(const ResourceKey& key, const std::string& what);  // empty: nothing is
  void tell_missing(const ResourceKey& key, const std::string& why);
  void settle_references();
  void settle_interfaces();
  void settle_settings();
  void settle_locals(const std::vector<MemberId>& replanned, bool addresses_changed);
  void compute(const ResourceKey& key, LocalEndpoint& local);
  void settle_programs(const policy::AddressIndex::Update& classes);
  void give_back(const LocalEndpoint& local);
  bool deny_last();
  void forget_denied(const ResourceKey& key);
  void retire_host(const ResourceKey& key);
  void compute_host(const ResourceKey& key, LocalHost& host);
  void settle_hosts(const std::vector<MemberId>& replanned);
  void settle_overlays();
  std::string why_not_floating(const IpAddress& address) const;
  const ResourceKey* floating_at(const IpAddress& address) const;
  std::optional<network::Claim> floating_claim(const IpAddress& address) const;
  void touch_floating();
  void tell_floating(const ResourceKey& key);
  void remark_local(const ResourceKey& key, const LocalEndpoint& local);
  void settle_floating();
  void settle_routes();
  std::optional<Route> route(const Prefix& prefix, policy::PlaceId place) const;
};

}  // namespace ocicat
