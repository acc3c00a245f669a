// Which stretches of an array are in use. Index 0 never is: it means nothing.
//
//   cost   O(log n) an operation
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace ocicat::dataplane::ebpf {

struct Extent {
  std::uint32_t first = 0, size = 0;

  std::uint32_t end() const { return first + size; }
  bool operator==(const Extent&) const = default;
};

class Extents {
 public:
  explicit Extents(std::uint32_t end) : end_(end) { clear(); }

  void clear();
  // The smallest free stretch that fits; nothing where none does. `size` is not 0.
  std::optional<Extent> allocate(std::uint32_t size);
  // False where any of it is in use or out of bounds.
  bool claim(const Extent& extent);
  // Exactly what was allocated or claimed.
  void release(const Extent& extent);
  std::uint32_t in_use() const { return in_use_; }

 private:
  void add_free(Extent extent);
  void remove_free(std::map<std::uint32_t, std::uint32_t>::iterator extent);

  std::uint32_t end_;
  std::uint32_t in_use_ = 0;
  std::map<std::uint32_t, std::uint32_t> free_;                     // first → size; never adjacent
  std::set<std::pair<std::uint32_t, std::uint32_t>> free_by_size_;  // (size, first)
};

}  // namespace ocicat::dataplane::ebpf
