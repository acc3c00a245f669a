#include "kernel/bpf_ring.h"

#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace ocicat::kernel::bpf {

Result<Ring> Ring::of(const UniqueFd& map) {
  TRY(const auto shape, shape_of(map.get()));
  CHECK(shape.type == BPF_MAP_TYPE_RINGBUF);
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  Ring ring;
  ring.size_ = shape.max_entries;
  const auto into_memory = [&](Memory& memory, std::size_t size, int protection,
                               std::size_t offset) -> Result<void> {
    void* begin = ::mmap(nullptr, size, protection, MAP_SHARED, map.get(), static_cast<off_t>(offset));
    if (begin == MAP_FAILED) return fail_errno("map a ring into memory", errno);
    memory = {begin, size};
    return {};
  };
  TRY_VOID(into_memory(ring.consumer_, page, PROT_READ | PROT_WRITE, 0));
  TRY_VOID(into_memory(ring.producer_, page + 2 * ring.size_, PROT_READ, page));
  return ring;
}

Ring& Ring::operator=(Ring&& other) noexcept {
  std::swap(consumer_, other.consumer_);
  std::swap(producer_, other.producer_);
  std::swap(size_, other.size_);
  return *this;
}

Ring::~Ring() {
  for (const auto& memory : {consumer_, producer_}) {
    if (memory.begin != nullptr) ::munmap(memory.begin, memory.size);
  }
}

std::size_t Ring::read(std::size_t most, const std::function<void(Bytes)>& visit) {
  auto* const consumer = static_cast<unsigned long*>(consumer_.begin);
  auto* const producer = static_cast<unsigned long*>(producer_.begin);
  const auto* const data = static_cast<const std::byte*>(producer_.begin) + (producer_.size - 2 * size_);
  unsigned long at = *consumer;  // nobody else writes it
  const unsigned long end = __atomic_load_n(producer, __ATOMIC_ACQUIRE);
  std::size_t count = 0;
  while (at < end && count < most) {
    const auto* const record = data + (at & (size_ - 1));
    const auto header = __atomic_load_n(reinterpret_cast<const std::uint32_t*>(record), __ATOMIC_ACQUIRE);
    if ((header & BPF_RINGBUF_BUSY_BIT) != 0) break;  // being written
    const std::uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    if ((header & BPF_RINGBUF_DISCARD_BIT) == 0) visit({record + BPF_RINGBUF_HDR_SZ, length});
    at += (BPF_RINGBUF_HDR_SZ + length + 7) & ~7UL;
    ++count;
  }
  __atomic_store_n(consumer, at, __ATOMIC_RELEASE);
  return count;
}

}  // namespace ocicat::kernel::bpf
