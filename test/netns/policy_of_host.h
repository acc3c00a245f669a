// A datapath's policy at work on a testbed's host, without an agent.
#pragma once

#include <memory>

#include "dataplane/hosts/host_interfaces.h"
#include "dataplane/policy_datapath.h"
#include "kernel/connections.h"
#include "kernel/nft_kernel.h"
#include "kernel/routes.h"
#include "netns/agent_host.h"

namespace ocicat::test {

class PolicyOfHost {
 public:
  PolicyOfHost(const Testbed& bed, dataplane::Datapath datapath);

  // As an agent that begins again, with what the kernel has.
  void start_anew();
  // These abort the test where they fail.
  void apply(const HostChanges& changes);
  void assign(const dataplane::HostInterfaces& interfaces);
  bool resync();
  void forget_connections() const;
  const dataplane::PolicyDatapath& policy() const { return *policy_; }

 private:
  const Testbed& bed_;
  dataplane::Datapath datapath_;
  PinFolder pins_;
  std::unique_ptr<kernel::nft::NetlinkKernel> nft_;
  std::unique_ptr<kernel::NetlinkRoutes> routes_;
  std::unique_ptr<kernel::NetlinkConnections> connections_;
  std::unique_ptr<dataplane::PolicyDatapath> policy_;
};

}  // namespace ocicat::test
