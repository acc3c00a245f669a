// Files and maps of the kernel's in this process's memory.
#pragma once

#include <cstddef>
#include <memory>

#include "base/result.h"

namespace ocicat::kernel {

struct Unmap {
  std::size_t size = 0;
  void operator()(std::byte* memory) const;
};
// Whole pages; goes with this.
using MappedMemory = std::unique_ptr<std::byte, Unmap>;

enum class Access : bool { kRead, kWrite };
// What the file has from the offset on; both in whole pages.
Result<MappedMemory> map_memory(int file, std::size_t offset, std::size_t size, Access access);
// Nothing can be read or written there until something is mapped in its place.
Result<MappedMemory> addresses_alone(std::size_t size);

std::size_t page_size();
// The least number of bytes in whole pages that is no less.
std::size_t in_pages(std::size_t bytes);

}  // namespace ocicat::kernel
