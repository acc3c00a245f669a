// Random resources that use everything policy knows, small enough that a failure can be read.
//
//   same seed, same snapshot; print the seed with every failure
//   in them: namespaces and service accounts, workload endpoints and pods (shared addresses, missing
//   profiles), host endpoints and failsafe ports, network sets, tiers (some built in, some missing), policies
//   of all kinds (staged, broken, unreadable), rules of every form
#pragma once

#include <cstdint>

#include "base/changes.h"
#include "policy/evaluator.h"
#include "test/support/random.h"

namespace ocicat::test {

struct SnapshotSize {
  std::size_t endpoints = 6;
  std::size_t hosts = 2;
  std::size_t network_sets = 3;
  std::size_t slices = 3;
  std::size_t tiers = 3;
  std::size_t profiles = 2;
  std::size_t policies = 6;
  std::size_t rules = 3;  // at most so many in each direction of a policy
};

policy::Snapshot random_snapshot(Random& random, const SnapshotSize& size = {});

// One of the host endpoints that there are in them.
HostEndpoint random_host_endpoint(Random& random, const SnapshotSize& size = {});

// One step of a history: resources that appear, change or go, mostly one. May change nothing.
Changes<ResourceKey, Resource> random_change(Random& random, const policy::Snapshot& snapshot,
                                             const SnapshotSize& size = {});

}  // namespace ocicat::test
