// One table after another of the same name, so that packets which are on their way through the first end by it: what is
// wanted is added and takes the rules' place in one transaction, and leftovers() go in another, behind them.
#pragma once

#include "kernel/nft.h"

namespace ocicat::kernel::nft {

// Whether they cannot stand side by side: a set or a chain of one has the name of another in the other.
bool clash(const Shape& there, const Shape& wanted);

// Sets and chains that are there and not wanted, to be deleted: maps first, as they lead to chains. By then no rule may
// use them, and no packet (Kernel::let_packets_pass()).
Batch leftovers(const Shape& there, const Shape& wanted);

}  // namespace ocicat::kernel::nft
