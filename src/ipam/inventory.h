// Everything that address management keeps and everybody who may have an address, read at once; and what a
// look at it finds, carried out.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "ipam/claims.h"
#include "ipam/documents.h"
#include "network/garbage.h"
#include "network/ipam_block.h"

namespace ocicat::ipam {

struct ReadInventory {
  network::Inventory inventory;
  BlockListing listing;  // the same blocks, with what is needed to write them
};
// Endpoints are read after the blocks: one that was given an address in between is seen with it. An endpoint
// that cannot be read is an error, since its addresses would look as if nobody had them.
Result<ReadInventory> read_inventory(Documents& documents);

// Frees addresses one by one, wherever they are. For each: true, it was released; false, nobody had it; or
// why not: kNotFound (in no block), kInvalid (in one that cannot be read), kConflict (given anew since).
std::vector<Result<bool>> release_addresses(Documents& documents, std::span<const network::Release> releases,
                                            TimePoint now);

// Does what findings with Verdict::kFree ask for; the others are left alone. Everything is checked again
// against what it was found as: what has changed since stays.
struct Freed {
  const network::Finding* finding = nullptr;
  Result<void> outcome;
};
std::vector<Freed> free_garbage(Documents& documents, std::span<const network::Finding> findings,
                                TimePoint now);

}  // namespace ocicat::ipam
