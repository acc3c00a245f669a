// Names for what a test makes where others may look, too, as in /sys/fs/bpf or /run/netns.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <random>
#include <string>

namespace ocicat::test {

// Another one each time. The number of the process, to see whose it is, would not do alone: processes in other namespaces
// of them have the same.
inline std::string own_name() {
  return fmt::format("{}-{:08x}", ::getpid(), std::random_device{}());
}

}  // namespace ocicat::test
