#include "dataplane/ebpf/handover.h"

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>

#include "dataplane/ebpf/address_image.h"
#include "maps/timeouts.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;

// So many batches ago that whatever concerns a connection has changed since, and not so many that a
// difference of batches changes its sign.
constexpr std::uint32_t kLongAgo = 1U << 30;
// The kernel's answer to one walk is what packets meanwhile made of it: another walk follows.
constexpr int kMostWalks = 4;
constexpr std::uint32_t kTolerated = 2;  // seconds that a timeout may be short by

std::uint16_t be16(std::uint16_t value) {
  return static_cast<std::uint16_t>(value << 8 | value >> 8);
}

bool is_query(const kernel::Connection& connection) {
  return connection.source.is_v4() ? connection.protocol == IPPROTO_ICMP
                                   : connection.protocol == IPPROTO_ICMPV6;
}

bool has_ports(std::uint8_t protocol) {
  constexpr std::array kWithPorts{IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_SCTP};
  return std::ranges::find(kWithPorts, protocol) != kWithPorts.end();
}

// One end of a connection, with its port as a key has it.
struct Side {
  bpf::address address;
  std::uint16_t port = 0;
};

bool is_greater(const Side& a, const Side& b) {
  for (int word = 3; word >= 0; --word) {
    if (a.address.word[word] != b.address.word[word]) return a.address.word[word] > b.address.word[word];
  }
  return a.port > b.port;
}

// The key, and which of its ends the sender is (bpf/lib/packet.h: order_ends()).
std::pair<bpf::connection_key, int> key_of(Side sender, Side receiver, std::uint8_t protocol, bool query) {
  const bool swap = is_greater(sender, receiver);
  bpf::connection_key key{};
  key.address[swap ? 1 : 0] = sender.address;
  key.address[swap ? 0 : 1] = receiver.address;
  key.port[swap ? 1 : 0] = sender.port;
  key.port[swap ? 0 : 1] = receiver.port;
  key.protocol = protocol;
  key.asks = static_cast<std::uint8_t>(query ? 1 + swap : 0);
  return {key, swap};
}

std::pair<bpf::connection_key, int> key_of(const kernel::Connection& connection, const IpAddress& source,
                                           std::uint16_t source_port, const IpAddress& destination,
                                           std::uint16_t destination_port) {
  Side from{address_of(source)}, to{address_of(destination)};
  const bool query = is_query(connection);
  if (query) {
    from.port = be16(connection.icmp_id);
    to.port = be16(static_cast<std::uint16_t>(connection.icmp_type << 8 | connection.icmp_code));
  } else if (has_ports(connection.protocol)) {
    from.port = be16(source_port);
    to.port = be16(destination_port);
  }
  return key_of(from, to, connection.protocol, query);
}

