#include "kernel/nft_shapes.h"

#include <algorithm>

namespace ocicat::kernel::nft {

bool clash(const Shape& there, const Shape& wanted) {
  const auto differs = [](const auto& of) {
    return [&of](const auto& entry) {
      const auto found = of.find(entry.first);
      return found != of.end() && !(found->second == entry.second);
    };
  };
  return std::ranges::any_of(wanted.sets, differs(there.sets)) ||
         std::ranges::any_of(wanted.chains, differs(there.chains));
}

Batch leftovers(const Shape& there, const Shape& wanted) {
  Batch batch;
  for (const auto& [name, set] : there.sets) {
    if (!wanted.sets.contains(name)) batch.emplace_back(DeleteSet{name});
  }
  for (const auto& [name, chain] : there.chains) {
    if (!wanted.chains.contains(name)) batch.emplace_back(DeleteChain{name});
  }
  return batch;
}

}  // namespace ocicat::kernel::nft
