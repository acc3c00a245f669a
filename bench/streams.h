// TCP streams between two network namespaces, both ends on the first processor.
#pragma once

#include "base/ip.h"
#include "base/unique_fd.h"
#include "kernel/network_namespace.h"

namespace ocicat::bench {

// What a round came to.
struct Taken {
  double rate = 0;  // bytes or connections a second
  double processor =
      0;  // seconds for each: of the threads at both ends, what the kernel does for them included
};

// The processor time of the calling thread.
double thread_seconds();

// Sockets of the calling thread's namespace.
UniqueFd listener_at(const IpAddress& address);
UniqueFd connected_to(const IpAddress& address);
UniqueFd accepted(const UniqueFd& listening);

// So many at once, for 400 ms, to an address that `to` has.
Taken stream(const kernel::NetworkNamespace& from, const kernel::NetworkNamespace& to,
             const IpAddress& address, int streams);

}  // namespace ocicat::bench
