// Histories that try the memory of whoever follows them: names that come back as something else, addresses
// that change hands, nets within nets, tiers that move, labels that change together with policies, everything
// of a kind that goes at once. What there is of it in a history, a HistoryCensus counts.
#pragma once

#include "test/support/random_snapshot.h"

namespace ocicat::test {

using Step = Changes<ResourceKey, Resource>;

// A next step. May change nothing.
Step random_step(Random& random, const policy::Snapshot& snapshot, const SnapshotSize& size = {});

}  // namespace ocicat::test
