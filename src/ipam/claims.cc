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

// What an affinity is, and the answer to a write of it, where there was one.
struct Attempt {
  std::optional<Stored<BlockAffinity>> affinity;
  std::optional<Result<boost::json::object>> answer;
};

// Attempts until nobody, and no lost answer, has come between; what the affinity is then.
template <class Make>
Result<std::optional<Stored<BlockAffinity>>> until_written(const BlockOwner& owner, const Prefix& cidr,
                                                           Make attempt) {
  int lost = 0;
  std::string why = "others write it all the time";
  for (int tries = 0; tries < kMostTries && lost <= kMostLostAnswers; ++tries) {
    TRY(Attempt made, attempt());
    if (!made.answer) return std::move(made.affinity);
    const auto& answer = *made.answer;
    if (answer) return decode_affinity(*answer);
    if (!is_stale(answer.error())) return std::unexpected(answer.error());
    if (answer.error().code != ErrorCode::kUnavailable) continue;
    ++lost;
    why = answer.error().message;
  }
  return fail(ErrorCode::kUnavailable, "the affinity of {} to {} cannot be written: {}", owner.to_string(),
              cidr.to_string(), why);
}

// Brings the affinity to the state that `next` makes of it (of nothing, where it is missing), and says what it is then.
// Nothing to bring it to: it stays as it is.
template <class Next>
Result<std::optional<Stored<BlockAffinity>>> change_affinity(Documents& documents, const BlockOwner& owner,
                                                             const Prefix& cidr, Next next) {
  return until_written(owner, cidr, [&]() -> Result<Attempt> {
    TRY(auto stored, find_affinity(documents, owner, cidr));
    const std::optional<State> state = next(stored);
    if (!state) return Attempt{std::move(stored), {}};
    const bool is_new = !stored;
    if (is_new) stored = Stored<BlockAffinity>{{cidr, owner, *state, false}, {}};
    stored->value.state = *state;
    return Attempt{{}, is_new ? documents.create(encode(*stored)) : documents.update(encode(*stored))};
  });
}

// Says that the owner is about to make the block, in an affinity that nobody can have changed or removed unseen by
// then. One that is confirmed already, for a block that is being made or was not, stays so and is written anew: so
// nobody takes it for one that has been read before.
Result<Stored<BlockAffinity>> announce(Documents& documents, const BlockOwner& owner, const Prefix& cidr) {
  TRY(auto announced, change_affinity(documents, owner, cidr, [](const auto& stored) -> std::optional<State> {
        if (!stored || stored->value.state == State::kPendingDeletion) return State::kPending;
        if (stored->value.state == State::kConfirmed) return State::kConfirmed;
        return std::nullopt;
      }));
  CHECK(announced);
  return *std::move(announced);
}

Result<void> confirm(Documents& documents, const BlockOwner& owner, const Prefix& cidr) {
  const auto confirmed =
      change_affinity(documents, owner, cidr, [](const auto& stored) -> std::optional<State> {
        if (stored && stored->value.state == State::kConfirmed) return std::nullopt;
        return State::kConfirmed;
      });
  return confirmed ? Result<void>() : std::unexpected(confirmed.error());
}

// Unless it has been changed since it was read: whoever did knows better.
Result<void> remove_unchanged(Documents& documents, const Stored<BlockAffinity>& affinity) {
  const auto key = affinity_key(affinity.value.owner, affinity.value.cidr);
  const auto removed = documents.remove(key, affinity.revision());
  if (removed || is_stale(removed.error())) return {};
  return std::unexpected(removed.error());
}

