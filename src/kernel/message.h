// Writes netlink messages, one after the other, into one growing buffer.
//
//   layout   linux/netlink.h: header, the protocol's own header, attributes padded to four bytes
//   order    numbers are written as given; put_be32() for the protocols that want network order (nf_tables)
#pragma once

#include <linux/netlink.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ocicat::kernel {

using ByteView = std::span<const std::uint8_t>;

class MessageBuilder {
 public:
  // Starts a message; `protocol_header` follows the netlink header.
  template <class Header>
    requires std::is_trivially_copyable_v<Header>
  void begin(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, const Header& protocol_header) {
    begin_message(type, flags, sequence);
    append(&protocol_header, sizeof protocol_header);
  }
  // Ends the message begun last.
  void end();

  void put(std::uint16_t type, ByteView bytes) { put_raw(type, bytes.data(), bytes.size()); }
  void put_u8(std::uint16_t type, std::uint8_t value) { put_raw(type, &value, sizeof value); }
  void put_u32(std::uint16_t type, std::uint32_t value) { put_raw(type, &value, sizeof value); }
  void put_be32(std::uint16_t type, std::uint32_t value) { put_u32(type, __builtin_bswap32(value)); }
  void put_be64(std::uint16_t type, std::uint64_t value);
  void put_flag(std::uint16_t type) { put_raw(type, nullptr, 0); }
  void put_string(std::uint16_t type, std::string_view text);  // with its zero

  // An attribute of attributes: what is put between the two belongs to it. At most 65,535 bytes.
  [[nodiscard]] std::size_t begin_nest(std::uint16_t type);
  void end_nest(std::size_t start);

  // Adds flags to a message that has been ended, `start` bytes from the beginning.
  void add_flags(std::size_t start, std::uint16_t flags);

  // Attributes made elsewhere, as they are.
  void append(const void* bytes, std::size_t size);

  const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  std::size_t messages() const { return messages_; }
  void reserve(std::size_t size) { bytes_.reserve(size); }

 private:
  void begin_message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence);
  void put_raw(std::uint16_t type, const void* bytes, std::size_t size);

  std::vector<std::uint8_t> bytes_;
  std::size_t message_start_ = 0;
  std::size_t messages_ = 0;
};

static_assert(std::endian::native == std::endian::little, "put_be32 and put_be64 swap");

}  // namespace ocicat::kernel
