// Who can talk: the endpoints of a snapshot, found by what people call them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "policy/evaluator.h"
#include "policy/host_settings.h"

namespace ocicat::views {

// Which host endpoint has the interface by which packets come to a host and leave it. Only the host itself
// knows its interfaces: here it is the first by name that expects an address of the node; without one the
// first that names an interface and expects none; else the one for "*".
struct HostPolicy {
  ResourceKey endpoint;
  bool all_interfaces = false;
  bool assumed = false;  // by its interface's name alone
};

// One end of a conversation.
struct Party {
  std::string name;  // "shop/api", "host:node1", "192.0.2.1"
  // A workload's, or the host endpoint of a host; none: policy has no endpoint there, it only sees the
  // address.
  std::optional<ResourceKey> endpoint;
  std::string node;      // where it runs, as far as it is known; for host:NAME the name
  bool is_host = false;  // the node itself
  // What becomes of packets that workloads of this node send to it; only where is_host.
  HostSettings::ToHost from_own_workloads = HostSettings::ToHost::kDrop;
  std::vector<IpAddress> addresses;
  std::optional<HostPolicy> host_policy{};  // of the node it is, or is on

  // The first address of the family.
  std::optional<IpAddress> address(Family family) const;
};

class Inventory {
 public:
  explicit Inventory(const policy::Snapshot& snapshot);

  // Whether find() can be asked for it; the error says what names look like.
  static Result<void> check_name(std::string_view text);
  // NAMESPACE/NAME of a workload (pod) or of its endpoint, host:NAME, or an IP address; an address that a
  // workload endpoint has stands for that endpoint. Errors say what was looked for and what there is.
  Result<Party> find(std::string_view text) const;

  // Every workload endpoint with an address, by name. The name is the workload's, as long as that names one
  // endpoint; else the endpoint's own.
  const std::vector<Party>& endpoints() const { return endpoints_; }
  // Every host that has an address, by name.
  std::vector<Party> hosts() const;
  // The endpoints, and after them the hosts that have a host endpoint.
  std::vector<Party> parties() const;

 private:
  void take_hosts(const policy::Snapshot& snapshot);
  void take_host_policies(const policy::Snapshot& snapshot);
  Result<Party> find_host(std::string_view name) const;
  Result<Party> find_endpoint(std::string_view text) const;

  std::vector<Party> endpoints_;
  std::map<std::string, std::vector<std::size_t>> endpoints_by_name_;  // both names, index into endpoints_
  std::map<IpAddress, std::size_t> endpoints_by_address_;
  std::map<std::string, Party> hosts_;
  std::map<std::string, HostPolicy> policy_by_node_;
};

// The family two parties can talk in: the one wanted, else IPv4 where both have it, else IPv6.
Result<Family> common_family(const Party& from, const Party& to, std::optional<Family> wanted);

}  // namespace ocicat::views
