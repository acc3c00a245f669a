// Random choices that a seed reproduces, whatever the standard library.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace ocicat::test {

// The seed of a random test: OCICAT_SEED where that is set, to see a failure again; else a random one. The
// test says which it was.
inline std::uint64_t any_seed() {
  const char* given = std::getenv("OCICAT_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  // The first choices are the bytes, for a fuzzer to make; then seed 0. Borrowed.
  explicit Random(std::span<const std::uint8_t> bytes) : engine_(0), bytes_(bytes) {}

  // 0 to n - 1. n is at least 1.
  std::size_t below(std::size_t n) {
    if (bytes_.empty()) return static_cast<std::size_t>(engine_() % n);
    const auto byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte % n;
  }
  // True in so many of a hundred cases.
  bool percent(unsigned chance) { return below(100) < chance; }
  // `items` is not empty.
  template <class Item>
  const Item& pick(const std::vector<Item>& items) {
    return items[below(items.size())];
  }
  // 0 to `most` of the items, each at most once, in random order.
  template <class Item>
  std::vector<Item> some(std::vector<Item> items, std::size_t most) {
    std::size_t wanted = below(std::min(most, items.size()) + 1);
    for (std::size_t i = 0; i < wanted; ++i) std::swap(items[i], items[i + below(items.size() - i)]);
    items.resize(wanted);
    return items;
  }

 private:
  std::mt19937_64 engine_;
  std::span<const std::uint8_t> bytes_;
};

}  // namespace ocicat::test
