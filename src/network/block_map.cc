#include "network/block_map.h"

#include <algorithm>
#include <utility>

namespace ocicat::network {
void BlockMap::index(const Prefix& cidr, const Block& block) {
  if (!block.node.empty()) cidrs_by_node_[block.node].insert(cidr);
  for (const auto& [address, node] : block.elsewhere) cidrs_by_node_[node].insert(cidr);
}

void BlockMap::forget(const Prefix& cidr, const Block& block) {
  const auto leave = [&](const std::string& node) {
    const auto it = cidrs_by_node_.find(node);
    if (it == cidrs_by_node_.end()) return;
    it->second.erase(cidr);
    if (it->second.empty()) cidrs_by_node_.erase(it);
  };
  leave(block.node);
  for (const auto& [address, node] : block.elsewhere) leave(node);
}

BlockMap::Changed BlockMap::set(const AddressBlock& said) {
  Block block{said.node, said.elsewhere};
  cidr_by_name_.insert_or_assign(said.metadata.name, said.cidr);
  const auto [there, is_new] = blocks_.try_emplace(said.cidr);
  auto& known = *there;
  Changed changed;
  if (!is_new && known == block) return changed;
  changed.all_inside = is_new || known.node != block.node;
  if (changed.all_inside) changed.prefixes.push_back(said.cidr);
  for (const auto* list : {&known.elsewhere, &block.elsewhere}) {
    for (const auto& [address, node] : *list) changed.prefixes.push_back(Prefix::host(address));
  }
  if (!is_new) forget(said.cidr, known);
  known = std::move(block);
  index(said.cidr, known);
  return changed;
}

BlockMap::Changed BlockMap::remove(const std::string& name) {
  const auto named = cidr_by_name_.find(name);
  if (named == cidr_by_name_.end()) return {};
  const auto cidr = named->second;
  cidr_by_name_.erase(named);
  const auto* block = blocks_.find(cidr);
  if (block == nullptr) return {};
  Changed changed{.prefixes = {cidr}, .all_inside = true};
  for (const auto& [address, node] : block->elsewhere) changed.prefixes.push_back(Prefix::host(address));
  forget(cidr, *block);
  blocks_.erase(cidr);
  return changed;
}

const BlockMap::Block* BlockMap::covering(const IpAddress& address, Prefix& cidr) const {
  const Block* found = nullptr;
  blocks_.visit_covering(address, [&](const Prefix& prefix, const Block& block) {
    cidr = prefix;
    found = &block;
    return true;
  });
  return found;
}

const std::string* BlockMap::elsewhere(const IpAddress& address) const {
  const std::string* found = nullptr;
  blocks_.visit_covering(address, [&](const Prefix&, const Block& block) {
    const auto it = std::ranges::lower_bound(block.elsewhere, address, {}, &AddressBlock::Elsewhere::address);
    if (it != block.elsewhere.end() && it->address == address) found = &it->node;
    return found != nullptr;
  });
  return found;
}

void BlockMap::prefixes_of(std::string_view node, std::vector<Prefix>& into) const {
  const auto it = cidrs_by_node_.find(node);
  if (it == cidrs_by_node_.end()) return;
  for (const auto& cidr : it->second) {
    const auto& block = *blocks_.find(cidr);
    if (block.node == node) into.push_back(cidr);
    for (const auto& [address, host] : block.elsewhere) {
      if (host == node) into.push_back(Prefix::host(address));
    }
  }
}

void BlockMap::all_prefixes(std::vector<Prefix>& into) const {
  for (const auto& [cidr, block] : blocks_.entries()) {
    into.push_back(cidr);
    for (const auto& [address, node] : block.elsewhere) into.push_back(Prefix::host(address));
  }
}

}  // namespace ocicat::network
