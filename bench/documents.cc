#include "bench/documents.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json/serialize.hpp>

#include "network/ipam_block.h"

namespace ocicat::bench {
namespace {

std::string list_of(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ","));
}

std::string quoted(std::string_view text) {
  return fmt::format("\"{}\"", text);  // nothing in a shape needs an escape
}

std::string labels_of(const Labels& labels) {
  std::vector<std::string> items;
  for (const auto& [name, value] : labels) items.push_back(fmt::format("\"{}\":\"{}\"", name, value));
  return fmt::format("{{{}}}", fmt::join(items, ","));
}

std::string metadata_of(const Metadata& metadata) {
  std::string ns = metadata.ns.empty() ? "" : fmt::format(R"("namespace":"{}",)", metadata.ns);
  return fmt::format(
      R"("metadata":{{"creationTimestamp":"2026-02-03T04:05:06Z","generation":1,"labels":{},"name":"{}",{})"
      R"("uid":"3f1c5d1e-8a55-4c5e-9d0a-6f0e5b7c9d21"}})",
      labels_of(metadata.labels), metadata.name, ns);
}

std::string side_of(const EntityRule& side) {
  std::vector<std::string> items;
  if (!side.selector.empty()) items.push_back(fmt::format(R"("selector":"{}")", side.selector));
  if (!side.nets.empty()) items.push_back(fmt::format(R"("nets":["{}"])", side.nets.front().to_string()));
  if (!side.ports.empty())
    items.push_back(fmt::format(R"("ports":[{}])", std::get<PortRange>(side.ports.front()).first));
  return fmt::format("{{{}}}", fmt::join(items, ","));
}

std::string rules_of(const std::vector<Rule>& rules) {
  std::vector<std::string> items;
  for (const auto& rule : rules) {
    const auto* action = rule.action == Action::kAllow  ? "Allow"
                         : rule.action == Action::kDeny ? "Deny"
                                                        : "Pass";
    items.push_back(fmt::format(
        R"({{"action":"{}","destination":{},{}"source":{}}})", action, side_of(rule.destination),
        rule.protocol ? fmt::format(R"("protocol":"{}",)", protocol_name(rule.protocol->number)) : "",
        side_of(rule.source)));
  }
  return list_of(items);
}

std::string spec_of(const WorkloadEndpoint& endpoint) {
  return fmt::format(
      R"({{"endpoint":"eth0","interfaceName":"{}","ipNetworks":["{}/32"],"node":"{}","orchestrator":"k8s",)"
      R"("pod":"{}","profiles":["{}"]}})",
      endpoint.interface_name, endpoint.addresses.front().to_string(), endpoint.node, endpoint.workload,
      endpoint.profiles.front());
}
std::string spec_of(const NetworkPolicy& policy) {
  return fmt::format(
      R"({{"egress":{},"ingress":{},"selector":"{}","tier":"{}","types":["Ingress","Egress"]}})",
      rules_of(policy.egress), rules_of(policy.ingress), policy.selector, policy.tier);
}
std::string spec_of(const NetworkSet& set) {
  std::vector<std::string> nets;
  for (const auto& net : set.nets) nets.push_back(quoted(net.to_string()));
  return fmt::format(R"({{"nets":{}}})", list_of(nets));
}
std::string spec_of(const Profile& profile) {
  return fmt::format(R"({{"labelsToApply":{}}})", labels_of(profile.labels_to_apply));
}
std::string spec_of(const Node& node) {
  return fmt::format(R"({{"bgp":{{"ipv4Address":"{}"}},"ipv4VXLANTunnelAddr":"{}"}})", node.ipv4->to_string(),
                     node.vxlan[0].address->to_string());
}
std::string spec_of(const IpPool& pool) {
  const auto* vxlan = pool.vxlan == IpPool::Encapsulation::kAlways        ? "Always"
                      : pool.vxlan == IpPool::Encapsulation::kCrossSubnet ? "CrossSubnet"
                                                                          : "Never";
  return fmt::format(R"({{"blockSize":{},"cidr":"{}","vxlanMode":"{}"}})", pool.block_size,
                     pool.cidr.to_string(), vxlan);
}
std::string spec_of(const AddressBlock& said) {
  const TimePoint made{std::chrono::seconds(1'770'091'445)};
  auto block = network::new_block(said.cidr, {BlockOwner::Type::kHost, said.node}, made);
  const auto grant_of = [&](const std::string& node, unsigned number) {
    const auto pod = fmt::format("web-7c9d8b5f4-{:05}", number);
    return network::Grant{fmt::format("k8s-pod-network.{:064x}", test::mixed(number, 1)),
                          {{"namespace", "shop"},
                           {"node", node},
                           {"pod", pod},
                           {"timestamp", "2026-02-03 04:05:06 +0000 UTC"}}};
  };
  for (const auto& [address, node] : said.elsewhere)
    CHECK(network::give_this(block, address, grant_of(node, 0)));
  for (unsigned i = 1; i <= kGivenOfBlock; ++i) network::give(block, 1, grant_of(said.node, i), {});
  return boost::json::serialize(encode(Stored<IpamBlock>{std::move(block), {}}).at("spec"));
}
template <class T>
std::string spec_of(const T&) {
  return "{}";
}

}  // namespace

std::string document_of(const test::Item& item) {
  return std::visit(
      [&](const auto& value) {
        const auto& kind = info(item.key.kind);
        return fmt::format(R"({{"apiVersion":"{}","kind":"{}",{},"spec":{}}})", kind.api_version(), kind.name,
                           metadata_of(value.metadata), spec_of(value));
      },
      item.resource);
}

}  // namespace ocicat::bench
