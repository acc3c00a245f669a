#include "dataplane/edges/telling.h"

#include <linux/netfilter.h>

#include "kernel/nft_small_table.h"

namespace ocicat::dataplane {

using kernel::nft::Expressions;

kernel::nft::Rule tells(const Telling& telling) {
  return kernel::nft::marked_rule(
      telling.chain, Expressions().counter().limit(kTold, kTold).log_to(telling.group, telling.word).take());
}

kernel::nft::Rule drops(const Telling& telling) {
  return kernel::nft::marked_rule(telling.chain, Expressions().verdict(NF_DROP).take());
}

}  // namespace ocicat::dataplane
