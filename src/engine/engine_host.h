// For tests: an engine of one host with the state that its changes lead to, and objects in few words.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "engine/engine.h"
#include "policy/simulator.h"
#include "test/support/world.h"

namespace ocicat::test {

inline WorkloadEndpoint endpoint(const std::string& name, const std::string& node,
                                 const std::string& interface_name, const std::string& address,
                                 Labels labels = {}) {
  WorkloadEndpoint result;
  result.metadata.name = name;
  result.metadata.ns = "shop";
  result.metadata.labels = std::move(labels);
  result.node = node;
  result.interface_name = interface_name;
  result.addresses = {test::address(address)};
  return result;
}

inline ResourceKey key(const std::string& name) {
  return {Kind::kWorkloadEndpoint, "shop", name};
}

inline Node node(const std::string& name, const std::string& address) {
  Node result;
  result.metadata.name = name;
  result.ipv4 = test::prefix(address);
  return result;
}

inline NetworkPolicy allow_from(const std::string& name, const std::string& selector,
                                const std::string& source) {
  Rule rule;
  rule.source.selector = source;
  auto policy = global_ingress(name, {rule});
  policy.selector = selector;
  return policy;
}

inline ResourceKey policy_key(const std::string& name) {
  return {Kind::kGlobalNetworkPolicy, "", name};
}

// An engine and the state that its changes lead to.
struct EngineHost {
  explicit EngineHost(std::optional<std::string> node, policy::Dictionary dictionary = {},
                      Engine::Router router = Engine::Router::kNone)
      : engine({.node = std::move(node), .dictionary = std::move(dictionary), .router = router}) {}

  HostChanges set(const ResourceKey& at, const Resource& resource) {
    ResourceChanges changes;
    changes.update(at, resource);
    return step(changes);
  }
  HostChanges remove(const ResourceKey& at) {
    ResourceChanges changes;
    changes.remove(at);
    return step(changes);
  }
  HostChanges step(const ResourceChanges& changes) {
    auto out = engine.update(changes);
    out.apply_to(state);
    return out;
  }
  policy::Verdict ingress(const ResourceKey& at, const std::string& from) const {
    const auto& own = state.endpoints.at(at).addresses.front();
    const policy::Packet packet{
        .source = test::address(from), .destination = own.address, .destination_port = 80};
    return policy::Simulator(state.tables).lookup(own.ingress, packet.source, packet).verdict;
  }

  Engine engine;
  HostState state;
};

}  // namespace ocicat::test
