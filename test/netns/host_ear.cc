#include "netns/host_ear.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>

namespace ocicat::test {
namespace {

// Raw sockets get IPv6 packets without their header, in whose place the token's finder expects one.
constexpr std::size_t kHeaderRoom = 40;

std::vector<Protocol> protocols_of(Family family) {
  return {kTcp, kUdp, kUdpLite, kSctp, family == Family::kIpv4 ? kIcmp : kIcmpV6, 98, 99, 100};
}

}  // namespace

HostEar::HostEar(const Testbed& bed, Family family) : bed_(bed), family_(family) {
  bed.host().run([&] {
    for (const auto protocol : protocols_of(family)) {
      auto& fd = sockets_.emplace_back(
          ::socket(family == Family::kIpv4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, protocol));
      CHECK(fd);
    }
  });
}

std::set<std::uint32_t> HostEar::received() const {
  std::set<std::uint32_t> tokens;
  std::array<std::uint8_t, kHeaderRoom + 2048> buffer{};
  for (const auto& fd : sockets_) {
    while (true) {
      const ssize_t size =
          ::recv(fd.get(), buffer.data() + kHeaderRoom, buffer.size() - kHeaderRoom, MSG_DONTWAIT);
      if (size < 0) break;
      if (const auto token = token_of(buffer.data(), kHeaderRoom + static_cast<std::size_t>(size)))
        tokens.insert(token);
    }
  }
  return tokens;
}

std::set<std::uint32_t> HostEar::arriving(const Station& sure, const std::function<void()>& send) const {
  received();
  send();
  RawPacket marker;
  marker.packet.source = sure.address(family_);
  marker.packet.destination = bed_.host_address(family_);
  marker.packet.protocol = kUdp;
  marker.packet.source_port = marker.packet.destination_port = 9;
  marker.token = new_token();
  sure.send({marker});
  std::set<std::uint32_t> seen;
  while (!seen.contains(marker.token)) {
    std::vector<pollfd> fds;
    for (const auto& fd : sockets_) fds.push_back({fd.get(), POLLIN, 0});
    constexpr int kGiveUp = 20'000;  // milliseconds: the packet is known to pass, so it is lost for good
    CHECK(::poll(fds.data(), fds.size(), kGiveUp) > 0);
    seen.merge(received());
  }
  return seen;
}

std::set<std::uint32_t> HostEar::arriving(const Station& from, const Station& sure,
                                          const std::vector<RawPacket>& packets) const {
  const auto seen = arriving(sure, [&] { from.send(packets); });
  std::set<std::uint32_t> arrived;
  for (const auto& packet : packets) {
    if (seen.contains(packet.token)) arrived.insert(packet.token);
  }
  return arrived;
}

}  // namespace ocicat::test
