#include "agent/bgp_keeper.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>
#include <variant>

#include "resources/schema_text.h"

namespace ocicat::agent {
namespace {

constexpr std::size_t kLongestSecret = 4096;

// What may be part of a path: no slash, not "..".
bool is_plain(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name != "." && name != ".." &&
         name.find('\0') == std::string::npos;
}

}  // namespace

void BgpUpdate::absorb(BgpUpdate later) {
  resources.absorb(std::move(later.resources));
  workloads.absorb(std::move(later.workloads));
}

Changes<ResourceKey, network::bgp::LocalWorkload> local_workloads(const api::Update& update,
                                                                  const std::string& node) {
  Changes<ResourceKey, network::bgp::LocalWorkload> changes;
  for (const auto& [key, resource] : update.resources.entries()) {
    if (key.kind != Kind::kWorkloadEndpoint && key.kind != Kind::kPod) continue;
    const auto* endpoint = resource ? std::get_if<WorkloadEndpoint>(&*resource) : nullptr;
    if (endpoint == nullptr || endpoint->node != node || endpoint->addresses.empty()) {
      changes.remove(key);
    } else {
      changes.update(key, {key.ns + "/" + key.name, endpoint->metadata.labels, endpoint->addresses});
    }
  }
  return changes;
}

BgpKeeper::BgpKeeper(std::string node, network::bgp::Secrets secrets) : secrets_(std::move(secrets)) {
  input_.node = std::move(node);
}

std::optional<network::bgp::BgpIntent> BgpKeeper::take(BgpUpdate update) {
  for (const auto& [key, resource] : update.resources.resources.entries()) {
    if (resource) {
      set(key, *resource);
    } else {
      remove(key);
    }
  }
  update.workloads.apply_to(workloads_);
  in_sync_ |= update.resources.in_sync;
  if (!in_sync_) return std::nullopt;
  input_.workloads.clear();
  for (const auto& [key, workload] : workloads_) input_.workloads.push_back(workload);
  input_.blocks.clear();
  for (const auto& [key, block] : blocks_) input_.blocks.push_back(block);
  input_.services = services();
  return network::bgp::intent_for(input_, secrets_);
}

std::vector<network::bgp::Service> BgpKeeper::services() const {
  using From = network::bgp::Service::From;
  std::vector<network::bgp::Service> all;
  for (const auto& [key, service] : services_) {
    all.push_back({.name = key.ns + "/" + key.name,
                   .from = service.local_only ? From::kLocal : From::kCluster,
                   .ready_here = ready_here_.contains({key.ns, key.name}),
                   .cluster_addresses = service.cluster_addresses,
                   .external_addresses = service.external_addresses,
                   .load_balancer_addresses = service.load_balancer_addresses});
  }
  return all;
}

void BgpKeeper::set(const ResourceKey& key, const BlockClaim& claim) {
  if (claim.node == input_.node) {
    blocks_.insert_or_assign(key, network::bgp::Block{claim.cidr, claim.node, claim.confirmed});
  } else {
    blocks_.erase(key);
  }
}

void BgpKeeper::set(const ResourceKey& key, const EndpointSlice& slice) {
  forget_slice(key);
  if (slice.service.empty() || !std::ranges::binary_search(slice.ready_on, input_.node)) return;
  const std::pair service{key.ns, slice.service};
  service_by_slice_.emplace(key, service);
  ready_here_[service].insert(key);
}

void BgpKeeper::forget_slice(const ResourceKey& key) {
  const auto it = service_by_slice_.find(key);
  if (it == service_by_slice_.end()) return;
  const auto ready = ready_here_.find(it->second);
  ready->second.erase(key);
  if (ready->second.empty()) ready_here_.erase(ready);
  service_by_slice_.erase(it);
}

void BgpKeeper::set(const ResourceKey& key, const Resource& resource) {
  std::visit(
      [&]<class T>(const T& value) {
        if constexpr (std::is_same_v<T, Node>) {
          input_.nodes.insert_or_assign(key.name, value);
        } else if constexpr (std::is_same_v<T, IpPool>) {
          input_.pools.insert_or_assign(key.name, value);
        } else if constexpr (std::is_same_v<T, BgpConfiguration>) {
          input_.configurations.insert_or_assign(key.name, value);
        } else if constexpr (std::is_same_v<T, BgpPeer>) {
          input_.peers.insert_or_assign(key.name, value);
        } else if constexpr (std::is_same_v<T, BgpFilter>) {
          input_.filters.insert_or_assign(key.name, value);
        } else if constexpr (std::is_same_v<T, Service>) {
          services_.insert_or_assign(key, value);
        } else if constexpr (std::is_same_v<T, BlockClaim> || std::is_same_v<T, EndpointSlice>) {
          set(key, value);
        }
      },
      resource);
}

void BgpKeeper::remove(const ResourceKey& key) {
  switch (key.kind) {
    case Kind::kNode:
      input_.nodes.erase(key.name);
      break;
    case Kind::kIpPool:
      input_.pools.erase(key.name);
      break;
    case Kind::kBgpConfiguration:
      input_.configurations.erase(key.name);
      break;
    case Kind::kBgpPeer:
      input_.peers.erase(key.name);
      break;
    case Kind::kBgpFilter:
      input_.filters.erase(key.name);
      break;
    case Kind::kBlockAffinity:
      blocks_.erase(key);
      break;
    case Kind::kService:
      services_.erase(key);
      break;
    case Kind::kEndpointSlice:
      forget_slice(key);
      break;
    default:
      break;
  }
}

network::bgp::Secrets secrets_in(std::string folder) {
  return [folder = std::move(folder)](const SecretKey& key) -> Result<std::string> {
    if (folder.empty())
      return fail(ErrorCode::kNotFound, "the password {}/{} is not known: start the agent with --bgp-secrets",
                  key.name, key.key);
    if (!is_plain(key.name) || !is_plain(key.key))
      return fail(ErrorCode::kInvalid, "{}/{} cannot be the name of a secret", key.name, key.key);
    const auto path = fmt::format("{}/{}/{}", folder, key.name, key.key);
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::kNotFound, "the password {} cannot be read", path);
    std::string text(kLongestSecret, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    return text;
  };
}

}  // namespace ocicat::agent
