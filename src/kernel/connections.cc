#include "kernel/connections.h"

#include <fcntl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>

#include "base/unique_fd.h"
#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

constexpr std::uint16_t kSubsystem = NFNL_SUBSYS_CTNETLINK << 8;
constexpr int kReceiveBuffer = 4 << 20;
constexpr int kEndedBuffer = 8 << 20;     // some 10,000
constexpr std::size_t kMostAtOnce = 256;  // answers wait in the socket until all are sent

std::uint16_t be16(const Attributes& attributes, std::size_t type) {
  const auto bytes = attributes.bytes(type);
  return bytes.size() < 2 ? std::uint16_t{0} : static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}
std::uint8_t u8(const Attributes& attributes, std::size_t type) {
  const auto bytes = attributes.bytes(type);
  return bytes.empty() ? std::uint8_t{0} : bytes[0];
}

std::optional<IpAddress> address_in(const Attributes& ip, std::size_t v4, std::size_t v6) {
  return address_of(ip.bytes(ip.has(v4) ? v4 : v6));
}

// The attribute itself, header and padding included, as one of this type.
void keep(const nlattr* attribute, std::uint16_t type, std::vector<std::uint8_t>& into) {
  if (attribute == nullptr) return;
  auto header = *attribute;
  header.nla_type = static_cast<std::uint16_t>((header.nla_type & ~NLA_TYPE_MASK) | type);
  const auto* begin = reinterpret_cast<const std::uint8_t*>(&header);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(attribute);
  into.insert(into.end(), begin, begin + sizeof header);
  into.insert(into.end(), bytes + sizeof header, bytes + attribute->nla_len);
  into.resize((into.size() + NLA_ALIGNTO - 1) / NLA_ALIGNTO * NLA_ALIGNTO);
}

