// Who else on this host leads packets to another destination than they ask for: kube-proxy, port mappings of
// container runtimes, an administrator. Looked for where Linux has places for that; programs of others are
// not seen.
//
//   nftables   rules with dnat, redirect, or iptables' targets of that kind, in whatever table
//   iptables   the same targets in the tables that iptables-legacy keeps
//   IPVS       virtual services
//   source     linux/netfilter/nf_tables.h; linux/netfilter_ipv4/ip_tables.h; kernel
//   net/netfilter/ipvs/ip_vs_ctl.c
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/netlink.h"

namespace ocicat::kernel {

// In words, one for each table: "nftables, table ip kube-proxy"; none: nobody does. In the network namespace
// of the calling thread. O(rules of the namespace).
// `own`: a table of family inet that is not another's.
Result<std::vector<std::string>> destination_translators(const std::string& own = {});

// How a table of family inet is named there.
std::string nftables_translator(const std::string& table);

// The parts of it that look at what the kernel has said.
// Of a message that tells of a rule: its table, if it leads packets elsewhere.
std::optional<std::string> translating_table(MessageView rule);
// Of the entries of an iptables-legacy table as the kernel gives them (struct ipt_entry, struct ip6t_entry):
// whether one leads packets elsewhere. What is cut short says nothing.
bool has_translating_entry(std::span<const std::uint8_t> entries, bool ipv6);
// Of /proc/net/ip_vs: how many services there are.
int virtual_services(std::string_view text);

}  // namespace ocicat::kernel
