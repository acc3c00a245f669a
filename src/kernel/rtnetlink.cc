#include "kernel/rtnetlink.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

namespace ocicat::kernel {

std::uint8_t family_number(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

ByteView address_bytes(const IpAddress& address) {
  const auto bytes = std::span(address.bytes());
  return address.is_v4() ? bytes.last(4) : bytes;
}

std::optional<IpAddress> address_of(ByteView bytes) {
  if (bytes.size() == 4) {
    return IpAddress::v4(std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                         std::uint32_t{bytes[2]} << 8 | bytes[3]);
  }
  if (bytes.size() != 16) return std::nullopt;
  IpAddress::Bytes raw{};
  std::ranges::copy(bytes, raw.begin());
  return IpAddress::v6(raw);
}

namespace {

Result<void> dump_such(NetlinkSocket& socket, rtmsg header, const std::function<void(MessageView)>& visit) {
  for (const auto family : kFamilies) {
    header.rtm_family = family_number(family);
    MessageBuilder request;
    request.begin(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), header);
    request.end();
    const auto asked = socket.query(request.bytes(), visit);
    // The kernel makes the main table with its first route: until then there is none.
    if (!asked && asked.error().code != ErrorCode::kNotFound) return std::unexpected(asked.error());
  }
  return {};
}

}  // namespace

Result<void> dump_routes(NetlinkSocket& socket, int protocol, const std::function<void(MessageView)>& visit) {
  rtmsg header{};
  header.rtm_protocol = static_cast<std::uint8_t>(protocol);
  header.rtm_table = RT_TABLE_MAIN;
  return dump_such(socket, header, visit);
}

Result<void> dump_all_routes(NetlinkSocket& socket, const std::function<void(MessageView)>& visit) {
  return dump_such(socket, {}, visit);
}

}  // namespace ocicat::kernel
