#include "dataplane/ebpf/extents.h"

#include <iterator>

#include "base/result.h"

namespace ocicat::dataplane::ebpf {

void Extents::clear() {
  free_.clear();
  free_by_size_.clear();
  in_use_ = 0;
  if (end_ > 1) add_free({1, end_ - 1});
}

void Extents::add_free(Extent extent) {
  free_.emplace(extent.first, extent.size);
  free_by_size_.emplace(extent.size, extent.first);
}

void Extents::remove_free(std::map<std::uint32_t, std::uint32_t>::iterator extent) {
  free_by_size_.erase({extent->second, extent->first});
  free_.erase(extent);
}

std::optional<Extent> Extents::allocate(std::uint32_t size) {
  CHECK(size != 0);
  const auto found = free_by_size_.lower_bound({size, 0});
  if (found == free_by_size_.end()) return std::nullopt;
  const Extent extent{found->second, size};
  CHECK(claim(extent));
  return extent;
}

bool Extents::claim(const Extent& extent) {
  if (extent.size == 0 || extent.first >= end_ || extent.size > end_ - extent.first) return false;
  auto around = free_.upper_bound(extent.first);
  if (around == free_.begin()) return false;
  --around;
  const Extent whole{around->first, around->second};
  if (extent.end() > whole.end()) return false;
  remove_free(around);
  if (extent.first > whole.first) add_free({whole.first, extent.first - whole.first});
  if (extent.end() < whole.end()) add_free({extent.end(), whole.end() - extent.end()});
  in_use_ += extent.size;
  return true;
}

void Extents::release(const Extent& extent) {
  Extent joined = extent;
  auto after = free_.upper_bound(extent.first);
  if (after != free_.end()) {
    CHECK(after->first >= extent.end());
    if (after->first == extent.end()) {
      joined.size += after->second;
      remove_free(after);
    }
  }
  auto before = free_.lower_bound(extent.first);
  if (before != free_.begin()) {
    --before;
    CHECK(before->first + before->second <= extent.first);
    if (before->first + before->second == extent.first) {
      joined = {before->first, before->second + joined.size};
      remove_free(before);
    }
  }
  add_free(joined);
  in_use_ -= extent.size;
}

}  // namespace ocicat::dataplane::ebpf
