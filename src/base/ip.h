// IP addresses and prefixes, of both families.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace ocicat {

enum class Family : std::uint8_t { kIpv4 = 4, kIpv6 = 6 };

inline constexpr std::array kFamilies{Family::kIpv4, Family::kIpv6};
constexpr int bits_of(Family family) {
  return family == Family::kIpv4 ? 32 : 128;
}

// An address of either family in 16 bytes, network order. An IPv4 address is held as ::ffff:a.b.c.d
// (RFC 4291 2.5.5.2), so an IPv4-mapped IPv6 address is the IPv4 address, as in Calico. Orders IPv4 by value
// among itself. The default is `::`.
class IpAddress {
 public:
  using Bytes = std::array<std::uint8_t, 16>;

  constexpr IpAddress() = default;
  static IpAddress v4(std::uint32_t host_order);
  static IpAddress v6(const Bytes& network_order);

  // Text as in RFC 4291 or dotted decimal; nothing where it is neither. No zone, no blanks.
  static std::optional<IpAddress> parse(std::string_view text);

  Family family() const { return high() == 0 && low() >> 32 == 0xffff ? Family::kIpv4 : Family::kIpv6; }
  bool is_v4() const { return family() == Family::kIpv4; }
  // Host order. Only for IPv4.
  std::uint32_t v4_value() const { return static_cast<std::uint32_t>(low()); }
  // All 16 bytes, network order, IPv4 mapped.
  const Bytes& bytes() const { return bytes_; }
  // The first and the last eight of them as numbers.
  std::uint64_t high() const { return number_at(0); }
  std::uint64_t low() const { return number_at(8); }
  // Bit `index` from the most significant bit of the family's own width.
  bool bit(int index) const;
  // The next address of the family, or nothing after the last one.
  std::optional<IpAddress> next() const;
  std::optional<IpAddress> previous() const;

  std::string to_string() const;  // RFC 5952

  bool operator==(const IpAddress&) const = default;
  std::strong_ordering operator<=>(const IpAddress& other) const {
    const auto order = high() <=> other.high();
    return order != 0 ? order : low() <=> other.low();
  }
  friend std::size_t hash_value(const IpAddress& address);

 private:
  std::uint64_t number_at(std::size_t place) const {
    std::uint64_t number = 0;
    std::memcpy(&number, &bytes_[place], sizeof number);
    return __builtin_bswap64(number);
  }

  Bytes bytes_{};
};

// An address and a length in bits of its family. Not necessarily masked: see masked().
struct Prefix {
  IpAddress address;
  std::uint8_t length = 0;

  // "10.0.0.0/8", "fd00::/8". With bare_address_allowed also "10.0.0.1", which means /32 (/128).
  static std::optional<Prefix> parse(std::string_view text, bool bare_address_allowed = false);
  static Prefix host(const IpAddress& address) {  // /32 or /128
    return {address, static_cast<std::uint8_t>(bits_of(address.family()))};
  }

  Family family() const { return address.family(); }
  bool is_host() const { return length == bits_of(family()); }
  bool is_masked() const { return masked() == *this; }
  Prefix masked() const;  // host bits cleared
  IpAddress first() const { return masked().address; }
  IpAddress last() const;                       // host bits set
  bool contains(const IpAddress& other) const;  // false across families
  bool contains(const Prefix& other) const;

  std::string to_string() const;

  auto operator<=>(const Prefix&) const = default;
  friend std::size_t hash_value(const Prefix& prefix);
};

}  // namespace ocicat

template <>
struct std::hash<ocicat::IpAddress> {
  std::size_t operator()(const ocicat::IpAddress& address) const { return hash_value(address); }
};
template <>
struct std::hash<ocicat::Prefix> {
  std::size_t operator()(const ocicat::Prefix& prefix) const { return hash_value(prefix); }
};
