// Whether a kernel lets pass what none of the states that may be in force allows.
//
//   kernel    what its maps amount to, element by element (kernel_tables.h)
//   states    resources as the engine knew them: the evaluator decides, so engine and dataplane are judged
//             together
#pragma once

#include <functional>
#include <list>
#include <string>

#include "engine/host_state.h"
#include "policy/evaluator.h"
#include "sim/kernel_places.h"
#include "test/support/boundary_packets.h"
#include "test/support/random.h"

namespace ocicat::test {

// What a host was to look like at one moment, in resources.
struct KnownState {
  KnownState(const policy::Snapshot& snapshot, std::map<ResourceKey, EndpointState> endpoints_)
      : evaluator(snapshot), boundaries(boundaries_of(snapshot)), endpoints(std::move(endpoints_)) {}

  policy::Evaluator evaluator;
  Boundaries boundaries;
  std::map<ResourceKey, EndpointState> endpoints;  // of this host: who has which interface
};

// What a packet may meet: the elements that are there now and, for its first so many lookups, those before.
struct Moment {
  const Elements& now;
  const Elements& before;
  int early = 0;
};

// Empty, or the first of `packets` boundary packets for each state, address and direction that should not
// pass. Counts in `granted` those that pass and may.
std::string opening(const Moment& moment, const std::list<KnownState>& states, Random& random,
                    std::size_t packets, std::size_t& granted);

}  // namespace ocicat::test
