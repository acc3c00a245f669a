#include "kernel/translators.h"

#include <netinet/in.h>  // before the kernel's own

#include <fmt/format.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "base/unique_fd.h"

namespace ocicat::kernel {
namespace {

// Targets of iptables, kept by itself or in nftables by its successor.
bool is_translating_target(std::string_view name) {
  constexpr std::array<std::string_view, 3> kTargets{"DNAT", "REDIRECT", "NETMAP"};
  return std::ranges::find(kTargets, name) != kTargets.end();
}

bool is_translating(const nlattr* element) {
  const auto expression = Attributes::of_nest(element, NFTA_EXPR_MAX + 1);
  const auto name = expression.text(NFTA_EXPR_NAME);
  if (name == "redir") return true;
  if (name == "nat") {
    const auto data = Attributes::of_nest(expression[NFTA_EXPR_DATA], NFTA_NAT_MAX + 1);
    return data.be32(NFTA_NAT_TYPE) == NFT_NAT_DNAT;
  }
  if (name != "target") return false;
  const auto data = Attributes::of_nest(expression[NFTA_EXPR_DATA], NFTA_TARGET_MAX + 1);
  return is_translating_target(data.text(NFTA_TARGET_NAME));
}

std::string_view family_word(std::uint8_t family) {
  switch (family) {
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_INET:
      return "inet";
    default:
      return "other";
  }
}

// Rules that change while they are read are read again.
Result<std::set<std::string>> nftables_translators() {
  constexpr int kAttempts = 5;
  TRY(auto socket, NetlinkSocket::open(NETLINK_NETFILTER));
  for (int attempt = 1;; ++attempt) {
    MessageBuilder request;
    request.begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, NLM_F_REQUEST | NLM_F_DUMP,
                  socket.next_sequence(), nfgenmsg{NFPROTO_UNSPEC, NFNETLINK_V0, 0});
    request.end();
    std::set<std::string> tables;
    const auto done = socket.query(request.bytes(), [&](MessageView message) {
      if (auto table = translating_table(message)) tables.insert(*std::move(table));
    });
    if (done) return tables;
    if (done.error().code != ErrorCode::kUnavailable || attempt == kAttempts)
      return within("list rules", done.error());
  }
}

std::string text_of(const char* file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

bool has_line(const std::string& text, std::string_view wanted) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line == wanted) return true;
  }
  return false;
}

// Asked only where the table is there already: a look would make it.
template <class Info, class Entries>
Result<bool> legacy_table_translates(int family, int level, int info_option, int entries_option) {
  UniqueFd socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket) return fail_errno("open a socket for iptables", errno);
  Info info{};
  std::strncpy(info.name, "nat", sizeof info.name - 1);
  socklen_t size = sizeof info;
  if (::getsockopt(socket.get(), level, info_option, &info, &size) != 0)
    return fail_errno("look at iptables' table nat", errno);
  std::vector<std::uint8_t> buffer(sizeof(Entries) + info.size);
  Entries head{};
  std::memcpy(head.name, info.name, sizeof head.name);
  head.size = info.size;
  std::memcpy(buffer.data(), &head, sizeof head);
  size = static_cast<socklen_t>(buffer.size());
  if (::getsockopt(socket.get(), level, entries_option, buffer.data(), &size) != 0)
    return fail_errno("read iptables' table nat", errno);
  return has_translating_entry(std::span(buffer).subspan(sizeof(Entries)), family == AF_INET6);
}

// Of what both families' entries have in common: where the target stands, and where the next entry.
struct EntryShape {
  std::size_t size = 0, target = 0, next = 0;
};
constexpr EntryShape kIpv4Entry{sizeof(ipt_entry), offsetof(ipt_entry, target_offset),
                                offsetof(ipt_entry, next_offset)};
constexpr EntryShape kIpv6Entry{sizeof(ip6t_entry), offsetof(ip6t_entry, target_offset),
                                offsetof(ip6t_entry, next_offset)};

std::size_t number_at(std::span<const std::uint8_t> bytes, std::size_t at) {
  std::uint16_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

std::optional<std::string> translating_table(MessageView rule) {
  if ((rule.nlmsg_type & 0xff) != NFT_MSG_NEWRULE || rule.nlmsg_len < NLMSG_LENGTH(sizeof(nfgenmsg)))
    return std::nullopt;
  const auto* header = reinterpret_cast<const nfgenmsg*>(&rule + 1);
  const auto attributes = Attributes::of_message(rule, sizeof(nfgenmsg), NFTA_RULE_MAX + 1);
  if (!attributes.has(NFTA_RULE_EXPRESSIONS)) return std::nullopt;
  bool found = false;
  for_each_attribute(attributes[NFTA_RULE_EXPRESSIONS],
                     [&](const nlattr* element) { found = found || is_translating(element); });
  if (!found) return std::nullopt;
  return fmt::format("nftables, table {} {}", family_word(header->nfgen_family),
                     attributes.text(NFTA_RULE_TABLE));
}

bool has_translating_entry(std::span<const std::uint8_t> entries, bool ipv6) {
  const auto& shape = ipv6 ? kIpv6Entry : kIpv4Entry;
  while (entries.size() >= shape.size) {
    const auto target = number_at(entries, shape.target), next = number_at(entries, shape.next);
    if (next < shape.size || next > entries.size() || target < shape.size ||
        target + sizeof(xt_entry_target) > next) {
      return false;
    }
    const auto* name =
        reinterpret_cast<const char*>(entries.data() + target + offsetof(xt_entry_target, u.user.name));
    if (is_translating_target({name, ::strnlen(name, sizeof(xt_entry_target::u.user.name))})) return true;
    entries = entries.subspan(next);
  }
  return false;
}

// Services stand at the beginning of lines, behind the name of their protocol; what is before them is a
// heading.
int virtual_services(std::string_view text) {
  int services = 0;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    for (const std::string_view protocol : {"TCP ", "UDP ", "SCTP ", "FWM "})
      services += line.starts_with(protocol);
  }
  return services;
}

std::string nftables_translator(const std::string& table) {
  return fmt::format("nftables, table inet {}", table);
}

Result<std::vector<std::string>> destination_translators(const std::string& own) {
  TRY(auto tables, nftables_translators());
  tables.erase(nftables_translator(own));
  std::vector<std::string> found(tables.begin(), tables.end());
  if (has_line(text_of("/proc/thread-self/net/ip_tables_names"), "nat")) {
    TRY(const bool translates, (legacy_table_translates<ipt_getinfo, ipt_get_entries>(
                                   AF_INET, IPPROTO_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES)));
    if (translates) found.emplace_back("iptables, table nat of IPv4");
  }
  if (has_line(text_of("/proc/thread-self/net/ip6_tables_names"), "nat")) {
    TRY(const bool translates, (legacy_table_translates<ip6t_getinfo, ip6t_get_entries>(
                                   AF_INET6, IPPROTO_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES)));
    if (translates) found.emplace_back("iptables, table nat of IPv6");
  }
  if (const int services = virtual_services(text_of("/proc/thread-self/net/ip_vs")); services > 0)
    found.push_back(fmt::format("IPVS, {} services", services));
  return found;
}

}  // namespace ocicat::kernel
