#include "kernel/mapped_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace ocicat::kernel {
namespace {

Result<MappedMemory> taken(void* memory, std::size_t size) {
  if (memory == MAP_FAILED) return fail_errno("map memory", errno);
  return MappedMemory(static_cast<std::byte*>(memory), Unmap{size});
}

}  // namespace

void Unmap::operator()(std::byte* memory) const {
  ::munmap(memory, size);
}

Result<MappedMemory> map_memory(int file, std::size_t offset, std::size_t size, Access access) {
  const int protection = access == Access::kWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  return taken(::mmap(nullptr, size, protection, MAP_SHARED, file, static_cast<off_t>(offset)), size);
}

Result<MappedMemory> addresses_alone(std::size_t size) {
  return taken(::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), size);
}

std::size_t page_size() {
  static const auto kSize = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return kSize;
}

std::size_t in_pages(std::size_t bytes) {
  return (bytes + page_size() - 1) / page_size() * page_size();
}

}  // namespace ocicat::kernel
