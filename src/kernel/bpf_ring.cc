#include "kernel/bpf_ring.h"

#include <fcntl.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>

namespace ocicat::kernel::bpf {
namespace {

constexpr std::size_t kWindow = 256 * 1024;

using Position = std::uint64_t;

// A position or a length that the kernel changes, or reads.
template <class T>
T load(const std::byte* place) {
  return __atomic_load_n(reinterpret_cast<const T*>(place), __ATOMIC_ACQUIRE);
}

}  // namespace

Result<Ring> Ring::of(const UniqueFd& map) {
  TRY(const auto shape, shape_of(map.get()));
  Ring ring;
  ring.map_ = UniqueFd(::fcntl(map.get(), F_DUPFD_CLOEXEC, 3));
  if (!ring.map_) return fail_errno("copy a descriptor", errno);
  ring.size_ = shape.max_entries;
  TRY(ring.consumer_, map_memory(map.get(), 0, page_size(), Access::kWrite));
  TRY(ring.producer_, map_memory(map.get(), page_size(), page_size(), Access::kRead));
  return ring;
}

// The kernel has the ring in memory twice, one behind the other, so that nothing is torn at its end. nullptr: there is no
// memory for tables of pages.
const std::byte* Ring::at(Position position, std::size_t size) {
  const auto first = static_cast<std::size_t>(position & (size_ - 1));
  if (first < window_first_ || first + size > window_first_ + window_size_) {
    window_.reset();
    window_first_ = first / page_size() * page_size();
    const auto wanted = std::max(kWindow, in_pages(first - window_first_ + size));
    const auto size_here = std::min(wanted, 2 * size_ - window_first_);
    window_size_ = 0;
    auto window = map_memory(map_.get(), 2 * page_size() + window_first_, size_here, Access::kRead);
    if (!window) return nullptr;
    window_ = *std::move(window);
    window_size_ = size_here;
  }
  return window_.get() + (first - window_first_);
}

std::size_t Ring::read(std::size_t most, const std::function<void(Bytes)>& visit) {
  auto position = load<Position>(consumer_.get());
  std::size_t count = 0;
  while (count < most && position != load<Position>(producer_.get())) {
    const auto* record = at(position, BPF_RINGBUF_HDR_SZ);
    if (record == nullptr) break;  // for the next call
    const auto header = load<std::uint32_t>(record);
    if ((header & BPF_RINGBUF_BUSY_BIT) != 0) break;  // somebody is still writing it
    const std::size_t size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    if ((header & BPF_RINGBUF_DISCARD_BIT) == 0) {
      record = at(position, BPF_RINGBUF_HDR_SZ + size);
      if (record == nullptr) break;
      visit({record + BPF_RINGBUF_HDR_SZ, size});
      ++count;
    }
    position += (BPF_RINGBUF_HDR_SZ + size + 7) / 8 * 8;
    // From here on it may be written over.
    __atomic_store_n(reinterpret_cast<Position*>(consumer_.get()), position, __ATOMIC_RELEASE);
  }
  return count;
}

bool Ring::read_all(const std::function<void(Bytes)>& visit) {
  const auto end = load<Position>(producer_.get());
  while (load<Position>(consumer_.get()) < end && read(1, visit) != 0) {
  }
  return load<Position>(consumer_.get()) >= end;
}

}  // namespace ocicat::kernel::bpf
