#include "views/inventory.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace ocicat::views {
namespace {

constexpr std::string_view kHostPrefix = "host:";

std::string workload_name(const WorkloadEndpoint& endpoint) {
  const std::string& name = endpoint.workload.empty() ? endpoint.metadata.name : endpoint.workload;
  return fmt::format("{}/{}", endpoint.metadata.ns, name);
}

Party party_of(const Node& node, const FelixConfigurations& configurations) {
  Party party;
  party.name = fmt::format("{}{}", kHostPrefix, node.metadata.name);
  party.node = node.metadata.name;
  party.is_host = true;
  party.from_own_workloads =
      resolve_settings(configurations, node.metadata.name, node.metadata.labels).endpoint_to_host;
  if (node.ipv4) party.addresses.push_back(node.ipv4->address);
  if (node.ipv6) party.addresses.push_back(node.ipv6->address);
  return party;
}

std::string families_of(const Party& party) {
  const bool v4 = party.address(Family::kIpv4).has_value();
  const bool v6 = party.address(Family::kIpv6).has_value();
  if (v4 && v6) return "IPv4 and IPv6";
  if (v4) return "only an IPv4 address";
  return v6 ? "only an IPv6 address" : "no address";
}

}  // namespace

std::optional<IpAddress> Party::address(Family family) const {
  const auto it = std::ranges::find(addresses, family, &IpAddress::family);
  return it == addresses.end() ? std::nullopt : std::optional(*it);
}

Inventory::Inventory(const policy::Snapshot& snapshot) {
  take_host_policies(snapshot);
  take_hosts(snapshot);
  std::map<std::string, int> uses;
  for (const auto& [key, resource] : snapshot) {
    if (const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource)) ++uses[workload_name(*endpoint)];
  }
  for (const auto& [key, resource] : snapshot) {
    const auto* endpoint = std::get_if<WorkloadEndpoint>(&resource);
    if (!endpoint || endpoint->addresses.empty()) continue;
    const std::string workload = workload_name(*endpoint);
    const std::string own = fmt::format("{}/{}", key.ns, key.name);
    Party party;
    party.name = uses[workload] == 1 ? workload : own;
    party.endpoint = key;
    party.node = endpoint->node;
    party.addresses = endpoint->addresses;
    if (const auto it = policy_by_node_.find(party.node); it != policy_by_node_.end()) {
      party.host_policy = it->second;
    }
    endpoints_.push_back(std::move(party));
  }
  std::ranges::sort(endpoints_, {}, [](const Party& party) { return std::tie(party.name, *party.endpoint); });
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    const auto& endpoint = std::get<WorkloadEndpoint>(snapshot.at(*endpoints_[i].endpoint));
    const ResourceKey& key = *endpoints_[i].endpoint;
    const std::string own = fmt::format("{}/{}", key.ns, key.name);
    endpoints_by_name_[own].push_back(i);
    if (const std::string workload = workload_name(endpoint); workload != own) {
      endpoints_by_name_[workload].push_back(i);
    }
    for (const IpAddress& address : endpoint.addresses) endpoints_by_address_.emplace(address, i);
  }
}

void Inventory::take_host_policies(const policy::Snapshot& snapshot) {
  // Better first; of equals the first by key stays.
  enum class Match : std::uint8_t { kAddress, kName, kAll };
  std::map<std::string, Match> matches;
  for (const auto& [key, resource] : snapshot) {
    const auto* endpoint = std::get_if<HostEndpoint>(&resource);
    if (endpoint == nullptr) continue;
    const auto node = snapshot.find({Kind::kNode, "", endpoint->node});
    const auto* there = node == snapshot.end() ? nullptr : std::get_if<Node>(&node->second);
    const auto expects = [&](const std::optional<Prefix>& address) {
      return address && std::ranges::count(endpoint->expected_addresses, address->address) > 0;
    };
    const bool all = endpoint->interface_name == "*";
    Match match = Match::kAll;
    if (!all) {
      const bool by_address = there != nullptr && (expects(there->ipv4) || expects(there->ipv6));
      if (!by_address && (endpoint->interface_name.empty() || !endpoint->expected_addresses.empty()))
        continue;
      match = by_address ? Match::kAddress : Match::kName;
    }
    const auto [known, is_new] = matches.emplace(endpoint->node, match);
    if (!is_new && known->second <= match) continue;
    known->second = match;
    policy_by_node_.insert_or_assign(endpoint->node, HostPolicy{key, all, match == Match::kName});
  }
}

