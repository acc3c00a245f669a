#include "kernel/hop_objects.h"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstring>

#include "kernel/rtnetlink.h"

namespace ocicat::kernel {

void put_added_hop(MessageBuilder& builder, std::uint32_t sequence, int protocol, const HopObject& hop) {
  nhmsg header{};
  header.nh_family = family_number(hop.gateway.family());
  header.nh_protocol = static_cast<std::uint8_t>(protocol);
  header.nh_flags = RTNH_F_ONLINK;
  builder.begin(RTM_NEWNEXTHOP, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, sequence, header);
  builder.put_u32(NHA_ID, hop.number);
  builder.put_u32(NHA_OIF, static_cast<std::uint32_t>(hop.link));
  builder.put(NHA_GATEWAY, address_bytes(hop.gateway));
  builder.end();
}

void put_removed_hop(MessageBuilder& builder, std::uint32_t sequence, const HopObject& hop) {
  builder.begin(RTM_DELNEXTHOP, NLM_F_REQUEST, sequence, nhmsg{});
  builder.put_u32(NHA_ID, hop.number);
  builder.end();
}

namespace {

std::vector<std::uint32_t> members_of(ByteView group) {
  std::vector<std::uint32_t> members;
  for (nexthop_grp member{}; group.size() >= sizeof member; group = group.subspan(sizeof member)) {
    std::memcpy(&member, group.data(), sizeof member);
    members.push_back(member.id);
  }
  return members;
}

}  // namespace

ToldHop hop_of(MessageView message) {
  constexpr std::array kSaysMore{NHA_GROUP, NHA_BLACKHOLE, NHA_ENCAP, NHA_ENCAP_TYPE, NHA_FDB};
  const auto& header = header_of<nhmsg>(message);
  const auto attributes = Attributes::of_message(message, sizeof(nhmsg), NHA_MAX + 1);
  ToldHop told{
      header.nh_protocol, {.number = attributes.u32(NHA_ID)}, members_of(attributes.bytes(NHA_GROUP))};
  const auto gateway = address_of(attributes.bytes(NHA_GATEWAY));
  bool plain = gateway && (header.nh_flags & RTNH_F_ONLINK) != 0;
  for (const auto type : kSaysMore) plain &= !attributes.has(type);
  if (!plain) return told;
  told.hop.link = static_cast<int>(attributes.u32(NHA_OIF));
  told.hop.gateway = *gateway;
  return told;
}

Result<std::vector<ToldHop>> dump_hops(NetlinkSocket& socket) {
  return repeated<std::vector<ToldHop>>([&]() -> Result<std::vector<ToldHop>> {
    MessageBuilder request;
    request.begin(RTM_GETNEXTHOP, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), nhmsg{});
    request.end();
    std::vector<ToldHop> hops;
    TRY_VOID(socket.query(request.bytes(), [&](MessageView message) {
      if (message.nlmsg_type == RTM_NEWNEXTHOP) hops.push_back(hop_of(message));
    }));
    return hops;
  });
}

}  // namespace ocicat::kernel
