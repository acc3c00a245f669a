// Changes of resources in, changes of what hosts should look like out.
//
//   pure      no kernel, no sockets, no clock; the same input gives the same output
//   result    depends only on the resources as they stand, ids aside: updating step by step gives what
//             building from nothing gives (test: engine/engine_property_test.cc)
//   cost      proportional to what changed; see docs/performance.md
//   design    docs/design/decision-tables.md
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/host_state.h"
#include "resources/types.h"

namespace ocicat {

using ResourceChanges = Changes<ResourceKey, Resource>;

class Engine {
 public:
  // Who writes the ways to other hosts that need no tunnel.
  enum class Router : std::uint8_t {
    kNone,      // we do
    kStarting,  // we do until a router has heard from its neighbours
    kRuns,      // a router does
  };
  struct Options {
    // The host to compute for; none: every workload endpoint is local, as the simulator wants it.
    std::optional<std::string> node;
    // Ids in use by a kernel that is to be adopted.
    policy::Dictionary dictionary;
    // How many entries policy may take: projections, tables by projection, intervals of tables
    // (policy::ProgramStore::entry_count). Beyond it the workload endpoint that came last is denied all and
    // reported, and is tried again when there are fewer entries or its policy is another.
    std::size_t most_entries = kMostEntries;
    Router router = Router::kNone;
  };
  static constexpr std::size_t kMostEntries = std::size_t{1} << 24;

  explicit Engine(Options options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  // Takes in what settle() will tell the consequences of: a batch may come in as many parts as it likes.
  void take(const ResourceChanges& changes);
  // The router that was starting runs: what it writes is no longer ours. The same; O(blocks).
  void leave_to_router();
  // What follows from all that was taken in since the last time.
  HostChanges settle();
  HostChanges update(const ResourceChanges& changes) {
    take(changes);
    return settle();
  }

  struct Counters {         // for metrics, for how often an agent reports, and for tests of proportionality
    std::size_t hosts = 0;  // of the cluster
    std::size_t endpoints = 0, local_endpoints = 0, host_endpoints = 0, policies = 0, active_policies = 0;
    std::size_t sets = 0, classes = 0, programs = 0, tables = 0, outcomes = 0;
    std::size_t entries = 0, denied_endpoints = 0;  // of Options::most_entries; for want of them

    bool operator==(const Counters&) const = default;
  };
  Counters counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ocicat
