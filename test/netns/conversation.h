// What is said after a first packet: its answer, errors about it to whom it came from and to somebody else, some of
// it in fragments. And what has to become of each, whatever enforces it: straight from what policy says about
// packets that begin something.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <vector>

#include "netns/packets.h"

namespace ocicat::test {

// kHost: the host itself.
enum class Place { kOutside, kA, kB, kHost };

// kReversed: in fragments, the second of which comes first.
enum class Shape { kWhole, kFragments, kReversed };

struct Said {
  RawPacket packet;
  Shape shape = Shape::kWhole;
  std::optional<policy::Packet> about;  // of an ICMP error
};

// By one to another, at once.
struct Phase {
  std::string_view what;
  Place from, to;
  std::vector<Said> said;
};

// Of a place: a workload's own, somebody's outside.
struct Addresses {
  IpAddress v4, v6;
  IpAddress of(Family family) const { return family == Family::kIpv4 ? v4 : v6; }
};

// First packets and what follows. Tokens of the first ones are below 65,536; those of what follows are made from
// them. The shape of a packet depends on its token alone.
std::vector<Phase> conversation(Place from, Place to, const std::vector<RawPacket>& first,
                                const std::function<Addresses(Place)>& addresses);

// The token of the packet that it follows, or its own.
std::uint32_t first_token_of(const Said& said);

// IP packets, in the order in which they are sent.
std::vector<std::vector<std::uint8_t>> bytes_of(const Said& said);

// Which parts of it there are among these tokens: 1 the packet or its first fragment, 2 the second fragment.
unsigned parts_of(const Said& said, const std::set<std::uint32_t>& tokens);
unsigned all_parts_of(const Said& said);

// What a host remembers of what it has let through.
class Memory {
 public:
  // Policy's word about a packet by itself.
  using Judge = std::function<bool(const policy::Packet&)>;

  // Whether it may pass; if so it is remembered. `drops_invalid`: what cannot begin anything, and is of nothing
  // that is known, is dropped unasked.
  bool passes(const Said& said, const Judge& judge, bool drops_invalid);

 private:
  using End = std::pair<IpAddress, std::uint16_t>;
  using Key = std::tuple<Protocol, End, End, unsigned>;  // both directions of a connection have the same

  static Key key_of(const policy::Packet& packet, std::uint32_t number);

  std::set<Key> known_;
};

}  // namespace ocicat::test