struct TupleEnd {
  IpAddress address;
  std::uint16_t port = 0;
};
struct Tuple {
  TupleEnd source, destination;
  std::uint8_t protocol = 0, icmp_type = 0, icmp_code = 0;
  std::uint16_t icmp_id = 0;
};
// Nothing: of a kind that has no addresses.
std::optional<Tuple> tuple_in(const nlattr* attribute) {
  const auto tuple = Attributes::of_nest(attribute, CTA_TUPLE_MAX + 1);
  const auto ip = Attributes::of_nest(tuple[CTA_TUPLE_IP], CTA_IP_MAX + 1);
  const auto source = address_in(ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  const auto destination = address_in(ip, CTA_IP_V4_DST, CTA_IP_V6_DST);
  if (!source || !destination || source->family() != destination->family()) return std::nullopt;
  const auto protocol = Attributes::of_nest(tuple[CTA_TUPLE_PROTO], CTA_PROTO_MAX + 1);
  const bool v4 = source->is_v4();
  return Tuple{
      .source = {*source, be16(protocol, CTA_PROTO_SRC_PORT)},
      .destination = {*destination, be16(protocol, CTA_PROTO_DST_PORT)},
      .protocol = u8(protocol, CTA_PROTO_NUM),
      .icmp_type = u8(protocol, v4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE),
      .icmp_code = u8(protocol, v4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE),
      .icmp_id = be16(protocol, v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID),
  };
}

// What the first packet of a connection says of it.
Connection begun_by(const Tuple& original) {
  Connection connection;
  connection.source = connection.seen = original.source.address;
  connection.destination = connection.asked = original.destination.address;
  connection.protocol = original.protocol;
  connection.source_port = connection.seen_port = original.source.port;
  connection.destination_port = connection.asked_port = original.destination.port;
  connection.icmp_type = original.icmp_type;
  connection.icmp_code = original.icmp_code;
  connection.icmp_id = original.icmp_id;
  return connection;
}

// The one for which it was expected, from what the kernel keeps of that even when it has gone. Where its destination was
// translated, helpers have the expected one translated alike, whoever of the two opens it. Marks are handed on.
std::shared_ptr<const Connection> master_of(const Connection& expected, const Attributes& attributes) {
  const auto original = tuple_in(attributes[CTA_TUPLE_MASTER]);
  if (!original) return nullptr;
  auto master = begun_by(*original);
  if (expected.asked == master.asked) master.destination = expected.destination;
  if (expected.seen == master.asked) master.destination = expected.source;
  master.mark = expected.mark;
  keep(attributes[CTA_TUPLE_MASTER], CTA_TUPLE_ORIG, master.identity);
  keep(attributes[CTA_ZONE], CTA_ZONE, master.identity);
  return std::make_shared<const Connection>(std::move(master));
}

void read_counters(const Attributes& attributes, Connection& connection) {
  connection.counted = attributes.has(CTA_COUNTERS_ORIG) && attributes.has(CTA_COUNTERS_REPLY);
  for (std::size_t way = 0; way < 2; ++way) {
    const auto counters = Attributes::of_nest(attributes[way == 0 ? CTA_COUNTERS_ORIG : CTA_COUNTERS_REPLY],
                                              CTA_COUNTERS_MAX + 1);
    connection.packets[way] = counters.be64(CTA_COUNTERS_PACKETS);
    connection.bytes[way] = counters.be64(CTA_COUNTERS_BYTES);
  }
}

// Nothing: of a kind that has no addresses, or of a newer kernel.
std::optional<Connection> connection_of(MessageView message) {
  const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), CTA_MAX + 1);
  const auto original = tuple_in(attributes[CTA_TUPLE_ORIG]);
  const auto reply = tuple_in(attributes[CTA_TUPLE_REPLY]);
  if (!original || !reply || original->source.address.family() != reply->source.address.family())
    return std::nullopt;
  auto connection = begun_by(*original);
  connection.destination = reply->source.address;
  connection.destination_port = reply->source.port;
  connection.seen = reply->destination.address;
  connection.seen_port = reply->destination.port;
  const auto status = attributes.be32(CTA_STATUS);
  connection.answered = (status & IPS_SEEN_REPLY) != 0;
  connection.assured = (status & IPS_ASSURED) != 0;
  const auto info = Attributes::of_nest(attributes[CTA_PROTOINFO], CTA_PROTOINFO_MAX + 1);
  const auto tcp = Attributes::of_nest(info[CTA_PROTOINFO_TCP], CTA_PROTOINFO_TCP_MAX + 1);
  connection.tcp_state = u8(tcp, CTA_PROTOINFO_TCP_STATE);
  const auto sctp = Attributes::of_nest(info[CTA_PROTOINFO_SCTP], CTA_PROTOINFO_SCTP_MAX + 1);
  connection.sctp_state = SctpState{u8(sctp, CTA_PROTOINFO_SCTP_STATE)};
  connection.timeout = attributes.be32(CTA_TIMEOUT);
  connection.mark = attributes.be32(CTA_MARK);
  keep(attributes[CTA_TUPLE_ORIG], CTA_TUPLE_ORIG, connection.identity);
  keep(attributes[CTA_ZONE], CTA_ZONE, connection.identity);
  connection.id = attributes.be32(CTA_ID);
  read_counters(attributes, connection);
  connection.master = master_of(connection, attributes);
  return connection;
}

// What answers an ICMP query of this type.
std::uint8_t answering(std::uint8_t type, bool v4) {
  constexpr std::uint8_t kEcho = 8, kEchoReply = 0;
  return v4 && type == kEcho ? kEchoReply : static_cast<std::uint8_t>(type + 1);
}

void put_be16(MessageBuilder& message, std::uint16_t type, std::uint16_t value) {
  const std::array<std::uint8_t, 2> bytes{static_cast<std::uint8_t>(value >> 8),
                                          static_cast<std::uint8_t>(value & 0xff)};
  message.put(type, bytes);
}

void put_icmp(MessageBuilder& message, const Connection& connection, bool reply) {
  const bool v4 = connection.source.is_v4();
  const auto type = reply ? answering(connection.icmp_type, v4) : connection.icmp_type;
  put_be16(message, v4 ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, connection.icmp_id);
  message.put_u8(v4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, type);
  message.put_u8(v4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, connection.icmp_code);
}

