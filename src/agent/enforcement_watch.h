// Tells who waits for an endpoint when the kernel enforces it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>

#include "agent/agent_status.h"
#include "base/mailbox.h"
#include "cni/service/enforcement.h"
#include "dataplane/host_keeper.h"

namespace ocicat::agent {

// Costs the dataplane nothing while nobody waits. Safe for any number of threads.
class EnforcementWatch : public cni::Enforcement {
 public:
  // Borrows the dataplane's mailbox, to ask for a look; only once the dataplane has had its first message.
  explicit EnforcementWatch(Mailbox<HostChanges>& to_dataplane) : to_dataplane_(to_dataplane) {}

  // On the dataplane's thread, after each attempt.
  void attempted(const dataplane::HostKeeper& keeper);

  // On the reporter's thread, at news.
  void told(const AgentStatus& status);

  std::unique_ptr<Watch> watch(const ResourceKey& endpoint) override;
  void look() override { to_dataplane_.put({}); }
  std::optional<std::vector<ResourceKey>> endpoints() override;
  bool judges() const override { return judges_; }
  std::uint32_t mtu() const override { return mtu_; }
  void on_mtu(std::function<void()> changed) override;

 private:
  class Waiting;

  Mailbox<HostChanges>& to_dataplane_;
  std::mutex mutex_;
  std::condition_variable looked_;
  std::set<Waiting*> waiting_;
  std::uint64_t asked_ = 0, listed_ = 0;  // for and at which call of endpoints() they were listed last
  std::vector<ResourceKey> endpoints_;
  std::atomic<bool> judges_ = true;
  std::atomic<std::uint32_t> mtu_ = 0;
  std::mutex mtu_mutex_;  // held while it is told
  std::function<void()> mtu_changed_;
};

}  // namespace ocicat::agent
