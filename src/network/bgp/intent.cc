#include "network/bgp/intent.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/digest.h"
#include "network/bgp/sessions.h"
#include "network/bgp/settings.h"

namespace ocicat::network::bgp {
namespace {

constexpr std::string_view kNoServicesLabel = "node.kubernetes.io/exclude-from-external-load-balancers";

void settle(std::vector<Prefix>& prefixes) {
  std::ranges::sort(prefixes);
  prefixes.erase(std::ranges::unique(prefixes).begin(), prefixes.end());
}

// A host without an IPv4 address goes by a number made of its name; never 0, which is none (RFC 6286).
IpAddress router_id_of(const std::string& name, const Node* node) {
  if (node != nullptr && node->ipv4 && node->ipv4->address != IpAddress::v4(0)) return node->ipv4->address;
  std::uint32_t id = 0;
  const auto digest = Digest::of(name);
  for (std::size_t i = 0; i < 4; ++i) id = id << 8 | digest.bytes[i];
  return IpAddress::v4(id == 0 ? 1 : id);
}

bool in_any(const std::vector<Prefix>& nets, const IpAddress& address) {
  return std::ranges::any_of(nets, [&](const Prefix& net) { return net.contains(address); });
}

// What one kind of address of services amounts to: nets as a whole, or single addresses.
class ServicePrefixes {
 public:
  ServicePrefixes(const std::vector<Prefix>& nets, bool aggregate) : nets_(nets) {
    if (!aggregate) return;
    // A net of one address is told where a service has it.
    for (const auto& net : nets) {
      if (!net.is_host()) prefixes_.push_back(net);
    }
    aggregated_ = prefixes_;
  }

  void add(const Service& service, const std::vector<IpAddress>& addresses) {
    for (const auto& address : addresses) {
      if (!in_any(nets_, address)) continue;
      const bool local = service.from == Service::From::kLocal;
      if (local ? service.ready_here : !in_any(aggregated_, address))
        prefixes_.push_back(Prefix::host(address));
    }
  }

  const std::vector<Prefix>& prefixes() const { return prefixes_; }

 private:
  const std::vector<Prefix>& nets_;
  std::vector<Prefix> aggregated_;
  std::vector<Prefix> prefixes_;
};

std::vector<Prefix> services_of(const Input& input, const Node& self, const BgpConfiguration& common) {
  if (self.metadata.labels.contains(std::string(kNoServicesLabel))) return {};
  ServicePrefixes cluster(common.service_cluster_nets, true);
  ServicePrefixes external(common.service_external_nets, true);
  ServicePrefixes balanced(common.service_load_balancer_nets, common.aggregates_load_balancers);
  for (const auto& service : input.services) {
    cluster.add(service, service.cluster_addresses);
    external.add(service, service.external_addresses);
    balanced.add(service, service.load_balancer_addresses);
  }
  std::vector<Prefix> all;
  for (const auto* some : {&cluster, &external, &balanced})
    all.insert(all.end(), some->prefixes().begin(), some->prefixes().end());
  settle(all);
  return all;
}

FamilyIntent& of(BgpIntent& intent, Family family) {
  return intent.families[family == Family::kIpv4 ? 0 : 1];
}

void add_services(const Input& input, const Node& self, const BgpConfiguration& common, BgpIntent& intent) {
  for (const auto* nets :
       {&common.service_cluster_nets, &common.service_external_nets, &common.service_load_balancer_nets}) {
    for (const auto& net : *nets) of(intent, net.family()).service_nets.push_back(net);
  }
  for (const auto& prefix : services_of(input, self, common))
    of(intent, prefix.family()).services.push_back(prefix);
}

void add_pools(const Input& input, BgpIntent& intent) {
  const bool programs = programs_routes(input.configurations, input.node);
  for (const auto& [name, pool] : input.pools) {
    auto& family = of(intent, pool.cidr.family());
    (pool.exported ? family.exported_pools : family.hidden_pools).push_back(pool.cidr);
    if (pool.encapsulated() || !programs) family.unprogrammed_pools.push_back(pool.cidr);
  }
}

void add_blocks(const Input& input, BgpIntent& intent) {
  for (const auto& block : input.blocks) {
    if (block.node != input.node) continue;
    auto& family = of(intent, block.prefix.family());
    (block.confirmed ? family.confirmed_blocks : family.unconfirmed_blocks).push_back(block.prefix.masked());
  }
  for (auto& family : intent.families) {
    settle(family.confirmed_blocks);
    settle(family.unconfirmed_blocks);
    std::erase_if(family.unconfirmed_blocks, [&](const Prefix& block) {
      return std::ranges::binary_search(family.confirmed_blocks, block);
    });
  }
}

}  // namespace

bool programs_routes(const std::map<std::string, BgpConfiguration>& configurations, const std::string& node) {
  using Programs = BgpConfiguration::Programs;
  const auto which =
      Settings(configurations, node).get(&BgpConfiguration::programs, Programs::kNoEncapsulationOnly);
  return which == Programs::kAll || which == Programs::kNoEncapsulationOnly;
}

BgpIntent intent_for(const Input& input, const Secrets& secrets) {
  BgpIntent intent;
  const auto self = input.nodes.find(input.node);
  const Settings settings(input.configurations, input.node);
  intent.router_id = router_id_of(input.node, self == input.nodes.end() ? nullptr : &self->second);
  intent.listen_port = settings.get(&BgpConfiguration::listen_port, kDefaultPort);
  intent.binds_node_address = settings.get(&BgpConfiguration::bind_mode, BgpConfiguration::BindMode::kAny) ==
                              BgpConfiguration::BindMode::kNodeAddress;
  if (auto severity = settings.get(&BgpConfiguration::log_severity); !severity.empty())
    intent.log_severity = std::move(severity);
  intent.ignored_interfaces = settings.get(&BgpConfiguration::ignored_interfaces);
  for (const auto family : kFamilies)
    of(intent, family).metric = settings.get(&BgpConfiguration::priorities, family).value_or(kDefaultMetric);
  for (auto& advertisement : settings.get(&BgpConfiguration::advertisements, {}))
    of(intent, advertisement.cidr.family()).advertisements.push_back(std::move(advertisement));
  add_pools(input, intent);
  add_blocks(input, intent);
  if (self == input.nodes.end()) {
    intent.left_out.push_back(
        {fmt::format("Node {}", input.node), "it is not known: this host speaks with nobody"});
    return intent;
  }
  const auto* common = settings.common();
  intent.as_number = self->second.as_number.value_or(
      common != nullptr ? common->as_number.value_or(kDefaultAsNumber) : kDefaultAsNumber);
  intent.reflector_cluster = self->second.reflector_cluster;
  if (common != nullptr) add_services(input, self->second, *common, intent);
  for (auto& family : intent.families) {
    for (auto* list : {&family.service_nets, &family.services, &family.exported_pools, &family.hidden_pools,
                       &family.unprogrammed_pools})
      settle(*list);
  }
  auto sessions = sessions_of(input, self->second, secrets);
  intent.sessions = std::move(sessions.sessions);
  intent.left_out = std::move(sessions.left_out);
  std::ranges::sort(intent.left_out);
  intent.left_out.erase(std::ranges::unique(intent.left_out).begin(), intent.left_out.end());
  for (const auto& session : intent.sessions) {
    for (const auto& filter : session.filters) intent.filters.emplace(filter, input.filters.at(filter));
  }
  return intent;
}

}  // namespace ocicat::network::bgp