void put_tuple(MessageBuilder& message, const Connection& connection, bool reply) {
  const bool v4 = connection.source.is_v4();
  const auto& from = reply ? connection.destination : connection.source;
  const auto& to = reply ? connection.source : connection.destination;
  const auto tuple = message.begin_nest(reply ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
  const auto ip = message.begin_nest(CTA_TUPLE_IP);
  message.put(v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, address_bytes(from));
  message.put(v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, address_bytes(to));
  message.end_nest(ip);
  const auto protocol = message.begin_nest(CTA_TUPLE_PROTO);
  message.put_u8(CTA_PROTO_NUM, connection.protocol);
  if (v4 ? connection.protocol == IPPROTO_ICMP : connection.protocol == IPPROTO_ICMPV6) {
    put_icmp(message, connection, reply);
  } else {
    put_be16(message, CTA_PROTO_SRC_PORT, reply ? connection.destination_port : connection.source_port);
    put_be16(message, CTA_PROTO_DST_PORT, reply ? connection.source_port : connection.destination_port);
  }
  message.end_nest(protocol);
  message.end_nest(tuple);
}

void put_tcp(MessageBuilder& message, std::uint8_t state) {
  constexpr std::array<std::uint8_t, 2> kLiberal{IP_CT_TCP_FLAG_BE_LIBERAL, IP_CT_TCP_FLAG_BE_LIBERAL};
  const auto info = message.begin_nest(CTA_PROTOINFO);
  const auto tcp = message.begin_nest(CTA_PROTOINFO_TCP);
  message.put_u8(CTA_PROTOINFO_TCP_STATE, state);
  message.put(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, kLiberal);
  message.put(CTA_PROTOINFO_TCP_FLAGS_REPLY, kLiberal);
  message.end_nest(tcp);
  message.end_nest(info);
}

nfgenmsg netfilter_header(std::uint8_t family) {
  return {family, NFNETLINK_V0, 0};
}

}  // namespace

Result<std::unique_ptr<NetlinkConnections>> NetlinkConnections::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(socket.receive_buffer(kReceiveBuffer));
  TRY(auto lists, NetlinkSocket::open(NETLINK_NETFILTER));
  return std::make_unique<NetlinkConnections>(std::move(socket), std::move(lists));
}

Result<void> NetlinkConnections::list(const std::function<void(const Connection&)>& visit) {
  MessageBuilder request;
  request.begin(kSubsystem | IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, lists_.next_sequence(),
                netfilter_header(AF_UNSPEC));
  request.end();
  Result<void> found;
  const auto done = lists_.query(request.bytes(), [&](MessageView message) {
    auto connection = connection_of(message);
    if (!connection) return;
    if (connection->master && found) found = find_masters(*connection);
    visit(*connection);
  });
  return done && found ? Result<void>() : within("list connections", (done ? found : done).error());
}

// Whichever way round.
Result<std::optional<Connection>> NetlinkConnections::find(Family family, ByteView tuple) {
  MessageBuilder request;
  request.begin(kSubsystem | IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(),
                netfilter_header(family_number(family)));
  request.append(tuple.data(), tuple.size());
  request.end();
  std::optional<Connection> found;
  const auto done =
      socket_.query(request.bytes(), [&](MessageView message) { found = connection_of(message); });
  if (!done && done.error().code != ErrorCode::kNotFound) return std::unexpected(done.error());
  return found;
}

Result<std::optional<Connection>> NetlinkConnections::find(const Connection& connection) {
  TRY(auto found, find(connection.source.family(), connection.identity));
  if (found && found->identity != connection.identity) found.reset();
  return found;
}

// Its destination translated, what answers is as the packet says; its source, what began it.
Result<std::optional<Asked>> NetlinkConnections::asked_for(const Connection& connection) {
  for (const bool reply : {true, false}) {
    MessageBuilder tuple;
    put_tuple(tuple, connection, reply);
    TRY(const auto found, find(connection.source.family(), tuple.bytes()));
    if (found && found->source == connection.source && found->destination == connection.destination)
      return Asked{found->asked, found->asked_port};
  }
  return std::optional<Asked>();
}

// A master may have been expected itself.
Result<void> NetlinkConnections::find_masters(Connection& connection) {
  constexpr int kMost = 4;  // if another connection has become what a master was, it might have itself as one
  auto* at = &connection;
  for (int i = 0; i < kMost && at->master; ++i) {
    TRY(auto master, find(*at->master));
    if (!master) break;
    const auto kept = std::make_shared<Connection>(*std::move(master));
    at->master = kept;
    at = kept.get();
  }
  return {};
}

Result<void> NetlinkConnections::write(const char* what, const std::vector<Connection>& connections,
                                       std::uint16_t type, std::uint16_t flags, const Write& attributes,
                                       std::initializer_list<int> forgiven) {
  auto rest = std::span(connections);
  while (!rest.empty()) {
    const auto part = rest.first(std::min(rest.size(), kMostAtOnce));
    rest = rest.subspan(part.size());
    MessageBuilder request;
    for (const auto& connection : part) {
      request.begin(kSubsystem | type, NLM_F_REQUEST | flags, socket_.next_sequence(),
                    netfilter_header(family_number(connection.source.family())));
      attributes(connection, request);
      request.end();
    }
    TRY(const auto answers, socket_.request(request.bytes()));
    for (const auto& answer : answers) {
      if (answer.error_number != 0 && std::ranges::find(forgiven, answer.error_number) == forgiven.end())
        return fail_errno(what, answer.error_number);
    }
  }
  return {};
}

