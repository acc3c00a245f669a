// Bytes that never change and that all copies share.
#pragma once

#include <boost/smart_ptr/intrusive_ptr.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

namespace ocicat {

// As small as a pointer; the bytes lie in one piece of memory with their length and the count of copies.
// Copies may be used and dropped in different threads.
class SharedBytes {
 public:
  SharedBytes() = default;  // none; takes no memory
  explicit SharedBytes(std::span<const std::uint8_t> bytes) {
    if (!bytes.empty()) block_ = Block::of(bytes);
  }

  std::span<const std::uint8_t> bytes() const {
    if (!block_) return {};
    return {reinterpret_cast<const std::uint8_t*>(block_.get() + 1), block_->length};
  }
  friend bool operator==(const SharedBytes& a, const SharedBytes& b) {
    return a.block_ == b.block_ || std::ranges::equal(a.bytes(), b.bytes());
  }

 private:
  // The bytes follow.
  struct Block {
    std::atomic<std::uint32_t> copies = 0;
    std::uint32_t length = 0;

    static std::size_t blocks(std::size_t length) { return 1 + (length + sizeof(Block) - 1) / sizeof(Block); }
    static Block* of(std::span<const std::uint8_t> bytes) {
      auto* block = std::construct_at(std::allocator<Block>{}.allocate(blocks(bytes.size())));
      block->length = static_cast<std::uint32_t>(bytes.size());
      std::ranges::copy(bytes, reinterpret_cast<std::uint8_t*>(block + 1));
      return block;
    }
    friend void intrusive_ptr_add_ref(Block* block) { block->copies.fetch_add(1, std::memory_order_relaxed); }
    friend void intrusive_ptr_release(Block* block) {
      if (block->copies.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
      const auto size = blocks(block->length);
      std::destroy_at(block);
      std::allocator<Block>{}.deallocate(block, size);
    }
  };

  boost::intrusive_ptr<Block> block_;
};

}  // namespace ocicat
