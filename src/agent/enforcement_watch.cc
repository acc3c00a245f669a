#include "agent/enforcement_watch.h"

#include <algorithm>
#include <utility>

namespace ocicat::agent {

class EnforcementWatch::Waiting : public cni::Enforcement::Watch {
 public:
  Waiting(EnforcementWatch& all, ResourceKey endpoint) : all_(all), endpoint_(std::move(endpoint)) {
    const std::scoped_lock lock(all_.mutex_);
    all_.waiting_.insert(this);
  }
  ~Waiting() override {
    const std::scoped_lock lock(all_.mutex_);
    all_.waiting_.erase(this);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  // Under the lock.
  void look(const dataplane::HostKeeper& keeper) {
    const auto taken = keeper.taken().find(endpoint_.kind);
    revision_ = taken == keeper.taken().end() ? 0 : taken->second.revision;
    addresses_.clear();
    looked_ = true;
    if (const auto* state = keeper.in_force(endpoint_)) {
      for (const auto& address : state->addresses) addresses_.push_back(address.address);
    }
  }

  // Under the lock.
  void hear(const AgentStatus& status) { why_not_ = status.why_not_enforced(endpoint_); }

  bool wait(std::uint64_t revision, const std::vector<IpAddress>& addresses,
            std::chrono::steady_clock::time_point until) override {
    auto wanted = addresses;
    std::ranges::sort(wanted);
    std::unique_lock lock(all_.mutex_);
    return all_.looked_.wait_until(lock, until,
                                   [&] { return looked_ && revision_ >= revision && addresses_ == wanted; });
  }

  std::string why_not() const override {
    const std::scoped_lock lock(all_.mutex_);
    return why_not_;
  }

 private:
  EnforcementWatch& all_;
  const ResourceKey endpoint_;
  // At the last look.
  bool looked_ = false;
  std::uint64_t revision_ = 0;
  std::vector<IpAddress> addresses_;  // in force, ascending; none: it is not
  std::string why_not_;
};

void EnforcementWatch::attempted(const dataplane::HostKeeper& keeper) {
  judges_ = keeper.enforces();
  const auto mtu = keeper.report().mtu;
  if (mtu != 0 && mtu_.exchange(mtu) != mtu) {
    const std::scoped_lock lock(mtu_mutex_);
    if (mtu_changed_) mtu_changed_();
  }
  {
    const std::scoped_lock lock(mutex_);
    if (waiting_.empty() && listed_ == asked_) return;
    for (auto* waiting : waiting_) waiting->look(keeper);
    if (listed_ != asked_) {
      endpoints_.clear();
      for (const auto& [key, state] : keeper.endpoints()) endpoints_.push_back(key);
      listed_ = asked_;
    }
  }
  looked_.notify_all();
}

void EnforcementWatch::told(const AgentStatus& status) {
  const std::scoped_lock lock(mutex_);
  for (auto* waiting : waiting_) waiting->hear(status);
}

void EnforcementWatch::on_mtu(std::function<void()> changed) {
  const std::scoped_lock lock(mtu_mutex_);
  mtu_changed_ = std::move(changed);
}

std::optional<std::vector<ResourceKey>> EnforcementWatch::endpoints() {
  constexpr std::chrono::seconds kPatience{10};
  std::unique_lock lock(mutex_);
  const auto call = ++asked_;
  look();
  if (!looked_.wait_for(lock, kPatience, [&] { return listed_ >= call; })) return std::nullopt;
  return endpoints_;
}

std::unique_ptr<cni::Enforcement::Watch> EnforcementWatch::watch(const ResourceKey& endpoint) {
  return std::make_unique<Waiting>(*this, endpoint);
}

}  // namespace ocicat::agent
