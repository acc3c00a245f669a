#include "kernel/nft_expressions.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/xt_bpf.h>

#include <array>

#include "base/result.h"

namespace ocicat::kernel::nft {
namespace {

std::uint32_t number_of(Register reg) {
  CHECK(reg < NFT_REG32_COUNT);
  return NFT_REG32_00 + reg;
}

std::array<std::uint8_t, 4> be32(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
          static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

}  // namespace

std::size_t Expressions::begin(std::string_view name) {
  const std::size_t expression = attributes_.begin_nest(NFTA_LIST_ELEM);
  attributes_.put_string(NFTA_EXPR_NAME, name);
  data_ = attributes_.begin_nest(NFTA_EXPR_DATA);
  return expression;
}

void Expressions::end(std::size_t expression) {
  attributes_.end_nest(data_);
  attributes_.end_nest(expression);
}

void Expressions::put_data(std::uint16_t type, ByteView bytes) {
  const std::size_t nest = attributes_.begin_nest(type);
  attributes_.put(NFTA_DATA_VALUE, bytes);
  attributes_.end_nest(nest);
}

Expressions& Expressions::meta(Meta what, Register into) {
  const auto expression = begin("meta");
  attributes_.put_be32(NFTA_META_DREG, number_of(into));
  attributes_.put_be32(NFTA_META_KEY, static_cast<std::uint32_t>(what));
  end(expression);
  return *this;
}

Expressions& Expressions::payload(HeaderBase base, std::uint32_t offset, std::uint32_t length,
                                  Register into) {
  const auto expression = begin("payload");
  attributes_.put_be32(NFTA_PAYLOAD_DREG, number_of(into));
  attributes_.put_be32(NFTA_PAYLOAD_BASE, static_cast<std::uint32_t>(base));
  attributes_.put_be32(NFTA_PAYLOAD_OFFSET, offset);
  attributes_.put_be32(NFTA_PAYLOAD_LEN, length);
  end(expression);
  return *this;
}

Expressions& Expressions::conntrack_state(Register into) {
  const auto expression = begin("ct");
  attributes_.put_be32(NFTA_CT_DREG, number_of(into));
  attributes_.put_be32(NFTA_CT_KEY, NFT_CT_STATE);
  end(expression);
  return *this;
}

Expressions& Expressions::conntrack_status(Register into) {
  const auto expression = begin("ct");
  attributes_.put_be32(NFTA_CT_DREG, number_of(into));
  attributes_.put_be32(NFTA_CT_KEY, NFT_CT_STATUS);
  end(expression);
  return *this;
}
Expressions& Expressions::conntrack_mark(Register into) {
  const auto expression = begin("ct");
  attributes_.put_be32(NFTA_CT_DREG, number_of(into));
  attributes_.put_be32(NFTA_CT_KEY, NFT_CT_MARK);
  end(expression);
  return *this;
}

Expressions& Expressions::set_conntrack_mark(Register from) {
  const auto expression = begin("ct");
  attributes_.put_be32(NFTA_CT_KEY, NFT_CT_MARK);
  attributes_.put_be32(NFTA_CT_SREG, number_of(from));
  end(expression);
  return *this;
}

Expressions& Expressions::set_mark(Register from) {
  const auto expression = begin("meta");
  attributes_.put_be32(NFTA_META_KEY, static_cast<std::uint32_t>(Meta::kMark));
  attributes_.put_be32(NFTA_META_SREG, number_of(from));
  end(expression);
  return *this;
}

Expressions& Expressions::notrack() {
  end(begin("notrack"));
  return *this;
}

// As iptables asks it: an extension of its own, through what nf_tables has for those (nft_compat).
Expressions& Expressions::asks_program(int program) {
  xt_bpf_info_v1 info{};
  info.mode = XT_BPF_MODE_FD_ELF;
  info.fd = program;
  const auto expression = begin("match");
  attributes_.put_string(NFTA_MATCH_NAME, "bpf");
  attributes_.put_be32(NFTA_MATCH_REV, 1);
  attributes_.put(NFTA_MATCH_INFO, {reinterpret_cast<const std::uint8_t*>(&info), sizeof info});
  end(expression);
  return *this;
}

Expressions& Expressions::immediate(ByteView bytes, Register into) {
  const auto expression = begin("immediate");
  attributes_.put_be32(NFTA_IMMEDIATE_DREG, number_of(into));
  put_data(NFTA_IMMEDIATE_DATA, bytes);
  end(expression);
  return *this;
}

Expressions& Expressions::immediate_be32(std::uint32_t value, Register into) {
  return immediate(be32(value), into);
}

Expressions& Expressions::mask(Register in_place, ByteView mask) {
  const std::vector<std::uint8_t> zeros(mask.size());
  return this->mask(in_place, mask, zeros);
}

Expressions& Expressions::mask(Register in_place, ByteView mask, ByteView flip) {
  const auto expression = begin("bitwise");
  attributes_.put_be32(NFTA_BITWISE_SREG, number_of(in_place));
  attributes_.put_be32(NFTA_BITWISE_DREG, number_of(in_place));
  attributes_.put_be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
  put_data(NFTA_BITWISE_MASK, mask);
  put_data(NFTA_BITWISE_XOR, flip);
  end(expression);
  return *this;
}

Expressions& Expressions::compare(std::uint32_t operation, Register reg, ByteView bytes) {
  const auto expression = begin("cmp");
  attributes_.put_be32(NFTA_CMP_SREG, number_of(reg));
  attributes_.put_be32(NFTA_CMP_OP, operation);
  put_data(NFTA_CMP_DATA, bytes);
  end(expression);
  return *this;
}

Expressions& Expressions::equals(Register reg, ByteView bytes) {
  return compare(NFT_CMP_EQ, reg, bytes);
}
Expressions& Expressions::differs(Register reg, ByteView bytes) {
  return compare(NFT_CMP_NEQ, reg, bytes);
}

Expressions& Expressions::in_set(std::string_view set, Register key) {
  const auto expression = begin("lookup");
  attributes_.put_string(NFTA_LOOKUP_SET, set);
  attributes_.put_be32(NFTA_LOOKUP_SREG, number_of(key));
  end(expression);
  return *this;
}

Expressions& Expressions::map(std::string_view map, Register key, Register into) {
  const auto expression = begin("lookup");
  attributes_.put_string(NFTA_LOOKUP_SET, map);
  attributes_.put_be32(NFTA_LOOKUP_SREG, number_of(key));
  attributes_.put_be32(NFTA_LOOKUP_DREG, number_of(into));
  end(expression);
  return *this;
}

void Expressions::put_change(std::string_view set, std::uint32_t operation, Register key) {
  attributes_.put_string(NFTA_DYNSET_SET_NAME, set);
  attributes_.put_be32(NFTA_DYNSET_OP, operation);
  attributes_.put_be32(NFTA_DYNSET_SREG_KEY, number_of(key));
}

Expressions& Expressions::add(std::string_view set, Register key) {
  const auto expression = begin("dynset");
  put_change(set, NFT_DYNSET_OP_ADD, key);
  end(expression);
  return *this;
}

Expressions& Expressions::update(std::string_view set, Register key) {
  const auto expression = begin("dynset");
  put_change(set, NFT_DYNSET_OP_UPDATE, key);
  end(expression);
  return *this;
}

Expressions& Expressions::has_share(std::string_view set, Register key, std::uint32_t packets,
                                    std::uint32_t burst) {
  const auto expression = begin("dynset");
  put_change(set, NFT_DYNSET_OP_UPDATE, key);
  const auto of_element = attributes_.begin_nest(NFTA_DYNSET_EXPR);
  attributes_.put_string(NFTA_EXPR_NAME, "limit");
  const auto data = attributes_.begin_nest(NFTA_EXPR_DATA);
  put_limit(packets, burst, std::chrono::seconds(1));
  attributes_.end_nest(data);
  attributes_.end_nest(of_element);
  end(expression);
  return *this;
}

Expressions& Expressions::verdict_map(std::string_view map, Register key) {
  const auto expression = begin("lookup");
  attributes_.put_string(NFTA_LOOKUP_SET, map);
  attributes_.put_be32(NFTA_LOOKUP_SREG, number_of(key));
  attributes_.put_be32(NFTA_LOOKUP_DREG, NFT_REG_VERDICT);
  end(expression);
  return *this;
}

Expressions& Expressions::verdict(int code, std::string_view chain) {
  const auto expression = begin("immediate");
  attributes_.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  const auto data = attributes_.begin_nest(NFTA_IMMEDIATE_DATA);
  const auto nest = attributes_.begin_nest(NFTA_DATA_VERDICT);
  attributes_.put_be32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(code));
  if (!chain.empty()) attributes_.put_string(NFTA_VERDICT_CHAIN, chain);
  attributes_.end_nest(nest);
  attributes_.end_nest(data);
  end(expression);
  return *this;
}

Expressions& Expressions::log(std::string_view prefix) {
  const auto expression = begin("log");
  attributes_.put_string(NFTA_LOG_PREFIX, prefix);
  end(expression);
  return *this;
}

Expressions& Expressions::log_to(std::uint16_t group, std::string_view prefix) {
  constexpr std::uint32_t kHeaders = 128;  // what is copied of a packet
  const auto expression = begin("log");
  attributes_.put_string(NFTA_LOG_PREFIX, prefix);
  attributes_.put(NFTA_LOG_GROUP,
                  std::array{static_cast<std::uint8_t>(group >> 8), static_cast<std::uint8_t>(group)});
  attributes_.put_be32(NFTA_LOG_SNAPLEN, kHeaders);
  end(expression);
  return *this;
}

Expressions& Expressions::counter() {
  end(begin("counter"));
  return *this;
}

void Expressions::put_limit(std::uint32_t packets, std::uint32_t burst, std::chrono::seconds per) {
  attributes_.put_be64(NFTA_LIMIT_RATE, packets);
  attributes_.put_be64(NFTA_LIMIT_UNIT, static_cast<std::uint64_t>(per.count()));
  attributes_.put_be32(NFTA_LIMIT_BURST, burst);
  attributes_.put_be32(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
}

Expressions& Expressions::limit(std::uint32_t packets, std::uint32_t burst, std::chrono::seconds per) {
  const auto expression = begin("limit");
  put_limit(packets, burst, per);
  end(expression);
  return *this;
}

Expressions& Expressions::masquerade(std::optional<Register> ports) {
  const auto expression = begin("masq");
  std::uint32_t flags = NF_NAT_RANGE_PROTO_RANDOM_FULLY;
  if (ports) {
    flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
    attributes_.put_be32(NFTA_MASQ_REG_PROTO_MIN, number_of(*ports));
    attributes_.put_be32(NFTA_MASQ_REG_PROTO_MAX, number_of(*ports + 1));
  }
  attributes_.put_be32(NFTA_MASQ_FLAGS, flags);
  end(expression);
  return *this;
}

Expressions& Expressions::translate_source(Family family, Register address, std::optional<Register> ports) {
  const auto expression = begin("nat");
  std::uint32_t flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_RANDOM_FULLY;
  attributes_.put_be32(NFTA_NAT_TYPE, NFT_NAT_SNAT);
  attributes_.put_be32(NFTA_NAT_FAMILY, family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
  attributes_.put_be32(NFTA_NAT_REG_ADDR_MIN, number_of(address));
  if (ports) {
    flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
    attributes_.put_be32(NFTA_NAT_REG_PROTO_MIN, number_of(*ports));
    attributes_.put_be32(NFTA_NAT_REG_PROTO_MAX, number_of(*ports + 1));
  }
  attributes_.put_be32(NFTA_NAT_FLAGS, flags);
  end(expression);
  return *this;
}

Expressions& Expressions::translate_destination(Family family, Register address) {
  const auto expression = begin("nat");
  attributes_.put_be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
  attributes_.put_be32(NFTA_NAT_FAMILY, family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
  attributes_.put_be32(NFTA_NAT_REG_ADDR_MIN, number_of(address));
  attributes_.put_be32(NFTA_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS);
  end(expression);
  return *this;
}

Expressions& Expressions::reject_with_tcp_reset() {
  const auto expression = begin("reject");
  attributes_.put_be32(NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST);
  attributes_.put_u8(NFTA_REJECT_ICMP_CODE, 0);
  end(expression);
  return *this;
}

Expressions& Expressions::reject_unreachable() {
  const auto expression = begin("reject");
  attributes_.put_be32(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH);
  attributes_.put_u8(NFTA_REJECT_ICMP_CODE, NFT_REJECT_ICMPX_PORT_UNREACH);
  end(expression);
  return *this;
}

}  // namespace ocicat::kernel::nft
