// Whole Ethernet frames at a station's interface, made by hand and seen as they are.
#pragma once

#include <linux/if_packet.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/unique_fd.h"
#include "kernel/network_namespace.h"
#include "netns/packets.h"

namespace ocicat::test {

using Frame = std::vector<std::uint8_t>;
using Mac = std::array<std::uint8_t, 6>;

constexpr Mac kAtHost{0xee, 0xee, 0xee, 0xee, 0xee, 0xee}, kAtStation{2, 0, 0, 0, 0, 1};
constexpr std::size_t kEthernet = 14, kHopsV4 = kEthernet + 8, kHopsV6 = kEthernet + 7;

void set16(Frame& frame, std::size_t at, std::uint32_t value);
// Of the words in between, folded, not inverted.
std::uint32_t sum16(const Frame& frame, std::size_t from, std::size_t to);
// How long IPv4's is.
std::size_t ip_header(const Frame& frame);
// IPv4's own.
void fix_checksum(Frame& frame);
// Of what an IP header without options or extensions carries, with that of the pseudo header: folded, not
// inverted. All ones where it is right.
std::uint32_t transport_sum(const Frame& frame, std::size_t ip = kEthernet);
// From a station to the host. `padding`: bytes behind the token; UDP of IPv4 has no sum then, which nobody on
// the way misses.
Frame frame_of(const RawPacket& packet, std::size_t padding = 0);

class Tap {
 public:
  explicit Tap(const kernel::NetworkNamespace& ns, const char* interface = "eth0");
  void send(const Frame& frame) const;
  // What has come in since the last call.
  std::vector<Frame> received() const;

 private:
  UniqueFd socket_;
  sockaddr_ll at_{};
};

}  // namespace ocicat::test
