// Shapes: clusters of any size, made of a few numbers, for benchmarks and for tests at scale.
//
// Each shape makes its resources one by one, so that input need not be held, and the same ones every time:
// what is random in it comes from its seed and the number of the resource. S1 to S5 are the workloads that
// Calico's own agent is measured with, so that figures can be laid beside each other.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "resources/types.h"

namespace ocicat::test {

// The host that local endpoints of every shape are on.
inline constexpr const char* kShapeNode = "local-host";

struct Item {
  ResourceKey key;
  Resource resource;
};
// Takes what a shape makes, in the order in which it is meant to arrive.
using Take = std::function<void(Item)>;

inline Item item(Kind kind, Resource resource) {
  const auto& metadata =
      std::visit([](const auto& value) -> const Metadata& { return value.metadata; }, resource);
  return {{kind, metadata.ns, metadata.name}, std::move(resource)};
}

// A global policy that allows, for those whom `selector` selects, ingress from each of `sources`.
Item allow_from(const std::string& name, const std::string& selector,
                const std::vector<std::string>& sources);

// "kns.NAME", with the labels that a namespace hands down.
Item namespace_profile(const std::string& name, Labels labels);

// Endpoint `wep-NUMBER` with one IPv4 address; with its namespace's profile and label.
WorkloadEndpoint workload(const std::string& node, const std::string& ns, unsigned number,
                          std::uint32_t address);

// A number that looks random, from two others.
std::uint64_t mixed(std::uint64_t seed, std::uint64_t number);

}  // namespace ocicat::test
