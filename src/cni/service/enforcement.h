// Whether what the server was told of an endpoint is in force in the kernel: its policy, its limits and its
// routes; and how large packets may be.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "resources/kinds.h"

namespace ocicat::cni {

class Enforcement {
 public:
  class Watch {
   public:
    virtual ~Watch() = default;
    // Until the endpoint, as of this revision of its kind or a later one, is in force with these addresses,
    // in any order. False: it was not by then.
    virtual bool wait(std::uint64_t revision, const std::vector<IpAddress>& addresses,
                      std::chrono::steady_clock::time_point until) = 0;
    // What the agent has said meanwhile of why it is not; empty: nothing.
    virtual std::string why_not() const = 0;
  };

  virtual ~Enforcement() = default;
  // Begins to look. What was in force before it, and has not been looked at since, does not count.
  virtual std::unique_ptr<Watch> watch(const ResourceKey& endpoint) = 0;
  // Asks for a look at what is in force, also where nothing changes.
  virtual void look() = 0;
  // The endpoints of this host that its agent has been told of, in force or not; nothing where it does not say in time.
  virtual std::optional<std::vector<ResourceKey>> endpoints() = 0;
  // Whether there is policy on this host at all: where its agent keeps routes alone, what is in force is the
  // rest.
  virtual bool judges() const = 0;

  // The largest packet of a workload that every way out of the host takes; 0: not known yet.
  virtual std::uint32_t mtu() const = 0;
  // Called when that has become another, on whichever thread; never again once this has been called with
  // another function, or none.
  virtual void on_mtu(std::function<void()> changed) = 0;
};

}  // namespace ocicat::cni
