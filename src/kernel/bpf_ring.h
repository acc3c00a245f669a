// A BPF ring buffer, as its only reader.
//
//   memory   two pages, and a window over the records that are read at the moment: what is mapped counts as a
//            process's memory, looked at or not
//   source   Documentation/bpf/ringbuf.rst; linux/bpf.h
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/bpf.h"
#include "kernel/mapped_memory.h"

namespace ocicat::kernel::bpf {

class Ring {
 public:
  static Result<Ring> of(const UniqueFd& map);

  // Hands over what is there, oldest first, at most so many records. Never waits. How many there were.
  // Records may be of any size, so of any version.
  std::size_t read(std::size_t most, const std::function<void(Bytes record)>& visit);
  // The same of all that is there by now. False: somebody is still writing some of it.
  bool read_all(const std::function<void(Bytes record)>& visit);

 private:
  // What stands at a position, so many bytes of it. Valid until the next call.
  const std::byte* at(std::uint64_t position, std::size_t size);

  UniqueFd map_;
  std::size_t size_ = 0;              // of the ring: a power of two
  MappedMemory consumer_, producer_;  // how far it has been read, and written: bytes since it was made
  MappedMemory window_;
  std::size_t window_first_ = 0, window_size_ = 0;  // of the ring, as it stands in memory twice
};

}  // namespace ocicat::kernel::bpf
