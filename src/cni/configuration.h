// The network configuration of a call, with Calico's keys.
//
// The plugin has no credentials and the agent has its own, so keys about the way to the datastore and about
// logs (`datastore_type`, `etcd_*`, `kubernetes`, `log_*`, `policy`, `nodename_file`, `endpoint_status_dir`,
// `require_mtu_file`) are taken and say nothing. What would change how a workload is wired and is not there
// is refused, never passed over.
//
//   source   docs/spec: semantics.md 6; containernetworking/cni, SPEC.md and CONVENTIONS.md
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/mac.h"
#include "cni/call.h"
#include "resources/types.h"

namespace ocicat::cni {

// What another plugin gave (Call::given).
struct GivenAddresses {
  std::vector<IpAddress> addresses;
  std::vector<Prefix> destinations;  // of routes; empty: it says none
  boost::json::object dns;
};

struct Configuration {
  std::string node;  // `nodename`: must be the agent's; empty: not said
  std::optional<std::uint32_t> mtu;
  std::string address_plugin;   // `ipam.type`, where it is another plugin: then the next four say nothing
  bool default_routes = false;  // `include_default_routes`: besides those that this one names
  std::optional<GivenAddresses> given;  // by it
  bool ipv4 = true;                     // `ipam.assign_ipv4`, `ipam.assign_ipv6`
  bool ipv6 = false;
  std::vector<std::string> ipv4_pools;  // names or CIDRs; empty: those that select host and namespace
  std::vector<std::string> ipv6_pools;
  bool addresses_without_ipam = false;  // `feature_control.ip_addrs_no_ipam`
  bool floating_addresses = false;      // `feature_control.floating_ips`
  bool ip_forwarding = false;           // `container_settings.allow_ip_forwarding`
  std::uint32_t queues = 1;             // `num_queues`
  // `policy_setup_timeout_seconds`: then the workload starts without its policy (and without traffic, as
  // nothing passes an interface that has none). Nothing: it does not start without.
  std::optional<std::chrono::seconds> policy_timeout;
  std::vector<std::string> readiness_gates;  // URLs that must answer 200 before a workload may start
  boost::json::object dns;                   // handed through to the result

  // What the runtime says of this workload, where no Pod document does: `args.cni.labels`, `args.ocicat`.
  Labels labels;
  Labels annotations;
  std::vector<EndpointPort> ports;
  std::string service_account;
  boost::json::array routes;  // `ipam.routes` of another plugin's configuration, handed through to the result
  // Asked for by `args.cni.ips`, the capability `ips`, or IP= of CNI_ARGS.
  std::vector<IpAddress> addresses;
  std::optional<MacAddress> mac;  // by the capability `mac`, or MAC= of CNI_ARGS
  std::map<std::string, std::int64_t>
      limits;  // by the capability `bandwidth`; named as `qosControls` has them
};

// Of a call for addresses alone the rest of the configuration is another plugin's, and is passed over.
// Codes: 2, 4, 7.
Outcome<Configuration> read_configuration(const Call& call);

// Of GC: the attachments (Call::attachment) that the runtime still knows, each also by the names that documents have.
// Code 7.
Outcome<std::set<std::string>> valid_attachments(const Call& call);

// Of ADD: the result of the plugins before this one in the chain (`prevResult`); empty where it is the first. Code 7.
Outcome<boost::json::object> chained_result(const Call& call);

// Of CHECK: what `prevResult` says of the attachment, as ADD or a later plugin of the chain left it.
struct PreviousResult {
  std::vector<IpAddress> addresses;       // but those that are said to be another interface's
  bool has_interface = false;             // of the call's name, in a sandbox
  std::optional<MacAddress> mac;          // that interface's, where it is said
  std::set<std::string> host_interfaces;  // names of those in no sandbox
};
// Code 7.
Outcome<PreviousResult> previous_result(const Call& call);

}  // namespace ocicat::cni
