// How tables of nftables tell of packets: by the kernel's log groups, to whoever listens; nobody is waited
// for.
//
//   refused   each reason has a chain of its own, which counts, tells and drops (or rejects)
//   begun     a flow that policy lets begin; what the host itself begins has a chain, and so a bound, of its own
//   bounds    each chain tells at most kTold a second; what it counts and nobody has been told of is lost,
//             and is known to be (kernel/packet_log.h). Where a table has room for it, half of that is anybody's, and of the
//             rest each interface by which packets come has a share: one that floods does not hide what others do
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernel/nft.h"
#include "kernel/nft_expressions.h"

namespace ocicat::dataplane {

inline constexpr std::uint16_t kRefusedGroup = 80, kBegunGroup = 81;  // as the protocol number of our routes
inline constexpr std::uint32_t kTold = 10'000, kAnybodys = kTold / 2, kShare = 500;

// A chain, and the word by which it tells: a Reason of flows/event.h.
struct Telling {
  std::string_view chain, word;
  std::uint16_t group = kRefusedGroup;
};
inline constexpr Telling kBegun{"begun", "allowed", kBegunGroup};
inline constexpr Telling kBegunByHost{"begun_by_host", "allowed", kBegunGroup};
inline constexpr Telling kBegunAlone{"begun_alone", "allowed", kBegunGroup};  // it is of no connection
inline constexpr Telling kDenied{"deny", "policy"};
inline constexpr Telling kDeniedQuietly{"deny_quietly", "policy"};  // where the kernel can reject nothing
inline constexpr Telling kRevoked{"revoked", "revoked"};
inline constexpr Telling kSpoofed{"spoofed", "spoofed"};
inline constexpr Telling kInvalid{"invalid", "invalid"};
inline constexpr Telling kNotOurs{"not_ours", "not-ours"};
inline constexpr Telling kNotForHost{"not_for_host", "to-host"};
inline constexpr Telling kNotOfTunnel{"not_of_tunnel", "tunnel"};
inline constexpr Telling kOfNoService{"service_loop_end", "service"};
inline constexpr std::array kTellings{kBegun,         kBegunByHost, kBegunAlone,  kDenied,
                                      kDeniedQuietly, kRevoked,     kSpoofed,     kInvalid,
                                      kNotOurs,       kNotForHost,  kNotOfTunnel, kOfNoService};

// The first rule of such a chain: counts all, and tells of as many as may be.
kernel::nft::Rule tells(const Telling& telling);
// The first ones where the table has set shares(): those that are told by the first end with this verdict.
std::vector<kernel::nft::Rule> tells_fairly(const Telling& telling, int verdict, std::string_view chain = {});
// Of interfaces by which packets come, by index (0: the host's own): how much each has been told of lately.
const kernel::nft::Set& shares();
// The last one of most.
kernel::nft::Rule drops(const Telling& telling);

}  // namespace ocicat::dataplane
