#include "dataplane/ebpf/guard.h"

#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <cstring>

#include "kernel/nft_expressions.h"

namespace ocicat::dataplane::ebpf {
namespace {

using namespace kernel::nft;

// Key types are datatypes of the `nft` command: iface_index 20, ifname 41.
const Set kAttached{"attached", 20, 4, 0, false, false};
const Set kNames{"workloads", 41, IFNAMSIZ, 0, false, false};

kernel::ByteView bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void add_chain(SmallTable& table, const char* name, Hook hook, Meta index, Meta interface,
               const GuardState& state) {
  table.chains.push_back({name, hook});
  table.rules.push_back(
      marked_rule(name, Expressions().meta(index, 0).in_set(kAttached.name, 0).verdict(NF_ACCEPT).take()));
  for (const auto& prefix : state.prefixes) {
    if (prefix.empty() || prefix.size() >= IFNAMSIZ) continue;  // matches no interface, or would match all
    table.rules.push_back(marked_rule(
        name, Expressions().meta(interface, 0).equals(0, bytes_of(prefix)).verdict(NF_DROP).take()));
  }
  table.rules.push_back(
      marked_rule(name, Expressions().meta(interface, 0).in_set(kNames.name, 0).verdict(NF_DROP).take()));
}

SmallTable table_of(const GuardState& state) {
  SmallTable table;
  add_chain(table, "from_workloads", {NF_INET_PRE_ROUTING, NF_IP_PRI_RAW}, Meta::kInputIndex,
            Meta::kInputName, state);
  add_chain(table, "to_workloads", {NF_INET_FORWARD, NF_IP_PRI_FILTER}, Meta::kOutputIndex, Meta::kOutputName,
            state);
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
  table.sets = {{kAttached, std::move(attached)}, {kNames, std::move(names)}};
  return table;
}

}  // namespace

Result<void> Guard::sync(const GuardState& wanted) {
  if (table_.known() && there_ == wanted) return {};
  TRY_VOID(table_.sync(table_of(wanted)));
  there_ = wanted;
  return {};
}

}  // namespace ocicat::dataplane::ebpf
