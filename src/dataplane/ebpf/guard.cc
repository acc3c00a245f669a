#include "dataplane/ebpf/guard.h"

#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>

#include <algorithm>
#include <cstring>

#include "base/digest.h"
#include "kernel/nft_expressions.h"

namespace ocicat::dataplane::ebpf {
namespace {

using namespace kernel::nft;

// Key types are datatypes of the `nft` command: iface_index 20, ifname 41.
const Set kAttached{"attached", 20, 4, 0, false, false};
const Set kNames{"workloads", 41, IFNAMSIZ, 0, false, false};

struct Table {
  std::vector<Chain> chains;
  std::vector<Rule> rules;
  std::vector<Element> attached, names;
};

Rule rule_of(const char* chain, Expressions& expressions) {
  auto bytes = expressions.take();
  std::string meaning(chain);
  meaning.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto digest = Digest::of(meaning);
  return {chain, std::move(bytes), {digest.bytes.begin(), digest.bytes.end()}};
}

kernel::ByteView bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void add_chain(Table& table, const char* name, Hook hook, Meta index, Meta interface,
               const GuardState& state) {
  table.chains.push_back({name, hook});
  table.rules.push_back(
      rule_of(name, Expressions().meta(index, 0).in_set(kAttached.name, 0).verdict(NF_ACCEPT)));
  for (const auto& prefix : state.prefixes) {
    if (prefix.empty() || prefix.size() >= IFNAMSIZ) continue;  // matches no interface, or would match all
    table.rules.push_back(
        rule_of(name, Expressions().meta(interface, 0).equals(0, bytes_of(prefix)).verdict(NF_DROP)));
  }
  table.rules.push_back(
      rule_of(name, Expressions().meta(interface, 0).in_set(kNames.name, 0).verdict(NF_DROP)));
}

Table table_of(const GuardState& state) {
  Table table;
  add_chain(table, "from_workloads", {NF_INET_PRE_ROUTING, NF_IP_PRI_RAW}, Meta::kInputIndex,
            Meta::kInputName, state);
  add_chain(table, "to_workloads", {NF_INET_FORWARD, NF_IP_PRI_FILTER}, Meta::kOutputIndex, Meta::kOutputName,
            state);
  for (const auto index : state.attached) {
    Element element;
    std::array<std::uint8_t, sizeof index> bytes{};  // host order, as the kernel compares it
    std::memcpy(bytes.data(), &index, sizeof index);
    element.key = ElementKey(bytes);
    table.attached.push_back(element);
  }
  for (const auto& name : state.names) {
    if (name.empty() || name.size() >= IFNAMSIZ) continue;
    Element element;
    element.key.append(bytes_of(name));
    element.key.pad_to(IFNAMSIZ);
    table.names.push_back(element);
  }
  std::ranges::sort(table.attached);
  std::ranges::sort(table.names);
  return table;
}

Shape shape_of(const Table& table) {
  Shape shape;
  for (const auto& set : {kAttached, kNames}) shape.sets.emplace(set.name, set);
  for (const auto& chain : table.chains) shape.chains.emplace(chain.name, chain);
  for (const auto& rule : table.rules) shape.rules_by_chain[rule.chain].push_back(rule.mark);
  return shape;
}

void add_difference(const Set& set, const std::vector<Element>& before, const std::vector<Element>& after,
                    Batch& batch) {
  std::vector<Element> gone, come;
  std::ranges::set_difference(before, after, std::back_inserter(gone));
  std::ranges::set_difference(after, before, std::back_inserter(come));
  if (!gone.empty()) batch.emplace_back(DeleteElements{set, std::move(gone)});
  if (!come.empty()) batch.emplace_back(AddElements{set, std::move(come)});
}

Batch whole(const Table& table) {
  // Added first, so that it can be deleted whether or not it is there: the old one goes as the new one comes.
  Batch batch{AddTable{}, DeleteTable{}, AddTable{}, AddSet{kAttached}, AddSet{kNames}};
  for (const auto& chain : table.chains) batch.emplace_back(AddChain{chain});
  for (const auto& rule : table.rules) batch.emplace_back(AddRule{rule});
  add_difference(kAttached, {}, table.attached, batch);
  add_difference(kNames, {}, table.names, batch);
  return batch;
}

}  // namespace

Result<void> Guard::commit(const Batch& batch) {
  if (batch.empty()) return {};
  TRY_VOID(kernel_.commit(batch));
  writes_ += size_of(batch);
  return {};
}

Result<void> Guard::sync(const GuardState& wanted) {
  if (known_ && there_ == wanted) return {};
  const bool knew = std::exchange(known_, false);
  const auto table = table_of(wanted);
  if (knew && there_.prefixes == wanted.prefixes) {
    const auto before = table_of(there_);
    Batch batch;
    add_difference(kAttached, before.attached, table.attached, batch);
    add_difference(kNames, before.names, table.names, batch);
    TRY_VOID(commit(batch));
  } else {
    TRY(const auto shape, kernel_.read_shape());
    if (!shape || !(*shape == shape_of(table))) {
      TRY_VOID(commit(whole(table)));
    } else {
      Batch batch;
      for (const auto& [set, elements] :
           {std::pair(kAttached, table.attached), std::pair(kNames, table.names)}) {
        TRY(auto there, kernel_.read_elements(set));
        std::ranges::sort(there);
        add_difference(set, there, elements, batch);
      }
      TRY_VOID(commit(batch));
    }
  }
  there_ = wanted;
  known_ = true;
  return {};
}

}  // namespace ocicat::dataplane::ebpf
