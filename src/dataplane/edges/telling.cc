#include "dataplane/edges/telling.h"

#include <linux/netfilter.h>

#include <chrono>

#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {

using kernel::nft::Expressions;

kernel::nft::Rule tells(const Telling& telling) {
  return kernel::nft::marked_rule(
      telling.chain, Expressions().counter().limit(kTold, kTold).log_to(telling.group, telling.word).take());
}

// A datatype of the `nft` command: iface_index.
const kernel::nft::Set& shares() {
  constexpr std::uint32_t kIndexType = 20, kMost = 16'384;
  static const kernel::nft::Set set{"shares", kIndexType, 4, 0, false, false, kMost, std::chrono::minutes(1)};
  return set;
}

// Where the set has no room, who comes late has no share.
std::vector<kernel::nft::Rule> tells_fairly(const Telling& telling, int verdict, std::string_view chain) {
  Expressions anybodys, own;
  anybodys.counter().limit(kAnybodys, kAnybodys).log_to(telling.group, telling.word).verdict(verdict, chain);
  own.meta(kernel::nft::Meta::kInputIndex, 0)
      .has_share(shares().name, 0, kShare, kShare)
      .limit(kTold - kAnybodys, kTold - kAnybodys)
      .log_to(telling.group, telling.word);
  return {kernel::nft::marked_rule(telling.chain, anybodys.take()),
          kernel::nft::marked_rule(telling.chain, own.take())};
}

kernel::nft::Rule drops(const Telling& telling) {
  return kernel::nft::marked_rule(telling.chain, Expressions().verdict(NF_DROP).take());
}

}  // namespace ocicat::dataplane