Result<void> NetlinkConnections::mark(const std::vector<Connection>& connections, std::uint32_t value,
                                      std::uint32_t mask) {
  const auto attributes = [&](const Connection& connection, MessageBuilder& request) {
    request.append(connection.identity.data(), connection.identity.size());
    request.put_be32(CTA_MARK, value & mask);
    request.put_be32(CTA_MARK_MASK, mask);
  };
  return write("mark a connection", connections, IPCTNL_MSG_CT_NEW, 0, attributes, {ENOENT});
}

Result<void> NetlinkConnections::put(const std::vector<Connection>& connections) {
  const auto attributes = [](const Connection& connection, MessageBuilder& request) {
    put_tuple(request, connection, false);
    put_tuple(request, connection, true);
    request.put_be32(CTA_TIMEOUT, connection.timeout);
    std::uint32_t status = IPS_CONFIRMED;
    if (connection.answered) status |= IPS_SEEN_REPLY;
    if (connection.assured) status |= IPS_ASSURED;
    request.put_be32(CTA_STATUS, status);
    if (connection.protocol == IPPROTO_TCP) put_tcp(request, connection.tcp_state);
    if (connection.mark == 0) return;
    request.put_be32(CTA_MARK, connection.mark);
    request.put_be32(CTA_MARK_MASK, connection.mark);
  };
  return write("track a connection", connections, IPCTNL_MSG_CT_NEW, NLM_F_CREATE, attributes,
               {ENOENT, EEXIST, EBUSY});
}

Result<void> NetlinkConnections::remove(const std::vector<Connection>& connections) {
  const auto attributes = [](const Connection& connection, MessageBuilder& request) {
    request.append(connection.identity.data(), connection.identity.size());
  };
  return write("forget a connection", connections, IPCTNL_MSG_CT_DELETE, 0, attributes, {ENOENT});
}

Result<EndedConnections> EndedConnections::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(socket.receive_buffer(kEndedBuffer));
  TRY_VOID(socket.join(NFNLGRP_CONNTRACK_DESTROY));
  return EndedConnections(std::move(socket));
}

Result<void> EndedConnections::read(std::size_t most, const std::function<void(const Connection&)>& visit) {
  while (most > 0) {
    const auto done = socket_.receive_waiting(
        [&](MessageView message) {
          most -= most > 0 ? 1 : 0;  // a datagram has one message
          if (message.nlmsg_type != (kSubsystem | IPCTNL_MSG_CT_DELETE)) return;
          if (const auto connection = connection_of(message)) visit(*connection);
        },
        most);
    if (done || done.error().code != ErrorCode::kExhausted) return done;
  }
  return {};
}

std::uint32_t EndedConnections::take_lost() {
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof memory;
  if (::getsockopt(socket_.fd(), SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0) return 0;
  const auto now = memory[SK_MEMINFO_DROPS];
  return now - std::exchange(lost_, now);
}

bool tells_of_ended() {
  const UniqueFd setting(::open("/proc/sys/net/netfilter/nf_conntrack_events", O_RDONLY | O_CLOEXEC));
  char value = '0';
  return setting && ::read(setting.get(), &value, 1) == 1 && value != '0';
}

Result<bool> counts_connections(bool wanted) {
  constexpr const char* kSetting = "/proc/sys/net/netfilter/nf_conntrack_acct";
  TRY([[maybe_unused]] const auto loads,
      NetlinkConnections::open());  // the module, where it has not been needed yet
  const UniqueFd setting(::open(kSetting, O_RDONLY | O_CLOEXEC));
  char value = '0';
  if (!setting || ::read(setting.get(), &value, 1) != 1) return fail_errno(kSetting, errno);
  if (value != '0' || !wanted) return value != '0';
  const UniqueFd writing(::open(kSetting, O_WRONLY | O_CLOEXEC));
  if (!writing || ::write(writing.get(), "1", 1) != 1) return fail_errno(kSetting, errno);
  return true;
}

}  // namespace ocicat::kernel
