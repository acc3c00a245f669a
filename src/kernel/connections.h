// The connections that the kernel tracks (conntrack), of one network namespace.
//
//   order    ports are in host order
//   source   linux/netfilter/nfnetlink_conntrack.h; kernel net/netfilter/nf_conntrack_netlink.c
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

// As enum sctp_conntrack has them (linux/netfilter/nf_conntrack_sctp.h, beside which netinet/in.h cannot stand).
enum class SctpState : std::uint8_t {
  kNone,
  kClosed,
  kCookieWait,
  kCookieEchoed,
  kEstablished,
  kShutdownSent,
  kShutdownReceived,
  kShutdownAckSent,
  kHeartbeatSent,
};

// As its first packet went where filters are: destination and its port are translated by then, the source is
// not.
struct Connection {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;
  std::uint16_t source_port = 0;  // of protocols with ports
  std::uint16_t destination_port = 0;
  std::uint8_t icmp_type = 0;  // of ICMP and ICMPv6
  std::uint8_t icmp_code = 0;
  std::uint16_t icmp_id = 0;
  // The destination as its first packet came with it, and the source as the receiver sees it: others than
  // above where somebody translates.
  IpAddress asked{};
  IpAddress seen{};
  std::uint16_t asked_port = 0;
  std::uint16_t seen_port = 0;
  bool answered = false;       // packets have gone both ways
  bool assured = false;        // not forgotten early where room is short
  std::uint8_t tcp_state = 0;  // enum tcp_conntrack
  SctpState sctp_state{};
  std::uint32_t timeout = 0;  // seconds until the kernel forgets it, unless there are packets
  std::uint32_t mark = 0;
  std::vector<std::uint8_t> identity{};  // the attributes by which the kernel finds it again
  std::uint32_t id = 0;                  // of several with these, one after the other
  // What its beginner has sent, and what has been answered; bytes from the IP header on. Where the kernel has counted it from
  // its begin.
  bool counted = false;
  std::array<std::uint64_t, 2> packets{}, bytes{};
  // Where a helper of the kernel has opened the way for it (data of FTP): the one that asked for it, as the kernel has it. Of
  // one that has gone by now only how its first packet went is known.
  std::shared_ptr<const Connection> master{};
};

// The destination as the first packet of a connection came with it.
struct Asked {
  IpAddress address;
  std::uint16_t port = 0;  // of protocols with ports
};

class ConnectionKernel {
 public:
  virtual ~ConnectionKernel() = default;
  // Every connection, while others come and go; they may be marked meanwhile. O(connections) of the namespace, one to
  // three microseconds each, most of it the kernel's.
  virtual Result<void> list(const std::function<void(const Connection&)>& visit) = 0;
  // The bits of `mask` in the marks of these become those of `value`. One that is gone by now is no error.
  virtual Result<void> mark(const std::vector<Connection>& connections, std::uint32_t value,
                            std::uint32_t mask) = 0;
  // The kernel tracks these from here on, none of them translated: as they say where it knows none, else with
  // this timeout and state, and with the bits set in `mark` added. Sequence numbers of TCP are not looked at
  // any more. What others do meanwhile to one of these is no error: list() tells. O(connections).
  virtual Result<void> put(const std::vector<Connection>& connections) = 0;
  // Forgets them. One that is gone by now is no error.
  virtual Result<void> remove(const std::vector<Connection>& connections) = 0;
};

// Of this kernel, in the network namespace of the thread that opens it.
class NetlinkConnections final : public ConnectionKernel {
 public:
  static Result<std::unique_ptr<NetlinkConnections>> open();
  NetlinkConnections(NetlinkSocket socket, NetlinkSocket lists)
      : socket_(std::move(socket)), lists_(std::move(lists)) {}

  Result<void> list(const std::function<void(const Connection&)>& visit) override;
  Result<void> mark(const std::vector<Connection>& connections, std::uint32_t value,
                    std::uint32_t mask) override;
  Result<void> put(const std::vector<Connection>& connections) override;
  Result<void> remove(const std::vector<Connection>& connections) override;
  // Of one whose first packet goes so by now, where filters are. Nothing: it has gone, or both its ends are translated.
  Result<std::optional<Asked>> asked_for(const Connection& connection);

 private:
  // As the kernel has it, by its identity.
  Result<std::optional<Connection>> find(const Connection& connection);
  Result<std::optional<Connection>> find(Family family, ByteView tuple);
  Result<void> find_masters(Connection& connection);
  using Write = std::function<void(const Connection&, MessageBuilder&)>;
  // A message for each; the kernel answers what it refuses. `forgiven` are no errors.
  Result<void> write(const char* what, const std::vector<Connection>& connections, std::uint16_t type,
                     std::uint16_t flags, const Write& attributes, std::initializer_list<int> forgiven);

  NetlinkSocket socket_, lists_;  // two, so that one writes while the other reads
};

// Those that end, as the kernel tells; it waits for nobody, and drops what finds no room in the socket. Of one that began
// while nobody listened it may not tell.
class EndedConnections {
 public:
  // In the network namespace of the calling thread.
  static Result<EndedConnections> open();

  // What has arrived, without waiting, at most so many. What was lost on the way is no error.
  Result<void> read(std::size_t most, const std::function<void(const Connection&)>& visit);
  // How many were lost since the last call.
  std::uint32_t take_lost();

 private:
  explicit EndedConnections(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
  std::uint32_t lost_ = 0;  // so far
};

// Whether the kernel counts what connections of this network namespace carry, those that begin from now on at least
// (nf_conntrack_acct); has it do so if wanted.
Result<bool> counts_connections(bool wanted);
// Whether it tells of those that end (nf_conntrack_events).
bool tells_of_ended();

}  // namespace ocicat::kernel
