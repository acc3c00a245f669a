// A network namespace without a name, which lasts as long as it is held.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::kernel {

class NetworkNamespace {
 public:
  // A new one; needs CAP_SYS_ADMIN. The calling thread stays where it is.
  static Result<NetworkNamespace> create();
  // The one that the calling thread is in.
  static Result<NetworkNamespace> current();

  int fd() const { return fd_.get(); }
  // As programs of this process and its children may open it.
  std::string path() const;
  // Takes the calling thread there for good.
  Result<void> enter() const;
  // Does the work inside, on a thread of its own, and waits for it.
  void run(const std::function<void()>& work) const;

 private:
  explicit NetworkNamespace(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace ocicat::kernel
