// Small numbers in few bytes: seven bits in each, the lowest first; all but the last have the top bit set.
#pragma once

#include <cstdint>
#include <vector>

namespace ocicat {

inline void append_varint(std::uint32_t value, std::vector<std::uint8_t>& bytes) {
  while (value >= 0x80) {
    bytes.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  bytes.push_back(static_cast<std::uint8_t>(value));
}

// Of what append_varint() wrote; nothing else. `at` is moved behind it.
inline std::uint32_t read_varint(const std::uint8_t*& at) {
  std::uint32_t value = *at & 0x7fU;
  for (int shift = 7; (*at++ & 0x80U) != 0; shift += 7) value |= (*at & 0x7fU) << shift;
  return value;
}

}  // namespace ocicat