bool is_same(const bpf::connection_key& a, const bpf::connection_key& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

constexpr std::uint8_t kAnything = bpf::SEEN_ANYTHING;
constexpr std::uint8_t kSyn = kAnything | bpf::TCP_SEEN_SYN, kAck = bpf::TCP_SEEN_ACK,
                       kFin = bpf::TCP_SEEN_FIN;

// In TCP's words (bpf/lib/sctp.h). Of what comes from the middle the kernel knows heartbeats alone.
std::array<std::uint8_t, 2> seen_of_sctp(kernel::SctpState state) {
  switch (state) {
    case kernel::SctpState::kEstablished:
    case kernel::SctpState::kShutdownSent:
    case kernel::SctpState::kShutdownReceived:
      return {kSyn | kAck, kSyn | kAck};
    case kernel::SctpState::kShutdownAckSent:
      return {kSyn | kAck | kFin, kSyn | kAck | kFin};
    case kernel::SctpState::kClosed:
      return {kSyn | kAck | bpf::TCP_SEEN_RST, kSyn | kAck};
    case kernel::SctpState::kCookieEchoed:
      return {kSyn | kAck, kSyn};
    default:
      return {kSyn, 0};
  }
}

// What both ends have said so far, who began it first.
std::array<std::uint8_t, 2> seen_of(const kernel::Connection& connection) {
  if (connection.protocol == IPPROTO_SCTP) return seen_of_sctp(connection.sctp_state);
  if (connection.protocol != IPPROTO_TCP)
    return {kAnything, connection.answered ? kAnything : std::uint8_t{0}};
  switch (connection.tcp_state) {
    case TCP_CONNTRACK_NONE:
    case TCP_CONNTRACK_SYN_SENT:
    case TCP_CONNTRACK_SYN_SENT2:
      return {kSyn, 0};
    case TCP_CONNTRACK_SYN_RECV:
      return {kSyn, kSyn | kAck};
    case TCP_CONNTRACK_LAST_ACK:
    case TCP_CONNTRACK_TIME_WAIT:
      return {kSyn | kAck | kFin, kSyn | kAck | kFin};
    case TCP_CONNTRACK_CLOSE:
      return {kSyn | kAck | bpf::TCP_SEEN_RST, kSyn | kAck};
    default:
      return {kSyn | kAck, kSyn | kAck};
  }
}

bpf::connection value_of(const kernel::Connection& connection, int sender, const TakeOver& how) {
  bpf::connection value{};
  value.seen = how.now;
  value.judged = how.judged;
  const auto seen = seen_of(connection);
  value.tcp[sender] = seen[0];
  value.tcp[sender ^ 1] = seen[1];
  if (sender != 0) value.flags |= bpf::CONNECTION_BEGUN_BY_SECOND;
  if ((connection.mark & how.revoked_mark) != 0) value.flags |= bpf::CONNECTION_DENIED;
  return value;
}

std::pair<bpf::connection_key, int> key_at_sender(const kernel::Connection& connection) {
  return key_of(connection, connection.source, connection.source_port, connection.asked,
                connection.asked_port);
}
std::pair<bpf::connection_key, int> key_at_receiver(const kernel::Connection& connection) {
  return key_of(connection, connection.seen, connection.seen_port, connection.destination,
                connection.destination_port);
}

bool is_translated(const kernel::Connection& connection) {
  return !is_same(key_at_sender(connection).first, key_at_receiver(connection).first);
}

// As programs know it: by the own addresses of workloads, whichever floating ones they are reached under.
std::optional<kernel::Connection> behind_floating(const kernel::Connection& connection,
                                                  const LocalEnds& ends) {
  auto behind = connection;
  if (ends.own(connection.asked) == connection.destination) {
    behind.asked = connection.destination;
    behind.asked_port = connection.destination_port;
  }
  if (ends.own(connection.seen) == connection.source) behind.seen = connection.source;
  if (behind.asked == connection.asked && behind.seen == connection.seen) return std::nullopt;
  return behind;
}

}  // namespace

std::uint32_t long_before(std::uint64_t batch) {
  return static_cast<std::uint32_t>(batch) - kLongAgo;
}

std::vector<NotedConnection> noted_at_workloads(const kernel::Connection& connection, const LocalEnds& ends,
                                                const TakeOver& how) {
  if (const auto behind = behind_floating(connection, ends)) {
    auto noted = noted_at_workloads(*behind, ends, how);
    for (auto& one : noted) one.value.flags |= bpf::CONNECTION_FLOATING;
    return noted;
  }
  std::vector<NotedConnection> noted;
  const auto sender = ends.slot(connection.source), receiver = ends.slot(connection.destination);
  if (sender != 0) {
    const auto [key, by] = key_at_sender(connection);
    auto value = value_of(connection, by, how);
    value.endpoint[by] = static_cast<std::uint16_t>(sender);
    if (ends.is_host(connection.asked)) value.flags |= bpf::CONNECTION_TO_HOST;
    noted.push_back({key, value});
  }
  if (receiver == 0) return noted;
  const auto [key, by] = key_at_receiver(connection);
  if (noted.empty() || !is_same(noted.front().key, key))
    noted.push_back({key, value_of(connection, by, how)});
  auto& value = noted.back().value;
  value.endpoint[by ^ 1] = static_cast<std::uint16_t>(receiver);
  if (sender == 0 && ends.is_host(connection.source)) value.flags |= bpf::CONNECTION_FROM_HOST;
  return noted;
}

