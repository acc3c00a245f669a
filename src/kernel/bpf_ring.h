// A BPF ring buffer in this process's memory, as its only reader.
//
//   source   Documentation/bpf/ringbuf.rst; linux/bpf.h: BPF_RINGBUF_*
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/bpf.h"

namespace ocicat::kernel::bpf {

class Ring {
 public:
  static Result<Ring> of(const UniqueFd& map);
  Ring() = default;
  Ring(Ring&& other) noexcept { *this = std::move(other); }
  Ring& operator=(Ring&& other) noexcept;
  ~Ring();

  // Hands over what is there, oldest first, at most so many records; gives their room back when it has handed
  // over all. Never waits. How many there were. Records may be of any size, so of any version.
  std::size_t read(std::size_t most, const std::function<void(Bytes record)>& visit);

 private:
  struct Memory {
    void* begin = nullptr;
    std::size_t size = 0;
  };
  Memory consumer_, producer_;  // a page; a page, then the data twice
  std::size_t size_ = 0;        // of the data, a power of two
};

}  // namespace ocicat::kernel::bpf
