#include "policy/packed_pool.h"

namespace ocicat::policy {

namespace {

class Packer {
 public:
  explicit Packer(std::vector<std::uint8_t>& bytes) : bytes_(bytes) {}
  // Ascending; `which` is not 0.
  void add(std::uint32_t eight, std::uint8_t which) {
    append_varint(eight - next_, bytes_);
    bytes_.push_back(which);
    next_ = eight + 1;
  }

 private:
  std::vector<std::uint8_t>& bytes_;
  std::uint32_t next_ = 0;
};

// Goes through the eights of a packed list.
class Eights {
 public:
  explicit Eights(std::span<const std::uint8_t> bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}
  // False behind the last.
  bool next() {
    if (at_ == end_) return false;
    number += 1 + read_varint(at_);
    which = *at_++;
    return true;
  }
  std::uint32_t number = 0xffffffff;
  std::uint8_t which = 0;

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace

const std::vector<std::uint8_t>& PackedPool::pack(std::span<const std::uint32_t> numbers) const {
  packed_.clear();
  Packer packer(packed_);
  for (std::size_t i = 0; i < numbers.size();) {
    const auto eight = numbers[i] / 8;
    unsigned which = 0;
    for (; i < numbers.size() && numbers[i] / 8 == eight; ++i) which |= 1U << numbers[i] % 8;
    packer.add(eight, static_cast<std::uint8_t>(which));
  }
  return packed_;
}

PackedPool::Acquired PackedPool::acquire(std::span<const std::uint32_t> numbers) {
  return pool_.acquire(pack(numbers));
}

void PackedPool::append_common(Id one, Id other, std::vector<std::uint8_t>& bytes) const {
  Packer packer(bytes);
  Eights a(pool_[one]), b(pool_[other]);
  for (bool more = a.next() && b.next(); more;) {
    if (a.number == b.number) {
      const auto both = static_cast<std::uint8_t>(a.which & b.which);
      if (both != 0) packer.add(a.number, both);
      more = a.next() && b.next();
    } else {
      more = a.number < b.number ? a.next() : b.next();
    }
  }
}

std::vector<std::uint32_t> PackedPool::operator[](Id id) const {
  std::vector<std::uint32_t> numbers;
  for_each(id, [&](std::uint32_t number) { numbers.push_back(number); });
  return numbers;
}

PackedPool::Id PackedPool::find(std::span<const std::uint32_t> numbers) const {
  return pool_.find(pack(numbers));
}

}  // namespace ocicat::policy
