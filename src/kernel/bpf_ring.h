// A BPF ring buffer, as its only reader.
//
//   source   Documentation/bpf/ringbuf.rst; libbpf's ring_buffer
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "kernel/bpf.h"

struct ring_buffer;

namespace ocicat::kernel::bpf {

class Ring {
 public:
  static Result<Ring> of(const UniqueFd& map);

  // Hands over what is there, oldest first, at most so many records. Never waits. How many there were.
  // Records may be of any size, so of any version.
  std::size_t read(std::size_t most, const std::function<void(Bytes record)>& visit);

 private:
  struct Reading;
  static int on_record(void* reading, void* record, std::size_t size);
  struct Free {
    void operator()(ring_buffer* ring) const;
  };
  // What libbpf calls back with; stays where it is.
  std::shared_ptr<Reading> reading_;
  std::unique_ptr<ring_buffer, Free> ring_;
};

}  // namespace ocicat::kernel::bpf
