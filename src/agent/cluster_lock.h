// Whether somebody has locked the cluster: ClusterInformation `default` with `datastoreReady: false`, as Calico's tools
// write it while they move its data. Followed, so that no call of a runtime has to ask, once it has been listed.
#pragma once

#include <memory>
#include <string>

#include "api/client/client.h"

namespace ocicat::agent {

class ClusterLock {
 public:
  explicit ClusterLock(const api::Address& server);
  ~ClusterLock();
  ClusterLock(const ClusterLock&) = delete;
  ClusterLock& operator=(const ClusterLock&) = delete;

  // Empty: it is not. A server that does not know the kind, or has no such document, locks nothing. What was said last
  // counts while the server is away; where nothing has been said yet the server is asked, and who cannot ask it does not
  // know.
  std::string why_locked() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat::agent
