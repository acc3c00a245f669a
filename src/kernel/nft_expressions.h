// Writes the expressions of a rule: a small program over sixteen registers of 32 bits, 0 to 15. An expression
// whose condition fails, or whose lookup finds nothing, ends the rule; the next rule begins.
//
//   source   linux/netfilter/nf_tables.h, enum nft_*_attributes
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "kernel/message.h"

namespace ocicat::kernel::nft {

using Register = std::uint32_t;  // 0 to 15

enum class HeaderBase : std::uint32_t { kNetwork = 1, kTransport = 2 };  // NFT_PAYLOAD_*
enum class Meta : std::uint32_t {                                        // NFT_META_*
  kMark = 3,                                                             // host order
  kInputIndex = 4,
  kOutputIndex = 5,
  kInputName = 6,
  kOutputName = 7,
  kFamily = 15,
  kProtocol = 16,
};

class Expressions {
 public:
  Expressions& meta(Meta what, Register into);
  Expressions& payload(HeaderBase base, std::uint32_t offset, std::uint32_t length, Register into);
  // Bits of the connection's state, as conntrack_state(): host order.
  Expressions& conntrack_state(Register into);
  // Bits of what translation did to the connection (linux/netfilter/nf_conntrack_common.h, IPS_*): host
  // order.
  Expressions& conntrack_status(Register into);
  // The connection's mark, host order.
  Expressions& conntrack_mark(Register into);
  Expressions& set_conntrack_mark(Register from);
  Expressions& set_mark(Register from);
  Expressions& notrack();
  // Ends the rule unless the program says so, one of type socket filter. The packet begins with its IP header there.
  Expressions& asks_program(int program);
  Expressions& immediate(ByteView bytes, Register into);
  Expressions& immediate_be32(std::uint32_t value, Register into);
  Expressions& mask(Register in_place, ByteView mask);
  // Keeps the bits of `mask`, then flips those of `flip`.
  Expressions& mask(Register in_place, ByteView mask, ByteView flip);
  Expressions& equals(Register reg, ByteView bytes);
  Expressions& differs(Register reg, ByteView bytes);
  Expressions& in_set(std::string_view set, Register key);
  Expressions& map(std::string_view map, Register key, Register into);
  // In a set that packets fill (Set::forgets_after). Both end the rule where there is no room.
  Expressions& add(std::string_view set, Register key);
  Expressions& update(std::string_view set, Register key);  // the element stays for longer
  // Ends the rule for packets beyond so many a second of each key.
  Expressions& has_share(std::string_view set, Register key, std::uint32_t packets, std::uint32_t burst);
  Expressions& verdict_map(std::string_view map, Register key);
  Expressions& verdict(int code, std::string_view chain = {});
  Expressions& log(std::string_view prefix);
  // To whoever listens to the group (packet_log.h): the packet's headers, and the prefix.
  Expressions& log_to(std::uint16_t group, std::string_view prefix);
  Expressions& counter();
  // Ends the rule for packets beyond so many in a time.
  Expressions& limit(std::uint32_t packets, std::uint32_t burst,
                     std::chrono::seconds per = std::chrono::seconds(1));
  // Only in chains that translate. The source becomes the address of the interface that the packet leaves by,
  // or the one in the register; its port, where that has to change, a random one: of all, or from the first
  // of two registers to the second (16 bits each, network order).
  Expressions& masquerade(std::optional<Register> ports = {});
  Expressions& translate_source(Family family, Register address, std::optional<Register> ports = {});
  // Likewise: the destination becomes the address in the register, its port stays.
  Expressions& translate_destination(Family family, Register address);
  Expressions& reject_with_tcp_reset();
  Expressions& reject_unreachable();  // port unreachable, ICMP or ICMPv6

  std::vector<std::uint8_t> take() { return attributes_.bytes(); }

 private:
  std::size_t begin(std::string_view name);
  void end(std::size_t expression);
  void put_data(std::uint16_t type, ByteView bytes);
  void put_change(std::string_view set, std::uint32_t operation, Register key);
  void put_limit(std::uint32_t packets, std::uint32_t burst, std::chrono::seconds per);
  Expressions& compare(std::uint32_t operation, Register reg, ByteView bytes);

  MessageBuilder attributes_;
  std::size_t data_ = 0;
};

// Both keep the bits of the kernel's enum ip_conntrack_info (linux/netfilter/nf_conntrack_common.h).
inline constexpr std::uint32_t kStateInvalid = 1;
inline constexpr std::uint32_t kStateEstablished = 2;
inline constexpr std::uint32_t kStateRelated = 4;
inline constexpr std::uint32_t kStateNew = 8;
inline constexpr std::uint32_t kStateUntracked = 64;
inline constexpr std::uint32_t kStatusConfirmed = 1U << 3;              // IPS_CONFIRMED
inline constexpr std::uint32_t kStatusDestinationTranslated = 1U << 5;  // IPS_DST_NAT

}  // namespace ocicat::kernel::nft
