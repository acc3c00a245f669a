// Whether a kernel lets pass what none of the states that may be in force allows.
//
//   kernel    what its maps amount to, element by element (kernel_tables.h)
//   states    resources as the engine knew them: the evaluator decides, so engine and dataplane are judged
//             together
//   where     at workloads, and at host endpoints: there hook by hook, at each interface that one may have
#pragma once

#include <functional>
#include <list>
#include <string>

#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "policy/evaluator.h"
#include "sim/kernel_places.h"
#include "test/support/boundary_packets.h"
#include "test/support/random.h"

namespace ocicat::test {

// What a host was to look like at one moment, in resources.
struct KnownState {
  KnownState(const policy::Snapshot& snapshot, std::map<ResourceKey, EndpointState> endpoints_,
             dataplane::HostInterfaces hosts_)
      : evaluator(snapshot),
        boundaries(boundaries_of(snapshot)),
        endpoints(std::move(endpoints_)),
        hosts(std::move(hosts_)) {}

  policy::Evaluator evaluator;
  Boundaries boundaries;
  std::map<ResourceKey, EndpointState> endpoints;  // of this host: who has which interface
  dataplane::HostInterfaces hosts;                 // and which host endpoints have which
};

// What a packet may meet: the elements that are there now and, for its first so many lookups, those before.
struct Moment {
  const Elements& now;
  const Elements& before;
  int early = 0;
};

// Packets that were judged.
struct Judged {
  std::size_t granted = 0;       // at workloads: pass, and may
  std::size_t host_granted = 0;  // at host endpoints: the kernel has asked policy, and they go on, and may
  std::size_t host_denied = 0;   // and do not

  Judged& operator+=(const Judged& other);
};

// Empty, or the first of `packets` boundary packets for each state, address and direction that should not
// pass; and of so many for each state at the interfaces that host endpoints may have.
std::string opening(const Moment& moment, const std::list<KnownState>& states,
                    const std::vector<std::string>& host_interfaces, Random& random, std::size_t packets,
                    Judged& judged);

}  // namespace ocicat::test
