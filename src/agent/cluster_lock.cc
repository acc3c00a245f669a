#include "agent/cluster_lock.h"

#include <spdlog/spdlog.h>

#include <atomic>

#include "api/client/informer.h"
#include "resources/decode.h"

namespace ocicat::agent {
namespace {

const ResourceKey kKey{Kind::kClusterInformation, "", "default"};

std::string locked_by_it() {
  return fmt::format(
      "ClusterInformation {0} has datastoreReady: false; see: ocicat get clusterinformation {0} -o yaml",
      kKey.name);
}

bool locks(const Resource& resource) {
  return !std::get<ClusterInformation>(resource).datastore_ready;
}

}  // namespace

struct ClusterLock::State {
  explicit State(const api::Address& server) : address(server) {}

  const api::Address address;
  std::atomic<bool> listed = false;
  std::atomic<bool> locked = false;
  std::unique_ptr<api::Informers> informers;

  void take(const api::Update& update) {
    for (const auto& [key, resource] : update.resources.entries()) {
      if (key != kKey) continue;
      const bool now = resource && locks(*resource);
      if (now != locked.exchange(now))
        spdlog::warn(
            "ClusterInformation {}: {}", kKey.name,
            now ? "the datastore is not ready: no workload is added" : "the datastore is ready again");
    }
    listed = listed || update.in_sync;
  }

  // Of the server itself, for who cannot wait for the list.
  std::string ask() const {
    const auto document = api::Client(address).get(kKey);
    if (!document && document.error().code == ErrorCode::kNotFound) return {};
    const auto resource = document ? decode(kKey.kind, *document) : std::unexpected(document.error());
    if (!resource)
      return fmt::format("whether the cluster is locked is not known: {}; see: ocicat status",
                         resource.error().message);
    return locks(*resource) ? locked_by_it() : std::string();
  }
};

ClusterLock::ClusterLock(const api::Address& server) : state_(std::make_unique<State>(server)) {
  const auto kinds = cni_kinds();
  state_->informers = std::make_unique<api::Informers>(
      server, std::vector(kinds.begin(), kinds.end()),
      [state = state_.get()](const api::Update& update) { state->take(update); });
}

ClusterLock::~ClusterLock() {
  state_->informers.reset();
}

std::string ClusterLock::why_locked() const {
  if (state_->locked) return locked_by_it();
  return state_->listed ? std::string() : state_->ask();
}

}  // namespace ocicat::agent
