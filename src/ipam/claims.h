// Who has which block: taken, given up, and put right after a crash.
//
// A block belongs to whom the block itself names. The affinity around it says what its owner is about: a
// pending one is written before the block is made, and confirmed after it (before it, where the owner may have no more
// than so many); one that is pending deletion before the block goes, and removed after it. So whatever dies in
// between leaves an affinity that tells. Several may act for one owner at once: each removes, and takes back, an
// affinity only as it has read or written it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/result.h"
#include "ipam/documents.h"
#include "network/garbage.h"
#include "resources/ipam.h"

namespace ocicat::ipam {

// kConflict: somebody else has it. kUnavailable: it may have been made; repair() finds it. kExhausted: with those that
// it has and those that others claim for it at the same time, it would have more than `most` of the family; all are
// counted between the announcement and the confirmation, so of two who claim its last one not both have it.
Result<Stored<IpamBlock>> claim_block(Documents& documents, const Prefix& cidr, const BlockOwner& owner,
                                      TimePoint now, std::optional<int> most = {});

// Gives up a block that was empty when it was read. kConflict: it is not any more, and stays.
Result<void> give_up_block(Documents& documents, const Stored<IpamBlock>& block);

// Removes what is left where somebody has given up a block of the owner's and died on the way.
Result<void> finish_giving_up(Documents& documents, const BlockOwner& owner, const Prefix& cidr);

// Removes the owner's affinity to a block that is not there, or is another's. kConflict: it is the owner's, or the
// affinity has been changed. kUnavailable: it may be there still.
Result<void> remove_broken_affinity(Documents& documents, const BlockOwner& owner, const Prefix& cidr);

// Every block there is, and who wants which.
struct BlockListing {
  std::map<Prefix, Stored<IpamBlock>> blocks;
  std::vector<Stored<BlockAffinity>> affinities;
  std::vector<network::Unreadable> unreadable;  // of both, and blocks that are marked as deleted

  std::vector<Prefix> unreadable_blocks() const;  // they are there, and cannot be used
};
Result<BlockListing> list_blocks(Documents& documents);

// Puts right what a crash of the owner's left behind: a block that was announced is made, one that was made
// is confirmed, an affinity to somebody else's block goes; and one that nothing announces, as where somebody has removed
// its affinity, is announced again. Blocks made are added to `blocks`, up to `most` of a family that the owner has.
// `wanted` says whether it may still have such a block.
Result<void> repair_claims(Documents& documents, std::map<Prefix, Stored<IpamBlock>>& blocks,
                           const std::vector<Stored<BlockAffinity>>& affinities, const BlockOwner& owner,
                           const std::function<bool(const Prefix&)>& wanted, TimePoint now,
                           std::optional<int> most = {});

}  // namespace ocicat::ipam
