// A hash of a few bytes, for tables in memory. Not for what is kept or sent: it may be another one tomorrow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ocicat {

// All 32 bits are as good as each other.
inline std::uint32_t short_hash(std::span<const std::byte> bytes) {
  __extension__ using Wide = unsigned __int128;
  std::uint64_t state = 0x9e3779b97f4a7c15ULL ^ bytes.size();
  const auto mix = [&](std::uint64_t word) {
    const Wide product = Wide{state ^ word} * Wide{0xe7037ed1a0b428dbULL};
    state = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  std::uint64_t word = 0;
  std::size_t at = 0;
  for (; at + sizeof word <= bytes.size(); at += sizeof word) {
    std::memcpy(&word, &bytes[at], sizeof word);
    mix(word);
  }
  if (at < bytes.size()) {
    word = 0;
    std::memcpy(&word, &bytes[at], bytes.size() - at);
    mix(word);
  }
  return static_cast<std::uint32_t>(state >> 32 ^ state);
}

}  // namespace ocicat
