#include "base/ip.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

#include "base/result.h"

namespace ocicat {

namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::size_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{a ^ 0x9e3779b97f4a7c15ULL} * Wide{b ^ 0xe7037ed1a0b428dbULL};
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

IpAddress IpAddress::v4(std::uint32_t host_order) {
  IpAddress address;
  std::memcpy(address.bytes_.data(), kMapped.data(), kMapped.size());
  for (int i = 0; i < 4; ++i) {
    address.bytes_[12 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
  }
  return address;
}

IpAddress IpAddress::v6(const Bytes& network_order) {
  IpAddress address;
  address.bytes_ = network_order;
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (text.empty() || text.size() >= buffer.size() || text.find('\0') != text.npos) return std::nullopt;
  std::memcpy(buffer.data(), text.data(), text.size());
  in_addr four{};
  if (::inet_pton(AF_INET, buffer.data(), &four) == 1) return v4(ntohl(four.s_addr));
  Bytes six{};
  if (::inet_pton(AF_INET6, buffer.data(), six.data()) == 1) return v6(six);
  return std::nullopt;
}

bool IpAddress::bit(int index) const {
  const int at = index + (is_v4() ? 96 : 0);
  return (bytes_[static_cast<std::size_t>(at / 8)] >> (7 - at % 8) & 1) != 0;
}

std::optional<IpAddress> IpAddress::next() const {
  IpAddress result = *this;
  const std::size_t from = is_v4() ? 12 : 0;
  for (std::size_t i = 16; i-- > from;) {
    if (++result.bytes_[i] != 0) return result;
  }
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::previous() const {
  IpAddress result = *this;
  const std::size_t from = is_v4() ? 12 : 0;
  for (std::size_t i = 16; i-- > from;) {
    if (result.bytes_[i]-- != 0) return result;
  }
  return std::nullopt;
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  const bool four = is_v4();
  const char* text = ::inet_ntop(four ? AF_INET : AF_INET6, bytes_.data() + (four ? 12 : 0), buffer.data(),
                                 static_cast<socklen_t>(buffer.size()));
  CHECK(text != nullptr);
  return text;
}

std::size_t hash_value(const IpAddress& address) {
  return mix(address.high(), address.low());
}

std::optional<Prefix> Prefix::parse(std::string_view text, bool bare_address_allowed) {
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  if (slash == text.npos) {
    if (!bare_address_allowed) return std::nullopt;
    return host(*address);
  }
  const auto digits = text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  unsigned most = static_cast<unsigned>(bits_of(address->family()));
  // "::ffff:10.0.0.0/104" is written with IPv6 bits but names IPv4 addresses.
  if (address->is_v4() && text.substr(0, slash).find(':') != text.npos) {
    if (length < 96 || length > 128) return std::nullopt;
    length -= 96;
    most = 32;
  }
  if (length > most) return std::nullopt;
  return Prefix{*address, static_cast<std::uint8_t>(length)};
}

namespace {

// The bytes of `address` with everything behind the first `length` bits of its family set to `fill`.
IpAddress::Bytes with_host_bits(const IpAddress& address, int length, bool fill) {
  auto bytes = address.bytes();
  const int from = length + (address.is_v4() ? 96 : 0);
  for (int i = from / 8; i < 16; ++i) {
    const auto mask = static_cast<std::uint8_t>(i == from / 8 ? 0xff >> (from % 8) : 0xff);
    auto& byte = bytes[static_cast<std::size_t>(i)];
    byte = static_cast<std::uint8_t>(fill ? byte | mask : byte & ~mask);
  }
  return bytes;
}

}  // namespace

Prefix Prefix::masked() const {
  return {IpAddress::v6(with_host_bits(address, length, false)), length};
}

IpAddress Prefix::last() const {
  return IpAddress::v6(with_host_bits(address, length, true));
}

bool Prefix::contains(const IpAddress& other) const {
  if (other.family() != family()) return false;
  const int bits = length + (address.is_v4() ? 96 : 0);
  const auto high = address.high() ^ other.high();
  const auto low = address.low() ^ other.low();
  if (bits <= 64) return bits == 0 || high >> (64 - bits) == 0;
  return high == 0 && low >> (128 - bits) == 0;
}

bool Prefix::contains(const Prefix& other) const {
  return other.length >= length && contains(other.address);
}

std::string Prefix::to_string() const {
  return fmt::format("{}/{}", address.to_string(), length);
}

std::size_t hash_value(const Prefix& prefix) {
  return mix(hash_value(prefix.address), prefix.length);
}

}  // namespace ocicat
