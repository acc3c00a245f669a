// A short name for a long meaning, the same in every process and at every start.
#pragma once

#include <endian.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ocicat {

// The first 128 bits of SHA-256. Cryptographic, since tenants choose the labels that go into it: two meanings
// that could be made to share a digest would share a verdict.
struct Digest {
  std::array<std::uint8_t, 16> bytes{};

  static Digest of(std::string_view meaning);
  std::string to_hex() const;
  // As their bytes are ordered.
  std::strong_ordering operator<=>(const Digest& other) const {
    const auto order = word(0) <=> other.word(0);
    return order != 0 ? order : word(sizeof(std::uint64_t)) <=> other.word(sizeof(std::uint64_t));
  }
  bool operator==(const Digest&) const = default;
  friend std::size_t hash_value(const Digest& digest) {
    std::size_t value = 0;
    std::memcpy(&value, digest.bytes.data(), sizeof value);
    return value;
  }

 private:
  // Eight bytes from there on as a number, the first the highest.
  std::uint64_t word(std::size_t from) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + from, sizeof value);
    return be64toh(value);
  }
};

// SHA-1 of it: for names that others make in the same way. Nothing is to rest on two texts not having the same.
std::array<std::uint8_t, 20> sha1(std::string_view text);

}  // namespace ocicat

template <>
struct std::hash<ocicat::Digest> {
  std::size_t operator()(const ocicat::Digest& digest) const { return hash_value(digest); }
};