// Likewise.
Result<void> confirm_unchanged(Documents& documents, Stored<BlockAffinity> affinity) {
  affinity.value.state = State::kConfirmed;
  const auto updated = documents.update(encode(affinity));
  if (updated || is_stale(updated.error())) return {};
  return std::unexpected(updated.error());
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

// Nothing: it is not there.
Result<std::optional<Stored<IpamBlock>>> block_of(Documents& documents, const Prefix& cidr) {
  const auto document = documents.get(block_key(cidr));
  if (!document && document.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!document) return std::unexpected(document.error());
  auto block = decode_block(*document);
  if (!block) return within(block_key(cidr).to_string(), std::move(block).error());
  return *std::move(block);
}

// How many blocks of the family it has, is about to have or to give up.
Result<int> count_affinities(Documents& documents, const BlockOwner& owner, Family family) {
  int count = 0;
  TRY(const auto affinities, documents.list(Kind::kBlockAffinity));
  for (const auto& document : affinities) {
    const auto affinity = decode_affinity(document);
    const bool counts = affinity && !affinity->value.deleted;  // else whoever finds it removes it
    if (counts && affinity->value.owner == owner && affinity->value.cidr.family() == family) ++count;
  }
  return count;
}

// Announces it only as one of `most`. An affinity that has been counted is confirmed before its block is made: so of
// two that find too many each takes back what nobody has counted as one of them yet, and nothing else.
Result<Stored<BlockAffinity>> announce_within(Documents& documents, const BlockOwner& owner,
                                              const Prefix& cidr, int most) {
  TRY(auto counted, until_written(owner, cidr, [&]() -> Result<Attempt> {
        TRY(auto announced, announce(documents, owner, cidr));
        if (announced.value.state == State::kConfirmed) return Attempt{std::move(announced), {}};
        TRY(const auto wanted, count_affinities(documents, owner, cidr.family()));
        if (wanted > most) {
          TRY_VOID(remove_unchanged(documents, announced));
          return fail(
              ErrorCode::kExhausted,
              "{} has IPv{} blocks, or is about to, as many as it may have ({}); raise maxBlocksPerHost "
              "(ocicat ipam configure), or give the pool larger blocks",
              owner.to_string(), static_cast<int>(cidr.family()), most);
        }
        announced.value.state = State::kConfirmed;
        return Attempt{{}, documents.update(encode(announced))};
      }));
  CHECK(counted);
  return *std::move(counted);
}

// Announces a block that the owner has and no affinity tells of, whatever the limit: it is there. The block is looked at
// after the announcement, and confirmed only as announced: who gives it up meanwhile either finds the announcement, or
// has removed the block by then. So no affinity to nothing is left that was never counted.
Result<void> announce_present(Documents& documents, const BlockOwner& owner, const Prefix& cidr) {
  TRY(const auto announced, announce(documents, owner, cidr));
  // One that was confirmed already may be for a block that is being made.
  if (announced.value.state == State::kConfirmed) return {};
  TRY(const auto block, block_of(documents, cidr));
  const bool is_there = block && block->value.affinity == owner && !block->value.deleted;
  return is_there ? confirm_unchanged(documents, announced) : remove_unchanged(documents, announced);
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
  TRY(const auto announced,
      most ? announce_within(documents, owner, cidr, *most) : announce(documents, owner, cidr));
  auto block = make_block(documents, cidr, owner, now);
  if (!block) {
    if (block.error().code == ErrorCode::kConflict) TRY_VOID(remove_unchanged(documents, announced));
    return block;
  }
  TRY_VOID(confirm(documents, owner, cidr));
  return block;
}

Result<void> give_up_block(Documents& documents, const Stored<IpamBlock>& block) {
  const Prefix& cidr = block.value.cidr;
  std::optional<Stored<BlockAffinity>> affinity;
  if (block.value.affinity) {
    TRY(affinity, change_affinity(documents, *block.value.affinity, cidr,
                                  [](const auto& stored) -> std::optional<State> {
                                    if (!stored || stored->value.state == State::kPendingDeletion)
                                      return std::nullopt;
                                    return State::kPendingDeletion;
                                  }));
  }
  const auto removed = documents.remove(block_key(cidr), block.revision());
  if (!removed && removed.error().code != ErrorCode::kNotFound) {
    if (affinity && removed.error().code == ErrorCode::kConflict)
      TRY_VOID(confirm_unchanged(documents, *std::move(affinity)));
    return std::unexpected(removed.error());
  }
  return affinity ? remove_unchanged(documents, *affinity) : Result<void>();
}

Result<void> finish_giving_up(Documents& documents, const BlockOwner& owner, const Prefix& cidr) {
  TRY(const auto affinity, find_affinity(documents, owner, cidr));
  if (!affinity || affinity->value.state != State::kPendingDeletion) return {};
  return remove_unchanged(documents, *affinity);
}

Result<void> remove_broken_affinity(Documents& documents, const BlockOwner& owner, const Prefix& cidr) {
  const auto key = affinity_key(owner, cidr);
  const auto answer = documents.get(key);
  if (!answer && answer.error().code == ErrorCode::kNotFound) return {};
  if (!answer) return std::unexpected(answer.error());
  const auto affinity = decode_affinity(*answer);
  if (!affinity) return within(key.to_string(), affinity.error());
  if (!affinity->value.deleted) {
    TRY(const auto block, block_of(documents, cidr));
    if (block && block->value.affinity == owner)
      return fail(ErrorCode::kConflict, "block {} is of {} by now", cidr.to_string(), owner.to_string());
  }
  // Not as remove_unchanged(): who asked is told whether it has gone.
  const auto removed = documents.remove(key, affinity->revision());
  if (removed || removed.error().code == ErrorCode::kNotFound) return {};
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
  const auto claim = [&](const Prefix& cidr) -> Result<void> {
    auto block = claim_block(documents, cidr, owner, now, most);
    const auto code = block ? ErrorCode{} : block.error().code;
    if (!block && code != ErrorCode::kConflict && code != ErrorCode::kExhausted)
      return std::unexpected(block.error());
    if (block) blocks.emplace(cidr, *std::move(block));
    return {};
  };
  // First, as what the owner has counts where it claims more.
  std::set<Prefix> announced;
  for (const auto& affinity : affinities) {
    if (affinity.value.owner == owner) announced.insert(affinity.value.cidr);
  }
  std::vector<Prefix> unannounced;
  for (const auto& [cidr, block] : blocks) {
    if (block.value.affinity == owner && !announced.contains(cidr)) unannounced.push_back(cidr);
  }
  for (const auto& cidr : unannounced) TRY_VOID(announce_present(documents, owner, cidr));
  for (const auto& affinity : affinities) {
    const auto& [cidr, whose, state, deleted] = affinity.value;
    if (whose != owner) continue;
    const auto at = blocks.find(cidr);
    if (at != blocks.end() && at->second.value.affinity == owner) {
      if (state != State::kConfirmed) TRY_VOID(confirm_unchanged(documents, affinity));
    } else if (at == blocks.end() && state != State::kPendingDeletion && wanted(cidr)) {
      TRY_VOID(claim(cidr));
    } else {
      TRY_VOID(remove_unchanged(documents, affinity));
    }
  }
  return {};
}

}  // namespace ocicat::ipam
