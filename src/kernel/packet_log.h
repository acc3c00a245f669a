// What rules of nftables log to groups (nfnetlink_log), and what they have counted.
//
//   source   linux/netfilter/nfnetlink_log.h; kernel net/netfilter/nfnetlink_log.c
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

// Valid during the call it is given to.
struct LoggedPacket {
  std::string_view prefix;                   // as the rule says
  std::uint8_t hook = 0;                     // NF_INET_*
  std::uint32_t came_by = 0, leaves_by = 0;  // index of the interface; 0: by none, or not known yet
  std::optional<std::chrono::system_clock::time_point> time;  // where the kernel has taken it
  ByteView packet;                                            // from the IP header on, cut short
  std::uint32_t mark = 0;
};

// Groups of this network namespace, as their only listener. The kernel hands packets over in bunches, at most
// a twentieth of a second old, and drops what finds no room in the socket.
class PacketLog {
 public:
  // In the network namespace of the calling thread.
  static Result<PacketLog> open();

  // kUnavailable: somebody else listens to it.
  Result<void> listen(std::uint16_t group);
  // What has arrived, without waiting. What was lost on the way is no error.
  Result<void> read(const std::function<void(const LoggedPacket&)>& visit);

 private:
  explicit PacketLog(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
};

// How many packets have come to the counters of a chain of table `inet TABLE`, first rules first; empty where
// there is no such chain.
class ChainCounters {
 public:
  static Result<ChainCounters> open(std::string table);

  Result<std::vector<std::uint64_t>> packets(std::string_view chain);

 private:
  ChainCounters(NetlinkSocket socket, std::string table)
      : socket_(std::move(socket)), table_(std::move(table)) {}

  NetlinkSocket socket_;
  std::string table_;
};

}  // namespace ocicat::kernel
