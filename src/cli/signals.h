// Asked to stop: SIGTERM and SIGINT, as a thing to wait for.
#pragma once

namespace ocicat::cli {

// Made before any thread, so that all threads leave the signals to wait(). Also ignores SIGPIPE: a peer that
// hangs up is an error of one write, not the end of the process.
class StopSignals {
 public:
  StopSignals();
  // Returns the signal that came.
  int wait();
};

}  // namespace ocicat::cli