// At a host: of which workload here it is.
void note_workload(const bpf::connection_key& key, bpf::connection& value, const LocalEnds& ends) {
  const auto by = bpf::beginner(&value);
  const auto began = ends.slot(address_of(key.address[by]));
  bpf::set_workload_at_host(&value, began != 0 ? began : ends.slot(address_of(key.address[1 - by])));
  value.flags &= static_cast<std::uint8_t>(~bpf::HOST_CONNECTION_FROM_WORKLOAD);
  if (began != 0) value.flags |= bpf::HOST_CONNECTION_FROM_WORKLOAD;
}

// Where its ends are reached, the next packets tell.
NotedConnection noted_at_host(const kernel::Connection& connection, const LocalEnds& ends,
                              const TakeOver& how) {
  auto [key, by] = key_of(connection, connection.source, connection.source_port, connection.destination,
                          connection.destination_port);
  key.at_host = 1;
  auto value = value_of(connection, by, how);
  const bool to_host = ends.is_host(connection.destination);
  if (!to_host && !ends.is_host(connection.source)) value.flags |= bpf::HOST_CONNECTION_FORWARDED;
  note_workload(key, value, ends);
  return {key, value};
}

// A program may have noted it meanwhile by a packet of the middle, and so mistaken who began it, or that it is open.
std::optional<bpf::connection> corrected(const bpf::connection& there, const bpf::connection& heard) {
  constexpr auto kTold = bpf::CONNECTION_BEGUN_BY_SECOND | bpf::CONNECTION_DENIED;
  bool agrees = (there.flags & kTold) == (heard.flags & kTold);
  for (int end = 0; end < 2; ++end) {
    const bool known = there.endpoint[end] != 0 && (there.endpoint[end] & END_OUTSIDE) == 0;
    agrees = agrees && (heard.endpoint[end] == 0 || known);
    agrees = agrees && (heard.tcp[end] & ~there.tcp[end] & bpf::TCP_SEEN_ACK) == 0;
  }
  if (agrees) return std::nullopt;
  auto result = heard;
  for (int end = 0; end < 2; ++end) {
    result.bytes[end] = there.bytes[end];
    result.packets[end] = there.packets[end];
    result.tcp[end] |= there.tcp[end];
  }
  return result;
}

namespace {

using Known = std::map<std::array<std::byte, sizeof(bpf::connection_key)>, bpf::connection>;

Result<Known> contents_of(kernel::bpf::ElementMap& map) {
  Known known;
  TRY_VOID(map.for_each([&](auto key, auto value) {
    Known::key_type bytes{};
    bpf::connection connection{};
    std::ranges::copy(key, bytes.begin());
    std::memcpy(&connection, value.data(), sizeof connection);
    known.emplace(bytes, connection);
  }));
  return known;
}

// One connection of the map, where it differs. One for which there is no room begins anew.
Result<std::uint64_t> settle(kernel::bpf::ElementMap& map, const Known& known, const NotedConnection& noted,
                             const TakeOver& how) {
  const auto found = known.find(std::bit_cast<Known::key_type>(noted.key));
  const bool counts =
      found != known.end() && seconds_left(found->second, noted.key.protocol, how.now, how.timeouts) > 0;
  const auto wanted = counts ? corrected(found->second, noted.value) : std::optional(noted.value);
  if (!wanted) return 0;
  const auto put = map.put(bytes_of(noted.key), bytes_of(*wanted));
  if (!put && put.error().code == ErrorCode::kExhausted) return 0;
  TRY_VOID(put);
  return 1;
}

}  // namespace

Result<std::uint64_t> take_connections(kernel::ConnectionKernel& kernel, kernel::bpf::ElementMap& map,
                                       const LocalEnds& ends, const TakeOver& how) {
  TRY(const auto known, contents_of(map));
  std::uint64_t writes = 0;
  Result<void> failed;
  const auto write = [&](const NotedConnection& noted) {
    if (!failed) return;
    const auto written = settle(map, known, noted, how);
    if (written) writes += *written;
    if (!written) failed = std::unexpected(written.error());
  };
  TRY_VOID(kernel.list([&](const kernel::Connection& connection) {
    for (const auto& noted : noted_at_workloads(connection, ends, how)) write(noted);
    if (how.at_host) write(noted_at_host(connection, ends, how));
  }));
  TRY_VOID(failed);
  return writes;
}

