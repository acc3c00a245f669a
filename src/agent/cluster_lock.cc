#include "agent/cluster_lock.h"

#include <spdlog/spdlog.h>

#include <atomic>

#include "api/client/informer.h"

namespace ocicat::agent {
namespace {

constexpr std::string_view kName = "default";

}  // namespace

struct ClusterLock::State {
  std::atomic<bool> listed = false;
  std::atomic<bool> locked = false;
  std::unique_ptr<api::Informers> informers;

  void take(const api::Update& update) {
    for (const auto& [key, resource] : update.resources.entries()) {
      if (key.kind != Kind::kClusterInformation || key.name != kName) continue;
      const bool now = resource && !std::get<ClusterInformation>(*resource).datastore_ready;
      if (now != locked.exchange(now))
        spdlog::warn(
            "ClusterInformation {}: {}", kName,
            now ? "the datastore is not ready: no workload is added" : "the datastore is ready again");
    }
    listed = listed || update.in_sync;
  }
};

ClusterLock::ClusterLock(const api::Address& server) : state_(std::make_unique<State>()) {
  const auto kinds = cni_kinds();
  state_->informers = std::make_unique<api::Informers>(
      server, std::vector(kinds.begin(), kinds.end()),
      [state = state_.get()](const api::Update& update) { state->take(update); });
}

ClusterLock::~ClusterLock() {
  state_->informers.reset();
}

std::string ClusterLock::why_locked() const {
  if (state_->locked)
    return "ClusterInformation default has datastoreReady: false; see: ocicat get clusterinformation default "
           "-o yaml";
  if (state_->listed || !state_->informers->status().last_error.empty()) return {};
  return "whether the datastore is ready is not known yet; see: ocicat status";
}

}  // namespace ocicat::agent
