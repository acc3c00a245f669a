#include "ipam/claims.h"

#include <set>

#include "ipam/handles.h"
#include "network/ipam_block.h"
#include "resources/decode.h"

namespace ocicat::ipam {
namespace {

using State = BlockAffinity::State;

// Nothing: there is none, or it is on its way out, and is removed.
Result<std::optional<Stored<BlockAffinity>>> find_affinity(Documents& documents, const BlockOwner& owner,
                                                           const Prefix& cidr) {
  const auto answer = documents.get(affinity_key(owner, cidr));
  if (!answer) {
    if (answer.error().code == ErrorCode::kNotFound) return std::nullopt;
    return std::unexpected(answer.error());
  }
  auto stored = decode_affinity(*answer);
  if (!stored) return within(affinity_key(owner, cidr).to_string(), std::move(stored).error());
  if (!stored->value.deleted) return *std::move(stored);
  const auto removed = documents.remove(affinity_key(owner, cidr), stored->revision());
  if (!removed && !is_stale(removed.error())) return std::unexpected(removed.error());
  return std::nullopt;
}

// Brings the affinity to a state, making it where it is missing and `make` is set. Nothing: it is missing.
Result<std::optional<Stored<BlockAffinity>>> set_affinity(Documents& documents, const BlockOwner& owner,
                                                          const Prefix& cidr, State state, bool make) {
  int lost = 0;
  for (int tries = 0; tries < kMostTries && lost <= kMostLostAnswers; ++tries) {
    TRY(auto stored, find_affinity(documents, owner, cidr));
    if (stored && stored->value.state == state) return stored;
    if (!stored && !make) return std::nullopt;
    const bool is_new = !stored;
    if (is_new) stored = Stored<BlockAffinity>{{cidr, owner, state, false}, {}};
    stored->value.state = state;
    const auto answer = is_new ? documents.create(encode(*stored)) : documents.update(encode(*stored));
    if (answer) return decode_affinity(*answer);
    if (!is_stale(answer.error())) return std::unexpected(answer.error());
    if (answer.error().code == ErrorCode::kUnavailable) ++lost;
  }
  return fail(ErrorCode::kUnavailable, "the affinity of {} to {} cannot be written", owner.to_string(),
              cidr.to_string());
}

// Makes the block, or finds that the owner has it.
Result<Stored<IpamBlock>> make_block(Documents& documents, const Prefix& cidr, const BlockOwner& owner,
                                     TimePoint now) {
  const Stored<IpamBlock> fresh{network::new_block(cidr, owner, now), {}};
  const auto created = documents.create(encode(fresh));
  if (created) return decode_block(*created);
  if (!is_stale(created.error())) return std::unexpected(created.error());
  const auto found = documents.get(block_key(cidr));
  if (!found) {
    if (found.error().code != ErrorCode::kNotFound) return std::unexpected(found.error());
    return fail(ErrorCode::kUnavailable, "block {}: {}", cidr.to_string(), created.error().message);
  }
  auto block = decode_block(*found);
  if (!block) return within(block_key(cidr).to_string(), std::move(block).error());
  const auto& there = block->value;
  if (there.affinity == owner && !there.deleted) return block;
  return fail(ErrorCode::kConflict, "block {} belongs to {}", cidr.to_string(),
              there.affinity ? there.affinity->to_string() : "nobody");
}

// How many blocks of the family it has, is about to have or to give up.
Result<int> count_affinities(Documents& documents, const BlockOwner& owner, Family family) {
  int count = 0;
  TRY(const auto affinities, documents.list(Kind::kBlockAffinity));
  for (const auto& document : affinities) {
    const auto affinity = decode_affinity(document);
    if (affinity && affinity->value.owner == owner && affinity->value.cidr.family() == family) ++count;
  }
  return count;
}

// What an unreadable block stands in the way of.
std::optional<Prefix> cidr_of_block(const boost::json::object& document) {
  const auto* spec = document.if_contains("spec");
  const auto* cidr = spec != nullptr && spec->is_object() ? spec->get_object().if_contains("cidr") : nullptr;
  if (cidr == nullptr || !cidr->is_string()) return std::nullopt;
  const auto prefix = Prefix::parse(std::string_view(cidr->get_string()));
  return prefix ? std::optional(prefix->masked()) : std::nullopt;
}

}  // namespace

Result<Stored<IpamBlock>> claim_block(Documents& documents, const Prefix& cidr, const BlockOwner& owner,
                                      TimePoint now, std::optional<int> most) {
  TRY_VOID(set_affinity(documents, owner, cidr, State::kPending, true));
  if (most) {
    TRY(const auto wanted, count_affinities(documents, owner, cidr.family()));
    if (wanted > *most) {
      TRY_VOID(remove_affinity(documents, owner, cidr));
      return fail(ErrorCode::kExhausted,
                  "{} has IPv{} blocks, or is about to, as many as it may have ({}); raise maxBlocksPerHost "
                  "(ocicat ipam configure), or give the pool larger blocks",
                  owner.to_string(), static_cast<int>(cidr.family()), *most);
    }
  }
  auto block = make_block(documents, cidr, owner, now);
  if (!block) {
    if (block.error().code == ErrorCode::kConflict) TRY_VOID(remove_affinity(documents, owner, cidr));
    return block;
  }
  TRY_VOID(set_affinity(documents, owner, cidr, State::kConfirmed, true));
  return block;
}

Result<void> give_up_block(Documents& documents, const Stored<IpamBlock>& block) {
  const Prefix& cidr = block.value.cidr;
  const auto owner = block.value.affinity;
  if (owner) TRY_VOID(set_affinity(documents, *owner, cidr, State::kPendingDeletion, false));
  const auto removed = documents.remove(block_key(cidr), block.revision());
  if (!removed && removed.error().code != ErrorCode::kNotFound) {
    if (owner && removed.error().code == ErrorCode::kConflict)
      TRY_VOID(set_affinity(documents, *owner, cidr, State::kConfirmed, false));
    return std::unexpected(removed.error());
  }
  return owner ? remove_affinity(documents, *owner, cidr) : Result<void>();
}

Result<void> remove_affinity(Documents& documents, const BlockOwner& owner, const Prefix& cidr) {
  TRY(const auto stored, find_affinity(documents, owner, cidr));
  if (!stored) return {};
  const auto removed = documents.remove(affinity_key(owner, cidr), stored->revision());
  if (removed || is_stale(removed.error())) return {};  // whoever changed it knows better
  return std::unexpected(removed.error());
}

Result<BlockListing> list_blocks(Documents& documents) {
  BlockListing listing;
  TRY(const auto affinities, documents.list(Kind::kBlockAffinity));
  for (const auto& document : affinities) {
    auto affinity = decode_affinity(document);
    if (affinity && !affinity->value.deleted) {
      listing.affinities.push_back(*std::move(affinity));
    } else if (!affinity) {
      TRY(auto key, key_of(document));
      listing.unreadable.push_back({std::move(key), affinity.error().message, {}});
    }
  }
  TRY(const auto blocks, documents.list(Kind::kIpamBlock));
  for (const auto& document : blocks) {
    auto block = decode_block(document);
    if (block && !block->value.deleted) {
      const auto cidr = block->value.cidr;
      listing.blocks.insert_or_assign(cidr, *std::move(block));
    } else {
      TRY(auto key, key_of(document));
      listing.unreadable.push_back({std::move(key), block ? "it is marked as deleted" : block.error().message,
                                    cidr_of_block(document)});
    }
  }
  for (auto& document : listing.unreadable) {
    if (document.block && listing.blocks.contains(*document.block))
      document.block.reset();  // that is another
  }
  return listing;
}

std::vector<Prefix> BlockListing::unreadable_blocks() const {
  std::vector<Prefix> found;
  for (const auto& document : unreadable) {
    if (document.block) found.push_back(*document.block);
  }
  return found;
}

Result<void> repair_claims(Documents& documents, std::map<Prefix, Stored<IpamBlock>>& blocks,
                           const std::vector<Stored<BlockAffinity>>& affinities, const BlockOwner& owner,
                           const std::function<bool(const Prefix&)>& wanted, TimePoint now,
                           std::optional<int> most) {
  std::set<Prefix> announced;
  for (const auto& [affinity, metadata] : affinities) {
    if (affinity.owner != owner) continue;
    announced.insert(affinity.cidr);
    const auto at = blocks.find(affinity.cidr);
    if (at != blocks.end() && at->second.value.affinity == owner) {
      if (affinity.state != State::kConfirmed)
        TRY_VOID(set_affinity(documents, owner, affinity.cidr, State::kConfirmed, true));
    } else if (at == blocks.end() && affinity.state != State::kPendingDeletion && wanted(affinity.cidr)) {
      auto block = claim_block(documents, affinity.cidr, owner, now, most);
      const auto code = block ? ErrorCode{} : block.error().code;
      if (!block && code != ErrorCode::kConflict && code != ErrorCode::kExhausted)
        return std::unexpected(block.error());
      if (block) blocks.emplace(affinity.cidr, *std::move(block));
    } else {
      TRY_VOID(remove_affinity(documents, owner, affinity.cidr));
    }
  }
  for (const auto& [cidr, block] : blocks) {
    if (block.value.affinity != owner || announced.contains(cidr)) continue;
    TRY_VOID(set_affinity(documents, owner, cidr, State::kConfirmed, true));
  }
  return {};
}

}  // namespace ocicat::ipam
