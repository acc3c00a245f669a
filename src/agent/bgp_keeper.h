// What informers saw becomes what the router should do. The part of BgpLoop that neither waits nor knows the
// time.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "api/client/informer.h"
#include "network/bgp/intent.h"

namespace ocicat::agent {

struct BgpUpdate {
  api::Update resources;                                        // of bgp_kinds()
  Changes<ResourceKey, network::bgp::LocalWorkload> workloads;  // of this host

  void absorb(BgpUpdate later);
};

// Endpoints of this host, for peers that are workloads; others have gone as far as this host is concerned.
Changes<ResourceKey, network::bgp::LocalWorkload> local_workloads(const api::Update& update,
                                                                  const std::string& node);

class BgpKeeper {
 public:
  BgpKeeper(std::string node, network::bgp::Secrets secrets);

  // Nothing before the first update that is in sync.
  std::optional<network::bgp::BgpIntent> take(BgpUpdate update);

 private:
  void set(const ResourceKey& key, const Resource& resource);
  void set(const ResourceKey& key, const BlockClaim& claim);
  void set(const ResourceKey& key, const EndpointSlice& slice);
  void forget_slice(const ResourceKey& key);
  void remove(const ResourceKey& key);
  std::vector<network::bgp::Service> services() const;

  network::bgp::Input input_;
  network::bgp::Secrets secrets_;
  std::map<ResourceKey, network::bgp::LocalWorkload> workloads_;
  std::map<ResourceKey, network::bgp::Block> blocks_;  // of this host
  std::map<ResourceKey, Service> services_;
  // Services with a ready endpoint on this host, as namespace and name, and the slices that say so.
  std::map<std::pair<std::string, std::string>, std::set<ResourceKey>> ready_here_;
  std::map<ResourceKey, std::pair<std::string, std::string>> service_by_slice_;
  bool in_sync_ = false;
};

// Reads FOLDER/NAME/KEY, as Kubernetes mounts a Secret; an end of line at the end does not count.
network::bgp::Secrets secrets_in(std::string folder);

}  // namespace ocicat::agent
