// A short string of bytes inside its owner: no allocation, so that hundreds of thousands are cheap.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/result.h"

namespace ocicat::kernel {

template <std::size_t Capacity>
class InlineBytes {
  static_assert(Capacity < 256);

 public:
  InlineBytes() = default;
  explicit InlineBytes(std::span<const std::uint8_t> bytes) { append(bytes); }

  void append(std::span<const std::uint8_t> bytes) {
    CHECK(size_ + bytes.size() <= Capacity);
    if (!bytes.empty()) std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
    size_ = static_cast<std::uint8_t>(size_ + bytes.size());
  }
  void append_be32(std::uint32_t value) {
    const std::array<std::uint8_t, 4> raw{
        static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
        static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
    append(raw);
  }
  // Zeros up to `size` bytes in all.
  void pad_to(std::size_t size) {
    CHECK(size <= Capacity);
    if (size > size_) size_ = static_cast<std::uint8_t>(size);
  }

  std::span<const std::uint8_t> view() const { return {bytes_.data(), size_}; }
  std::uint32_t be32_at(std::size_t offset) const {
    CHECK(offset + 4 <= size_);
    return std::uint32_t{bytes_[offset]} << 24 | std::uint32_t{bytes_[offset + 1]} << 16 |
           std::uint32_t{bytes_[offset + 2]} << 8 | bytes_[offset + 3];
  }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // In the order of memcmp, as the kernel orders keys; of two with one beginning, the shorter first.
  std::strong_ordering operator<=>(const InlineBytes& other) const {
    const int order = std::memcmp(bytes_.data(), other.bytes_.data(), std::min(size_, other.size_));
    if (order != 0) return order <=> 0;
    return size_ <=> other.size_;
  }
  bool operator==(const InlineBytes& other) const { return (*this <=> other) == 0; }

 private:
  std::uint8_t size_ = 0;
  std::array<std::uint8_t, Capacity> bytes_{};
};

}  // namespace ocicat::kernel