void Inventory::take_hosts(const policy::Snapshot& snapshot) {
  FelixConfigurations configurations;
  for (const auto& [key, resource] : snapshot) {
    if (const auto* configuration = std::get_if<FelixConfiguration>(&resource)) {
      configurations.emplace(configuration->metadata.name, *configuration);
    }
  }
  for (const auto& [key, resource] : snapshot) {
    if (const auto* node = std::get_if<Node>(&resource)) {
      auto party = party_of(*node, configurations);
      if (const auto it = policy_by_node_.find(party.node); it != policy_by_node_.end()) {
        party.host_policy = it->second;
        party.endpoint = it->second.endpoint;
      }
      hosts_.emplace(node->metadata.name, std::move(party));
    }
  }
}

std::vector<Party> Inventory::hosts() const {
  std::vector<Party> hosts;
  for (const auto& [name, host] : hosts_) {
    if (!host.addresses.empty()) hosts.push_back(host);
  }
  return hosts;
}

std::vector<Party> Inventory::parties() const {
  auto parties = endpoints_;
  for (auto& host : hosts()) {
    if (host.host_policy) parties.push_back(std::move(host));
  }
  return parties;
}

Result<Party> Inventory::find(std::string_view text) const {
  if (text.starts_with(kHostPrefix)) return find_host(text.substr(kHostPrefix.size()));
  if (const auto address = IpAddress::parse(text)) {
    Party party;
    if (const auto it = endpoints_by_address_.find(*address); it != endpoints_by_address_.end()) {
      party = endpoints_[it->second];
    } else {
      const auto host = std::ranges::find_if(hosts_, [&](const auto& entry) {
        return std::ranges::count(entry.second.addresses, *address) > 0;
      });
      if (host != hosts_.end()) party = host->second;
    }
    party.name =
        party.name.empty() ? address->to_string() : fmt::format("{} ({})", party.name, address->to_string());
    party.addresses = {*address};
    return party;
  }
  TRY_VOID(check_name(text));
  return find_endpoint(text);
}

Result<void> Inventory::check_name(std::string_view text) {
  if (text.starts_with(kHostPrefix) || IpAddress::parse(text) || text.find('/') != std::string_view::npos) {
    return {};
  }
  return fail(ErrorCode::kInvalid,
              "\"{}\": name a workload as NAMESPACE/NAME, a node as host:NAME, or give an IP address", text);
}

Result<Party> Inventory::find_host(std::string_view name) const {
  const auto it = hosts_.find(std::string(name));
  if (it == hosts_.end()) {
    std::vector<std::string_view> names;
    names.reserve(hosts_.size());
    for (const auto& [host, party] : hosts_) names.push_back(host);
    if (names.empty())
      return fail(ErrorCode::kNotFound, "there is no Node \"{}\": there are no nodes at all", name);
    if (names.size() > 10) names.resize(10);
    return fail(ErrorCode::kNotFound, "there is no Node \"{}\"; there are {}", name, fmt::join(names, ", "));
  }
  if (it->second.addresses.empty())
    return fail(ErrorCode::kInvalid, "Node \"{}\" has no address in spec.bgp", name);
  return it->second;
}

Result<Party> Inventory::find_endpoint(std::string_view text) const {
  const auto it = endpoints_by_name_.find(std::string(text));
  if (it == endpoints_by_name_.end()) {
    const std::string_view ns = text.substr(0, text.find('/') + 1);
    std::vector<std::string> near;
    for (const Party& party : endpoints_) {
      if (party.name.starts_with(ns) && near.size() < 10) near.push_back(party.name);
    }
    if (near.empty()) {
      return fail(ErrorCode::kNotFound,
                  "there is no workload endpoint \"{}\" with an address, and none in its namespace", text);
    }
    return fail(ErrorCode::kNotFound,
                "there is no workload endpoint \"{}\" with an address; in its namespace there are {}", text,
                fmt::join(near, ", "));
  }
  if (it->second.size() > 1) {
    std::vector<std::string> names;
    for (const std::size_t index : it->second) names.push_back(endpoints_[index].endpoint->to_string());
    return fail(ErrorCode::kInvalid, "\"{}\" has several endpoints: name one of {}", text,
                fmt::join(names, ", "));
  }
  return endpoints_[it->second.front()];
}

Result<Family> common_family(const Party& from, const Party& to, std::optional<Family> wanted) {
  for (const Family family : kFamilies) {
    if (wanted && *wanted != family) continue;
    if (from.address(family) && to.address(family)) return family;
  }
  if (wanted) {
    const Party& lacking = from.address(*wanted) ? to : from;
    return fail(ErrorCode::kInvalid, "{} has {}, so it cannot talk over IPv{}", lacking.name,
                families_of(lacking), *wanted == Family::kIpv4 ? 4 : 6);
  }
  return fail(ErrorCode::kInvalid, "{} has {} and {} has {}: they have no family in common", from.name,
              families_of(from), to.name, families_of(to));
}

}  // namespace ocicat::views
