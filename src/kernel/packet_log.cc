#include "kernel/packet_log.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <sys/socket.h>

#include <cstring>

namespace ocicat::kernel {
namespace {

constexpr std::uint16_t kLogSubsystem = NFNL_SUBSYS_ULOG << 8, kTablesSubsystem = NFNL_SUBSYS_NFTABLES << 8;
constexpr int kLogBuffer = 8 << 20;  // about 20,000 packets
constexpr std::uint32_t kHeaders = 128;
constexpr std::uint32_t kBunch = 64;    // packets
constexpr std::uint32_t kPatience = 5;  // hundredths of a second

std::uint64_t be64(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0;
  if (bytes.size() < sizeof value) return 0;
  for (std::size_t i = 0; i < sizeof value; ++i) value = value << 8 | bytes[i];
  return value;
}

LoggedPacket packet_of(const Attributes& attributes) {
  LoggedPacket packet;
  packet.prefix = attributes.text(NFULA_PREFIX);
  const auto header = attributes.bytes(NFULA_PACKET_HDR);
  if (header.size() >= sizeof(nfulnl_msg_packet_hdr)) packet.hook = header[2];
  packet.came_by = attributes.be32(NFULA_IFINDEX_INDEV);
  packet.leaves_by = attributes.be32(NFULA_IFINDEX_OUTDEV);
  packet.packet = attributes.bytes(NFULA_PAYLOAD);
  packet.mark = attributes.be32(NFULA_MARK);
  const auto stamp = attributes.bytes(NFULA_TIMESTAMP);
  if (stamp.size() >= sizeof(nfulnl_msg_packet_timestamp)) {
    const auto since = std::chrono::seconds(be64(stamp)) + std::chrono::microseconds(be64(stamp.subspan(8)));
    packet.time = std::chrono::system_clock::time_point(since);
  }
  return packet;
}

}  // namespace

Result<PacketLog> PacketLog::open() {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  TRY_VOID(socket.receive_buffer(kLogBuffer));
  return PacketLog(std::move(socket));
}

Result<void> PacketLog::listen(std::uint16_t group) {
  MessageBuilder request;
  const nfgenmsg header{AF_UNSPEC, NFNETLINK_V0, __builtin_bswap16(group)};
  const auto begin = [&] {
    request.begin(kLogSubsystem | NFULNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, socket_.next_sequence(),
                  header);
  };
  begin();
  request.put_u8(NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND);
  request.end();
  begin();
  nfulnl_msg_config_mode mode{};
  mode.copy_range = __builtin_bswap32(kHeaders);
  mode.copy_mode = NFULNL_COPY_PACKET;
  std::array<std::uint8_t, sizeof mode> bytes{};
  std::memcpy(bytes.data(), &mode, sizeof mode);
  request.put(NFULA_CFG_MODE, bytes);
  request.put_be32(NFULA_CFG_QTHRESH, kBunch);
  request.put_be32(NFULA_CFG_TIMEOUT, kPatience);
  request.end();
  TRY(const auto answers, socket_.request(request.bytes()));
  for (const auto& answer : answers) {
    if (answer.error_number == EBUSY)
      return fail(ErrorCode::kUnavailable, "somebody else listens to log group {}", group);
    if (answer.error_number != 0)
      return fail_errno(fmt::format("listen to log group {}", group), answer.error_number);
  }
  return {};
}

Result<void> PacketLog::read(const std::function<void(const LoggedPacket&)>& visit) {
  while (true) {
    const auto done = socket_.receive_waiting([&](MessageView message) {
      if (message.nlmsg_type != (kLogSubsystem | NFULNL_MSG_PACKET)) return;
      visit(packet_of(Attributes::of_message(message, sizeof(nfgenmsg), NFULA_MAX + 1)));
    });
    if (done || done.error().code != ErrorCode::kExhausted) return done;
  }
}

Result<ChainCounters> ChainCounters::open(std::string table) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  return ChainCounters(std::move(socket), std::move(table));
}

Result<std::vector<std::uint64_t>> ChainCounters::packets(std::string_view chain) {
  MessageBuilder request;
  request.begin(kTablesSubsystem | NFT_MSG_GETRULE, NLM_F_REQUEST | NLM_F_DUMP, socket_.next_sequence(),
                nfgenmsg{NFPROTO_INET, NFNETLINK_V0, 0});
  request.put_string(NFTA_RULE_TABLE, table_);
  request.put_string(NFTA_RULE_CHAIN, chain);
  request.end();
  std::vector<std::uint64_t> packets;
  const auto done = socket_.query(request.bytes(), [&](MessageView message) {
    const auto rule = Attributes::of_message(message, sizeof(nfgenmsg), NFTA_RULE_MAX + 1);
    if (!rule.has(NFTA_RULE_EXPRESSIONS) || rule.text(NFTA_RULE_CHAIN) != chain) return;
    for_each_attribute(rule[NFTA_RULE_EXPRESSIONS], [&](const nlattr* element) {
      const auto expression = Attributes::of_nest(element, NFTA_EXPR_MAX + 1);
      if (expression.text(NFTA_EXPR_NAME) != "counter" || !expression.has(NFTA_EXPR_DATA)) return;
      const auto data = Attributes::of_nest(expression[NFTA_EXPR_DATA], NFTA_COUNTER_MAX + 1);
      packets.push_back(be64(data.bytes(NFTA_COUNTER_PACKETS)));
    });
  });
  if (!done && done.error().code == ErrorCode::kNotFound) return std::vector<std::uint64_t>{};
  if (!done) return within("read counters", done.error());
  return packets;
}

}  // namespace ocicat::kernel
