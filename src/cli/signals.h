// Asked to stop: SIGTERM and SIGINT, as a thing to wait for.
#pragma once

#include <optional>

namespace ocicat::cli {

// Made before any thread, so that all threads leave the signals to wait_or(). Also ignores SIGPIPE: a peer
// that hangs up is an error of one write, not the end of the process.
class StopSignals {
 public:
  StopSignals();
  // Returns the signal that came; nothing: the descriptor became readable first.
  std::optional<int> wait_or(int fd);
};

}  // namespace ocicat::cli
