#include "dataplane/ebpf/guard.h"

#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "dataplane/ebpf/host_hooks.h"
#include "dataplane/edges/edges.h"
#include "dataplane/edges/telling.h"
#include "kernel/nft_expressions.h"
#include "kernel/nft_matches.h"
#include "maps/endpoints.h"

namespace ocicat::dataplane::ebpf {
namespace {

using namespace kernel::nft;

constexpr const char* kFromWorkloads = "from_workloads";
constexpr const char* kToWorkloads = "to_workloads";

// Key types are datatypes of the `nft` command: iface_index 20, ifname 41.
// Every packet on the stack asks for kAttached twice. An interface with programs has an address of an endpoint, or is about
// to, or has a workload's name alone. Where there are more, the kernel takes none of what changes, and new interfaces stay shut.
const Set kAttached{"attached", 20, 4, 0, false, false, 2 * bpf::ENDPOINTS_MAX};
const Set kNames{"workloads", 41, IFNAMSIZ, 0, false, false};

kernel::ByteView bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void add_chain(SmallTable& table, const char* name, Hook hook, Meta index, Meta interface,
               const GuardState& state) {
  table.chains.push_back({name, hook});
  table.rules.push_back(
      marked_rule(name, Expressions().meta(index, 0).in_set(kAttached.name, 0).verdict(NF_ACCEPT).take()));
  for (const auto& prefix : state.settings.workload_prefixes) {
    if (prefix.empty() || prefix.size() >= IFNAMSIZ) continue;  // matches no interface, or would match all
    table.rules.push_back(marked_rule(name, Expressions()
                                                .meta(interface, 0)
                                                .equals(0, bytes_of(prefix))
                                                .verdict(NFT_GOTO, kNotOurs.chain)
                                                .take()));
  }
  table.rules.push_back(marked_rule(
      name,
      Expressions().meta(interface, 0).in_set(kNames.name, 0).verdict(NFT_GOTO, kNotOurs.chain).take()));
}

void add_rule(SmallTable& table, const char* chain, Expressions& rule) {
  table.rules.push_back(marked_rule(chain, rule.take()));
}
// By the program's number the rule is known again, whoever made it.
void add_untracked(SmallTable& table, const char* chain, const AskedProgram& program) {
  table.rules.push_back(marked_rule(chain, Expressions().asks_program(program.program).notrack().take(),
                                    fmt::format("what program {} names is not tracked", program.id)));
}

// Behind the hooks' filters, as the kernel asks programs there. No rule leads to the last chain: with an expression of
// connection tracking in the table, the kernel puts fragments together before these hooks.
void add_at_hooks(SmallTable& table, const ProgramsAtHooks& programs) {
  for (const auto& [chain, hook, program] : {std::tuple{"asked_input", NF_INET_LOCAL_IN, &programs.input},
                                             {"asked_forward", NF_INET_FORWARD, &programs.forward},
                                             {"asked_output", NF_INET_LOCAL_OUT, &programs.output}}) {
    table.chains.push_back({chain, Hook{static_cast<std::uint32_t>(hook), kHostPriority}});
    table.rules.push_back(marked_rule(chain,
                                      Expressions().asks_program(program->program).verdict(NF_DROP).take(),
                                      fmt::format("what program {} refuses is dropped", program->id)));
  }
  constexpr const char* kWhole = "asked_whole";
  table.chains.push_back({kWhole, {}});
  table.rules.push_back(marked_rule(kWhole, Expressions().conntrack_state(0).take()));
}

// Before the kernel tracks what the host itself sends.
void add_from_host(SmallTable& table, const GuardState& state) {
  constexpr const char* kFromHost = "untracked_from_host";
  if (!state.settings.overlays.any() && !state.untracked) return;
  table.chains.push_back({kFromHost, Hook{NF_INET_LOCAL_OUT, NF_IP_PRI_RAW}});
  if (state.settings.overlays.any())
    add_rule(table, kFromHost, Expressions().verdict(NFT_JUMP, kUntrackedTunnels));
  if (state.untracked) add_untracked(table, kFromHost, state.untracked->out);
}

// Behind what concerns workloads: that has been answered by then.
void add_edges(SmallTable& table, const GuardState& state) {
  constexpr auto kKnown = kStateEstablished | kStateRelated;
  constexpr std::array<std::uint8_t, 4> kZero{};
  if (state.settings.overlays.any()) {
    add_rule(table, kFromWorkloads, Expressions().verdict(NFT_JUMP, kUntrackedTunnels));
    for (const auto& [name, hook, target] :
         {std::tuple{"tunnelled_to_host", Hook{NF_INET_LOCAL_IN, NF_IP_PRI_FILTER}, kTunnelledIn},
          {"tunnelled_from_host", Hook{NF_INET_LOCAL_OUT, NF_IP_PRI_FILTER}, kTunnelledOut}}) {
      table.chains.push_back({name, hook});
      // What carries the mark from here on is nothing for host endpoints, whose programs come next.
      Expressions clears;
      set_mark_bit(clears, state.settings.accept_mark, false);
      add_rule(table, name, clears);
      add_rule(table, name, Expressions().verdict(NFT_JUMP, target));
    }
  }
  if (state.untracked) add_untracked(table, kFromWorkloads, state.untracked->in);
  add_from_host(table, state);
  if (!state.settings.service_nets.empty()) {
    std::array<std::uint8_t, 4> mask{};
    std::memcpy(mask.data(), &kKnown, sizeof kKnown);
    add_rule(table, kToWorkloads,
             Expressions().conntrack_state(0).mask(0, mask).differs(0, kZero).verdict(NF_ACCEPT));
    add_rule(table, kToWorkloads, Expressions().verdict(NFT_JUMP, kServiceLoops));
  }
}

SmallTable table_of(const GuardState& state) {
  SmallTable table;
  auto edges = edges_for(state.settings, state.settings.accept_mark);
  table.chains = std::move(edges.chains);
  table.rules = std::move(edges.rules);
  table.chains.push_back({std::string(kNotOurs.chain), {}});
  table.rules.push_back(tells(kNotOurs));
  table.rules.push_back(drops(kNotOurs));
  add_chain(table, kFromWorkloads, {NF_INET_PRE_ROUTING, NF_IP_PRI_RAW}, Meta::kInputIndex, Meta::kInputName,
            state);
  add_chain(table, kToWorkloads, {NF_INET_FORWARD, NF_IP_PRI_FILTER}, Meta::kOutputIndex, Meta::kOutputName,
            state);
  add_edges(table, state);
  if (state.at_hooks) add_at_hooks(table, *state.at_hooks);
  std::vector<Element> attached, names;
  for (const auto index : state.attached) {
    Element element;
    std::array<std::uint8_t, sizeof index> bytes{};  // host order, as the kernel compares it
    std::memcpy(bytes.data(), &index, sizeof index);
    element.key = ElementKey(bytes);
    attached.push_back(element);
  }
  for (const auto& name : state.names) {
    if (name.empty() || name.size() >= IFNAMSIZ) continue;
    Element element;
    element.key.append(bytes_of(name));
    element.key.pad_to(IFNAMSIZ);
    names.push_back(element);
  }
  std::ranges::sort(attached);
  std::ranges::sort(names);
  table.sets = {{kAttached, std::move(attached)},
                {kNames, std::move(names)},
                {hosts_set(Family::kIpv4), host_elements(state.hosts, Family::kIpv4)},
                {hosts_set(Family::kIpv6), host_elements(state.hosts, Family::kIpv6)}};
  return table;
}

}  // namespace

// The guard has no rules in a chain of this name.
Result<bool> Guard::stands_for_policy() {
  constexpr const char* kForwardOfPolicy = "forward";
  TRY(const auto shape, kernel_.read_shape());
  return shape && shape->rules_by_chain.contains(kForwardOfPolicy);
}

Result<void> Guard::ask(const ProgramsAtHooks& programs) {
  SmallTable asked;
  add_at_hooks(asked, programs);
  table_.distrust();
  TRY(const auto shape, kernel_.read_shape());
  Batch batch{AddTable{}};
  for (const auto& chain : asked.chains) {
    if (shape && shape->chains.contains(chain.name)) batch.emplace_back(DeleteChain{chain.name});
  }
  for (const auto& chain : asked.chains) batch.emplace_back(AddChain{chain});
  for (const auto& rule : asked.rules) batch.emplace_back(AddRule{rule});
  TRY_VOID(kernel_.commit(batch));
  writes_ += size_of(batch);
  kernel_.let_packets_pass();
  return {};
}

Result<void> Guard::sync_hosts(const Changes<IpAddress, network::Peer>& peers) {
  HostAddresses come, gone;
  for (const auto& [address, peer] : peers.entries()) {
    if (peer.has_value() != there_.hosts.contains(address)) (peer ? come : gone).insert(address);
  }
  for (const auto family : kFamilies)
    TRY_VOID(table_.change(hosts_set(family), host_elements(come, family), host_elements(gone, family)));
  there_.hosts.insert(come.begin(), come.end());
  for (const auto& address : gone) there_.hosts.erase(address);
  return {};
}

Result<void> Guard::sync(const GuardState& wanted) {
  if (table_.known() && there_ == wanted) return {};
  TRY_VOID(table_.sync(table_of(wanted)));
  there_ = wanted;
  return {};
}

}  // namespace ocicat::dataplane::ebpf