// At host endpoints, the next packets tell where ends are reached.
Result<std::uint64_t> take_connections(const OlderConnections& older, kernel::bpf::ElementMap& map,
                                       const LocalEnds& ends, const TakeOver& how) {
  TRY(const auto known, contents_of(map));
  std::uint64_t writes = 0;
  Result<void> failed;
  TRY_VOID(older.for_each([&](NotedConnection noted) {
    if (!failed || seconds_left(noted.value, noted.key.protocol, how.now, how.timeouts) <= 0) return;
    noted.value.judged = how.judged;
    const bool at_host = noted.key.at_host != 0;
    for (int end = 0; end < 2 && !at_host; ++end)
      noted.value.endpoint[end] = static_cast<std::uint16_t>(ends.slot(address_of(noted.key.address[end])));
    const bool is_here = (noted.value.endpoint[0] | noted.value.endpoint[1]) != 0;
    if (at_host ? !how.at_host : !is_here) return;
    if (at_host) note_workload(noted.key, noted.value, ends);
    const auto written = settle(map, known, noted, how);
    if (written) writes += *written;
    if (!written) failed = std::unexpected(written.error());
  }));
  TRY_VOID(failed);
  return writes;
}

std::optional<kernel::Connection> tracked(const NotedConnection& noted, const GiveBack& how) {
  const auto& [key, value] = noted;
  const auto left = seconds_left(value, key.protocol, how.now, how.timeouts);
  if (left <= 0 || bpf::is_closed(&value) || key.protocol == IPPROTO_SCTP) return std::nullopt;
  const int by = (value.flags & bpf::CONNECTION_BEGUN_BY_SECOND) != 0 ? 1 : 0, to = by ^ 1;
  kernel::Connection connection;
  connection.source = connection.seen = address_of(key.address[by]);
  connection.destination = connection.asked = address_of(key.address[to]);
  connection.protocol = key.protocol;
  if (key.asks != 0) {
    if (key.asks != 1 + by) return std::nullopt;  // an answer that nobody asked for
    connection.icmp_id = be16(key.port[by]);
    connection.icmp_type = static_cast<std::uint8_t>(be16(key.port[to]) >> 8);
    connection.icmp_code = static_cast<std::uint8_t>(be16(key.port[to]) & 0xff);
  } else {
    connection.source_port = connection.seen_port = be16(key.port[by]);
    connection.destination_port = connection.asked_port = be16(key.port[to]);
  }
  connection.timeout = static_cast<std::uint32_t>(left);
  connection.answered = value.tcp[to] != 0;
  connection.assured = connection.answered;
  if (key.protocol == IPPROTO_TCP) {
    const bool open = (value.tcp[0] & value.tcp[1] & bpf::TCP_SEEN_ACK) != 0;
    connection.tcp_state = open                 ? TCP_CONNTRACK_ESTABLISHED
                           : value.tcp[to] != 0 ? TCP_CONNTRACK_SYN_RECV
                                                : TCP_CONNTRACK_SYN_SENT;
    connection.assured = open;
  }
  if ((value.flags & bpf::CONNECTION_DENIED) != 0) connection.mark = how.revoked_mark;
  return connection;
}

namespace {

// Of two for the same connection: whether the first says better what it is. At a workload it is known who began
// it; at a host endpoint it may have been noted by a packet of the middle.
bool outweighs(const NotedConnection& a, const NotedConnection& b) {
  if (a.key.at_host != b.key.at_host) return a.key.at_host == 0;
  return static_cast<std::int32_t>(a.value.seen - b.value.seen) > 0;
}

bool floats(const NotedConnection& noted) {
  return noted.key.at_host == 0 && (noted.value.flags & bpf::CONNECTION_FLOATING) != 0;
}

bool is_forwarded(const NotedConnection& noted) {
  if (noted.key.at_host != 0) return (noted.value.flags & bpf::HOST_CONNECTION_FORWARDED) != 0;
  return (noted.value.flags & bpf::CONNECTION_TO_HOST) == 0;
}

}  // namespace

