// Blocks of addresses, and which host has what of them (semantics.md 4.2).
//
//   in       blocks, as IPAMBlocks say; any order
//   out      for a block or an address, the name of its host
//   cost     a lookup: that of base/prefix_map.h; a change: what the block says
//   errors   none: what nobody says is not there
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/prefix_map.h"
#include "base/text_map.h"
#include "resources/types.h"

namespace ocicat::network {

class BlockMap {
 public:
  struct Block {
    std::string node;  // empty: no host's
    std::vector<AddressBlock::Elsewhere> elsewhere;

    bool operator==(const Block&) const = default;
  };
  struct Changed {
    std::vector<Prefix> prefixes;  // the block and single addresses that may be another host's now
    bool all_inside = false;       // so may be any address of the block that nobody gave elsewhere
  };
  Changed set(const AddressBlock& block);
  Changed remove(const std::string& name);  // of its document

  const Block* find(const Prefix& cidr) const { return blocks_.find(cidr); }
  // The longest block that has the address.
  const Block* covering(const IpAddress& address, Prefix& cidr) const;
  // The host that an address was given to, where that is not the owner of its block; nullptr: there is none.
  const std::string* elsewhere(const IpAddress& address) const;

  // Blocks and single addresses that lead to the host; and to any.
  void prefixes_of(std::string_view node, std::vector<Prefix>& into) const;
  void all_prefixes(std::vector<Prefix>& into) const;
  bool empty() const { return blocks_.empty(); }

 private:
  void index(const Prefix& cidr, const Block& block);
  void forget(const Prefix& cidr, const Block& block);

  PrefixMap<Block> blocks_;
  TextMap<Prefix> cidr_by_name_;
  // Blocks that speak of a host.
  TextMap<std::set<Prefix>> cidrs_by_node_;
};

}  // namespace ocicat::network
