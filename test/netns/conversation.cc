#include "netns/conversation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/result.h"

namespace ocicat::test {
namespace {

using policy::Packet;

// Added to the first packet's token.
constexpr std::uint32_t kAnswer = 1 << 16, kError = 2 << 16, kStray = 3 << 16, kSecondFragment = 1 << 20;

bool is_icmp(const Packet& packet) {
  return packet.protocol == kIcmp || packet.protocol == kIcmpV6;
}
bool is_request(const Packet& packet) {
  return packet.icmp_type == (packet.protocol == kIcmp ? 8 : 128);
}

// SCTP is left whole, as it is one chunk.
Shape shape_of(const RawPacket& packet) {
  if (packet.packet.protocol == kSctp) return Shape::kWhole;
  return std::array{Shape::kWhole, Shape::kFragments, Shape::kReversed}[packet.token % 3];
}

RawPacket answer_to(const RawPacket& first) {
  RawPacket answer = first;
  auto& packet = answer.packet;
  std::swap(packet.source, packet.destination);
  std::swap(packet.source_port, packet.destination_port);
  if (is_icmp(packet)) packet.icmp_type = packet.protocol == kIcmp ? 0 : 129;
  answer.tcp_flags = kSyn | kAck;
  answer.answers = true;
  answer.token = first.token + kAnswer;
  answer.number = first.token;
  return answer;
}

// None that has whoever gets it send smaller packets.
RawPacket error_about(const RawPacket& first, const IpAddress& source, const IpAddress& destination,
                      std::uint32_t token) {
  struct TypeAndCode {
    std::uint8_t type, code;
  };
  static constexpr std::array<TypeAndCode, 4> kV4{{{3, 1}, {3, 13}, {11, 0}, {12, 0}}},
      kV6{{{1, 1}, {1, 4}, {3, 0}, {4, 1}}};
  const bool v4 = destination.is_v4();
  const auto kind = (v4 ? kV4 : kV6)[first.token % kV4.size()];
  RawPacket quoted = first, error;
  quoted.token = token;
  quoted.number = first.token;
  error.packet = {source, destination, v4 ? kIcmp : kIcmpV6, 0, 0, kind.type, kind.code};
  error.token = token;
  error.about = bytes_of(quoted);
  return error;
}

Place third(Place one, Place other) {
  for (const auto place : {Place::kOutside, Place::kA, Place::kB}) {
    if (place != one && place != other) return place;
  }
  CHECK(false);
}

}  // namespace

std::vector<Phase> conversation(Place from, Place to, const std::vector<RawPacket>& first,
                                const std::function<Addresses(Place)>& addresses) {
  const auto stranger = third(from, to);
  Phase whole{"first packet", from, to, {}}, cut{"first packet, in fragments", from, to, {}},
      reversed{"first packet, in fragments, the second of which comes first", from, to, {}},
      answers{"answer", to, from, {}}, errors{"error", to, from, {}},
      strays{"error to somebody else", to, stranger, {}};
  for (const auto& packet : first) {
    const auto shape = shape_of(packet);
    (shape == Shape::kWhole       ? whole
     : shape == Shape::kFragments ? cut
                                  : reversed)
        .said.push_back({packet, shape, {}});
    const auto answer = answer_to(packet);
    answers.said.push_back(
        {answer, shape_of(answer) == Shape::kWhole ? Shape::kWhole : Shape::kFragments, {}});
    const auto family = packet.packet.family();
    // From outside it may be a router that says so.
    const IpAddress by =
        to == Place::kOutside && packet.token % 2 == 0 ? addresses(to).of(family) : packet.packet.destination;
    errors.said.push_back(
        {error_about(packet, by, packet.packet.source, packet.token + kError), Shape::kWhole, packet.packet});
    strays.said.push_back({error_about(packet, by, addresses(stranger).of(family), packet.token + kStray),
                           Shape::kWhole, packet.packet});
  }
  return {whole, cut, reversed, answers, errors, strays};
}

std::vector<std::vector<std::uint8_t>> bytes_of(const Said& said) {
  if (said.shape == Shape::kWhole) return {bytes_of(said.packet)};
  auto [first, second] = fragments_of(said.packet, said.packet.token + kSecondFragment);
  if (said.shape == Shape::kReversed) return {std::move(second), std::move(first)};
  return {std::move(first), std::move(second)};
}

unsigned parts_of(const Said& said, const std::set<std::uint32_t>& tokens) {
  const auto token = said.packet.token;
  return (tokens.contains(token) ? 1U : 0U) | (tokens.contains(token + kSecondFragment) ? 2U : 0U);
}

std::uint32_t first_token_of(const Said& said) {
  return said.packet.token & (kAnswer - 1);
}

unsigned all_parts_of(const Said& said) {
  return said.shape == Shape::kWhole ? 1 : 3;
}

Memory::Key Memory::key_of(const Packet& packet, std::uint32_t number) {
  End one{packet.source, packet.source_port}, other{packet.destination, packet.destination_port};
  if (other < one) std::swap(one, other);
  const bool icmp = is_icmp(packet);
  return {packet.protocol, one, other, icmp ? (number & 0xffff) << 8 | packet.icmp_code : 0};
}

bool Memory::passes(const Said& said, const Judge& judge, bool drops_invalid) {
  const auto& raw = said.packet;
  const auto& packet = raw.packet;
  const auto number = raw.number != 0 ? raw.number : raw.token;
  if (said.about) {
    const auto about = key_of(*said.about, first_token_of(said));
    if (said.about->source == packet.destination && known_.contains(about)) return true;
    return !drops_invalid && judge(packet);
  }
  const auto key = key_of(packet, number);
  if (known_.contains(key)) return true;
  const bool may_begin = !raw.answers || (packet.protocol != kTcp && packet.protocol != kSctp &&
                                          !(is_icmp(packet) && !is_request(packet)));
  if (!may_begin) return !drops_invalid && judge(packet);
  if (!judge(packet)) return false;
  known_.insert(key);
  return true;
}

}  // namespace ocicat::test
