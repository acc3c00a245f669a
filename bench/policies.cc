#include "bench/policies.h"

#include <fmt/format.h>

namespace ocicat::bench {
namespace {

constexpr std::uint32_t kFirstKnown = 0xac100000;  // 172.16.0.0

NetworkPolicy policy_for(const std::string& name, const std::string& workload) {
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = name;
  policy.selector = fmt::format("name == '{}'", workload);
  return policy;
}

Rule rule_to(const IpAddress& address) {
  Rule rule;
  rule.destination.nets = {Prefix::host(address)};
  return rule;
}

test::Item workload_item(const std::string& station) {
  WorkloadEndpoint endpoint;
  endpoint.metadata.name = station;
  endpoint.metadata.ns = "bench";
  endpoint.metadata.labels["name"] = station;
  endpoint.node = test::kShapeNode;
  endpoint.orchestrator = "k8s";
  endpoint.workload = station;
  endpoint.interface_name = "cali" + station;
  endpoint.addresses = {address_of_station(station)};
  return test::item(Kind::kWorkloadEndpoint, std::move(endpoint));
}

}  // namespace

IpAddress known_address(std::uint32_t number) {
  return IpAddress::v4(kFirstKnown + number);
}

std::uint16_t known_port(std::uint32_t number) {
  return static_cast<std::uint16_t>(6'000 + test::mixed(3, number) % 30'000);
}

PolicyStates::PolicyStates(const Options& options) : rules_a_policy_(options.rules_a_policy) {
  auto open = policy_for("b-takes", "b");
  open.applies_to_ingress = true;
  open.ingress.emplace_back();
  add(test::item(Kind::kGlobalNetworkPolicy, std::move(open)));
  auto inside = policy_for("a-sends", "a");
  inside.applies_to_egress = true;
  inside.egress.push_back(rule_to(address_of_station("b")));
  add(test::item(Kind::kGlobalNetworkPolicy, std::move(inside)));
  add(workload_item("a"));
  add(workload_item("b"));
  for (std::uint32_t i = 0; i < options.known; ++i) {
    auto endpoint = test::workload("elsewhere", "bench", i, kFirstKnown + i);
    endpoint.profiles.clear();
    add(test::item(Kind::kWorkloadEndpoint, std::move(endpoint)));
  }
}

HostChanges PolicyStates::with(unsigned rules) {
  for (; rules_ < rules; ++rules_) {
    if (rules_ % rules_a_policy_ == 0) {
      flush_policy();
      policy_ = policy_for(fmt::format("a-sends-{}", rules_ / rules_a_policy_), "a");
      policy_.applies_to_egress = true;
    }
    auto rule = rule_to(known_address(rules_));
    rule.protocol = ProtocolMatch{kUdp, false};
    rule.destination.ports = {PortRange{known_port(rules_), known_port(rules_)}};
    policy_.egress.push_back(std::move(rule));
  }
  flush_policy();
  flush();
  return all_;
}

void PolicyStates::flush_policy() {
  if (!policy_.egress.empty()) add(test::item(Kind::kGlobalNetworkPolicy, policy_));
}

void PolicyStates::add(test::Item item) {
  constexpr std::size_t kBatch = 1'000;
  batch_.update(std::move(item.key), std::move(item.resource));
  if (batch_.size() >= kBatch) flush();
}

void PolicyStates::flush() {
  all_.absorb(engine_.update(batch_));
  batch_.clear();
}

}  // namespace ocicat::bench
