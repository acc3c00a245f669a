// Frames as hosts and workloads send them, and what becomes of those that somebody has been at.
#pragma once

#include "bpf/frames.h"
#include "test/support/random.h"

namespace ocicat::test {

// Honest, of either family, between workloads a and b, the outside and the host (bpf/workload_programs.h).
// Ports are few, so that frames often belong to each other.
Bytes random_frame(Random& random);
// Cut off behind so many bytes; `agrees`: the packet's own length says so as well.
Bytes cut(Bytes frame, std::size_t size, bool agrees);
// With a few bits or bytes changed, or longer.
Bytes mutated(Random& random, Bytes frame);

}  // namespace ocicat::test
