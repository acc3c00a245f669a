#include "kernel/connections.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

constexpr std::uint16_t kSubsystem = NFNL_SUBSYS_CTNETLINK << 8;
constexpr int kReceiveBuffer = 4 << 20;
constexpr std::size_t kMostAtOnce = 256;  // acknowledgements wait in the socket until all are sent

std::uint16_t be16(const Attributes& attributes, std::size_t type) {
  const auto bytes = attributes.bytes(type);
  return bytes.size() < 2 ? std::uint16_t{0} : static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}
std::uint8_t u8(const Attributes& attributes, std::size_t type) {
  const auto bytes = attributes.bytes(type);
  return bytes.empty() ? std::uint8_t{0} : bytes[0];
}

std::optional<IpAddress> address_in(const Attributes& tuple, std::size_t v4, std::size_t v6) {
  const auto ip = Attributes::of_nest(tuple[CTA_TUPLE_IP], CTA_IP_MAX + 1);
  return address_of(ip.bytes(ip.has(v4) ? v4 : v6));
}

// The attribute itself, header and padding included.
void keep(const nlattr* attribute, std::vector<std::uint8_t>& into) {
  if (attribute == nullptr) return;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(attribute);
  into.insert(into.end(), bytes, bytes + attribute->nla_len);
  into.resize((into.size() + NLA_ALIGNTO - 1) / NLA_ALIGNTO * NLA_ALIGNTO);
}

// Nothing: of a kind that has no addresses, or of a newer kernel.
std::optional<Connection> connection_of(MessageView message) {
  const auto attributes = Attributes::of_message(message, sizeof(nfgenmsg), CTA_MAX + 1);
  const auto original = Attributes::of_nest(attributes[CTA_TUPLE_ORIG], CTA_TUPLE_MAX + 1);
  const auto reply = Attributes::of_nest(attributes[CTA_TUPLE_REPLY], CTA_TUPLE_MAX + 1);
  const auto source = address_in(original, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  const auto destination = address_in(reply, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
  if (!source || !destination || source->family() != destination->family()) return std::nullopt;
  const auto first = Attributes::of_nest(original[CTA_TUPLE_PROTO], CTA_PROTO_MAX + 1);
  const auto answer = Attributes::of_nest(reply[CTA_TUPLE_PROTO], CTA_PROTO_MAX + 1);
  Connection connection;
  connection.source = *source;
  connection.destination = *destination;
  connection.protocol = u8(first, CTA_PROTO_NUM);
  connection.source_port = be16(first, CTA_PROTO_SRC_PORT);
  connection.destination_port = be16(answer, CTA_PROTO_SRC_PORT);
  const bool v4 = source->is_v4();
  connection.icmp_type = u8(first, v4 ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE);
  connection.icmp_code = u8(first, v4 ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE);
  connection.expected = (attributes.be32(CTA_STATUS) & IPS_EXPECTED) != 0;
  connection.mark = attributes.be32(CTA_MARK);
  keep(attributes[CTA_TUPLE_ORIG], connection.identity);
  keep(attributes[CTA_ZONE], connection.identity);
  return connection;
}

nfgenmsg header_of(std::uint8_t family) {
  return {family, NFNETLINK_V0, 0};
}

}  // namespace

Result<std::unique_ptr<NetlinkConnections>> NetlinkConnections::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(socket.receive_buffer(kReceiveBuffer));
  return std::make_unique<NetlinkConnections>(std::move(socket));
}

Result<void> NetlinkConnections::list(const std::function<void(const Connection&)>& visit) {
  MessageBuilder request;
  request.begin(kSubsystem | IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(),
                header_of(AF_UNSPEC));
  request.end();
  const auto done = socket_.query(request.bytes(), [&](MessageView message) {
    if (const auto connection = connection_of(message)) visit(*connection);
  });
  return done ? Result<void>() : within("list connections", done.error());
}

Result<void> NetlinkConnections::mark(const std::vector<Connection>& connections, std::uint32_t value,
                                      std::uint32_t mask) {
  auto rest = std::span(connections);
  while (!rest.empty()) {
    const auto part = rest.first(std::min(rest.size(), kMostAtOnce));
    rest = rest.subspan(part.size());
    MessageBuilder request;
    for (const auto& connection : part) {
      request.begin(kSubsystem | IPCTNL_MSG_CT_NEW, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(),
                    header_of(family_number(connection.source.family())));
      request.append(connection.identity.data(), connection.identity.size());
      request.put_be32(CTA_MARK, value & mask);
      request.put_be32(CTA_MARK_MASK, mask);
      request.end();
    }
    TRY(const auto answers, socket_.request(request.bytes()));
    for (const auto& answer : answers) {
      if (answer.error_number != 0 && answer.error_number != ENOENT)
        return fail_errno("mark a connection", answer.error_number);
    }
  }
  return {};
}

}  // namespace ocicat::kernel
