// Another program, for so long and with so much to say.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ocicat::cni {

struct Bounds {
  std::chrono::milliseconds patience;
  std::size_t most_output;
};
struct Ran {
  int exit_code = 0;   // -1: a signal ended it
  std::string output;  // standard output; the other one is ours
};

// `environment` is all that it has, "NAME=VALUE". When a bound is passed it is killed, and all that it has started and
// left in its process group: kUnavailable, kInvalid. What it leaves running after its end is nobody's.
Result<Ran> run_bounded(const std::string& path, const std::vector<std::string>& environment,
                        std::string_view input, const Bounds& bounds);

}  // namespace ocicat::cni
