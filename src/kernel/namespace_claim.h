// That one process alone works on something of a network namespace.
#pragma once

#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::kernel {

// An abstract Unix socket: the kernel keeps its name for each network namespace by itself, and frees it when
// the holder ends, however it ends.
class NamespaceClaim {
 public:
  // In the namespace of the calling thread, until the claim is destroyed. kUnavailable: a process of the same
  // user has it; the message is its number, or empty where that cannot be told. Anybody may take such a name,
  // so one that a process of another user has is nobody's claim, and does not keep us from going on.
  static Result<NamespaceClaim> take(std::string_view name);

 private:
  explicit NamespaceClaim(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;  // none: another user has the name
};

}  // namespace ocicat::kernel