bool TrackingPlanner::Less::operator()(const bpf::connection_key& a, const bpf::connection_key& b) const {
  return std::memcmp(&a, &b, sizeof a) < 0;
}

void TrackingPlanner::want(const NotedConnection& noted, const GiveBack& how) {
  auto connection = tracked(noted, how);
  if (!connection) return;
  auto key = noted.key;
  key.at_host = 0;
  const auto [found, is_first] = wanted_.try_emplace(key);
  auto& wanted = found->second;
  const auto mark = wanted.connection.mark | connection->mark;  // denied at one place is denied
  if (is_first || outweighs(noted, wanted.noted)) {
    wanted.translated = floats(noted) || (is_forwarded(noted) && how.translates(*connection));
    wanted.noted = noted;
    wanted.connection = std::move(*connection);
  }
  wanted.connection.mark = mark;
}

namespace {

// Whether the kernel's own idea of it will not do for what comes next.
bool falls_short(const kernel::Connection& there, const kernel::Connection& wanted) {
  const bool is_opening =
      there.tcp_state < TCP_CONNTRACK_ESTABLISHED || there.tcp_state == TCP_CONNTRACK_SYN_SENT2;
  if (wanted.protocol == IPPROTO_TCP) {
    if (is_opening && wanted.tcp_state == TCP_CONNTRACK_ESTABLISHED) return true;
    if (!is_opening && there.tcp_state != TCP_CONNTRACK_ESTABLISHED)
      return false;  // it ends: the stack sees that
  }
  return there.timeout + kTolerated < wanted.timeout || (wanted.answered && !there.answered);
}

}  // namespace

void TrackingPlanner::hear(const kernel::Connection& there) {
  const auto [key, by] = key_at_sender(there);
  auto found = wanted_.find(key);
  if (found == wanted_.end()) found = wanted_.find(key_at_receiver(there).first);
  if (found == wanted_.end()) return;
  auto& [noted, wanted, translated, settled] = found->second;
  settled = true;
  const bool unmarked = (there.mark & wanted.mark) != wanted.mark;
  if (is_translated(there)) {
    if (unmarked) plan_.mark.push_back(there);
  } else if (there.source != wanted.source || there.source_port != wanted.source_port) {
    plan_.remove.push_back(there);
    plan_.put.push_back(wanted);
  } else if (falls_short(there, wanted)) {
    auto more = wanted;
    more.timeout = std::max(there.timeout, wanted.timeout);
    more.answered |= there.answered;
    more.assured |= there.assured;
    plan_.put.push_back(std::move(more));
  } else if (unmarked) {
    plan_.mark.push_back(there);
  }
}

TrackingPlan TrackingPlanner::take() {
  for (auto& [key, wanted] : wanted_) {
    if (!wanted.settled && !wanted.translated) plan_.put.push_back(std::move(wanted.connection));
  }
  wanted_.clear();
  return std::exchange(plan_, {});
}

Result<std::uint64_t> give_connections(kernel::ConnectionKernel& kernel, kernel::bpf::ElementMap& map,
                                       GiveBack how) {
  std::uint64_t writes = 0;
  for (int walk = 0; walk < kMostWalks; ++walk) {
    TrackingPlanner planner;
    how.now = ticks_now();
    TRY_VOID(map.for_each([&](auto key, auto value) {
      NotedConnection noted{};
      std::memcpy(&noted.key, key.data(), sizeof noted.key);
      std::memcpy(&noted.value, value.data(), sizeof noted.value);
      planner.want(noted, how);
    }));
    TRY_VOID(kernel.list([&](const kernel::Connection& there) { planner.hear(there); }));
    const auto plan = planner.take();
    const auto size = plan.remove.size() + plan.put.size() + plan.mark.size();
    if (size == 0) break;
    TRY_VOID(kernel.remove(plan.remove));
    TRY_VOID(kernel.put(plan.put));
    TRY_VOID(kernel.mark(plan.mark, how.revoked_mark, how.revoked_mark));
    writes += size;
  }
  return writes;
}

}  // namespace ocicat::dataplane::ebpf
