// What a lab's pod runs: it accepts and echoes on its ports, over both families.
#pragma once

#include <vector>

#include "base/result.h"
#include "lab/ports.h"

namespace ocicat::lab {

// TCP: accepts and sends back what it reads. UDP: sends datagrams back. SCTP: INIT ACK on its ports, ABORT on
// all others (raw sockets; see lab/sctp.h). Writes "+" to `ready_fd` and closes it once everything is open,
// unless -1. Returns only with an error, or when `stop_fd` (unless -1) becomes readable.
Result<void> run_listener(const std::vector<NamedPort>& ports, int ready_fd, int stop_fd = -1);

}  // namespace ocicat::lab
