#include "bpf/random_frames.h"

#include "bpf/workload_programs.h"

namespace ocicat::test {
namespace {

constexpr std::size_t kIpAt = 14;

std::uint16_t random_port(Random& random) {
  constexpr std::array<std::uint16_t, 4> kPorts{53, 80, 443, 8080};
  return kPorts[random.below(kPorts.size())];
}

struct Pair {
  std::string_view source, destination;
};

Pair random_pair(Random& random, bool v4) {
  using Names = std::array<std::string_view, 4>;
  const Names names = v4 ? Names{kA4, kB4, kFar4, kHost4} : Names{kA6, kB6, kFar6, "2001:db8::fe"};
  const auto source = random.below(4);
  return {names[source], names[(source + 1 + random.below(3)) % 4]};
}

Bytes random_transport(Random& random, const Pair& pair, bool v4, std::uint8_t& protocol, int depth = 0) {
  constexpr std::array<std::uint8_t, 6> kFlags{kSyn, kSyn | kAck, kAck, kFin | kAck, kRst, kRst | kAck};
  const auto from = random_port(random), to = random_port(random);
  switch (random.below(depth == 0 ? 7 : 4)) {
    case 0:
      protocol = 6;
      return tcp(from, to, kFlags[random.below(kFlags.size())],
                 static_cast<std::uint8_t>(5 + random.below(11)));
    case 1:
      protocol = 132;
      return sctp(from, to, {random.percent(50) ? kInit : kData});
    case 2: {
      protocol = v4 ? 1 : 58;
      const bool asks = random.percent(50);
      const int type = v4 ? (asks ? 8 : 0) : (asks ? 128 : 129);
      return icmp(static_cast<std::uint8_t>(type), 0, random_port(random));
    }
    case 4: {  // an error about what the receiver may have sent, or anybody
      protocol = v4 ? 1 : 58;
      std::uint8_t inner = 0;
      const Pair back = random.percent(50) ? Pair{pair.destination, pair.source} : random_pair(random, v4);
      const auto payload = random_transport(random, back, v4, inner, depth + 1);
      const auto about =
          v4 ? ipv4({.source = back.source, .destination = back.destination, .protocol = inner}, payload)
             : ipv6({.source = back.source, .destination = back.destination, .next = inner}, payload);
      return icmp(static_cast<std::uint8_t>(v4 ? 3 : 1), 3, 0, about);
    }
    case 5:
      protocol = v4 ? 2 : 58;
      return v4 ? Bytes(8) : icmp(static_cast<std::uint8_t>(130 + random.below(8)), 0, 0, Bytes(16));
    default:
      protocol = random.percent(90) ? 17 : 136;
      return udp(from, to, random.below(16));
  }
}

}  // namespace

Bytes random_frame(Random& random) {
  const bool v4 = random.percent(50);
  const auto pair = random_pair(random, v4);
  std::uint8_t protocol = 0;
  auto payload = random_transport(random, pair, v4, protocol);
  const bool fragment = random.percent(15), later = random.percent(50);
  const auto id = static_cast<std::uint32_t>(random.below(3));
  const auto offset = static_cast<std::uint16_t>(1 + random.below(4));  // in units of 8 bytes
  if (v4) {
    Ipv4 header{.source = pair.source, .destination = pair.destination, .protocol = protocol};
    if (random.percent(20)) header.options = Bytes(4 * (1 + random.below(10)), 1);
    if (fragment) header.fragment = later ? offset : kMore << 8;
    return ethernet(ipv4(header, payload));
  }
  for (std::size_t i = random.percent(25) ? 1 + random.below(8) : 0; i > 0; --i) {
    payload = extension(protocol, static_cast<std::uint8_t>(random.below(3))) + payload;
    protocol = random.percent(80) ? 60 : 43;
  }
  if (fragment) {
    payload = fragment_header(protocol, later ? static_cast<std::uint16_t>(offset << 3) : 1, id) + payload;
    protocol = 44;
  }
  return ethernet(ipv6({.source = pair.source, .destination = pair.destination, .next = protocol}, payload));
}

Bytes cut(Bytes frame, std::size_t size, bool agrees) {
  const bool six = frame.at(12) == 0x86;
  frame.resize(size);
  const std::size_t field = kIpAt + (six ? 4 : 2), least = kIpAt + (six ? 40 : 20);
  if (!agrees || size < least) return frame;
  const auto length = size - (six ? least : kIpAt);
  frame[field] = static_cast<std::uint8_t>(length >> 8);
  frame[field + 1] = static_cast<std::uint8_t>(length);
  return frame;
}

Bytes mutated(Random& random, Bytes frame) {
  constexpr std::array<std::uint8_t, 8> kTelling{0, 1, 4, 0x0f, 0x44, 0x7f, 0x80, 0xff};
  for (std::size_t changes = 1 + random.below(3); changes > 0; --changes) {
    // Behind the addresses of the frame, where headers are.
    const auto at = 12 + random.below(std::min<std::size_t>(frame.size() - 12, 80));
    if (random.percent(60)) {
      frame[at] = static_cast<std::uint8_t>(frame[at] ^ 1U << random.below(8));
    } else {
      frame[at] = kTelling[random.below(kTelling.size())];
    }
  }
  if (random.percent(10)) frame.resize(frame.size() + random.below(64));
  return frame;
}

}  // namespace ocicat::test
