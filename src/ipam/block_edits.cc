#include "ipam/block_edits.h"

#include "ipam/handles.h"
#include "network/ipam_block.h"

namespace ocicat::ipam {
namespace {

struct Pending {
  Prefix cidr;
  const BlockEdit* edit = nullptr;
  std::optional<Stored<IpamBlock>> block;  // as last read
  bool unsure = false;
};

}  // namespace

boost::json::object next_version(const Stored<IpamBlock>& block) {
  Stored<IpamBlock> next = block;
  network::raise_sequence(next.value);
  return encode(next);
}

void take_version(Stored<IpamBlock>& block, const boost::json::object& written) {
  network::raise_sequence(block.value);
  block.metadata = written.at("metadata").as_object();
}

std::map<Prefix, Result<bool>> edit_blocks(Documents& documents, BlockCache& cache,
                                           const std::map<Prefix, BlockEdit>& edits) {
  std::map<Prefix, Result<bool>> outcomes;
  std::map<Prefix, bool> cached;
  std::vector<Pending> pending;
  for (const auto& [cidr, edit] : edits) {
    const auto at = cache.find(cidr);
    cached[cidr] = at != cache.end();
    pending.push_back({cidr, &edit, at != cache.end() ? std::optional(at->second) : std::nullopt, false});
    cache.erase(cidr);
  }
  const auto settle_as = [&](Pending& one, Result<bool> outcome) {
    if (outcome && *outcome && cached[one.cidr] && one.block)
      cache.insert_or_assign(one.cidr, *std::move(one.block));
    outcomes.insert_or_assign(one.cidr, std::move(outcome));
  };
  int lost = 0;
  for (int tries = 0; !pending.empty() && tries < kMostTries && lost <= kMostLostAnswers; ++tries) {
    std::vector<ResourceKey> keys;
    for (const auto& one : pending) {
      if (!one.block) keys.push_back(block_key(one.cidr));
    }
    auto found = documents.get(keys);
    std::vector<Pending> ready;
    std::vector<Write> writes;
    auto answer = found.begin();
    for (auto& one : pending) {
      if (!one.block) {
        auto document = std::move(*answer++);
        if (!document) {
          const bool gone = document.error().code == ErrorCode::kNotFound;
          settle_as(one, gone ? Result<bool>(false) : std::unexpected(document.error()));
          continue;
        }
        auto block = decode_block(*document);
        if (!block) {
          settle_as(one, within(one.cidr.to_string(), block.error()));
          continue;
        }
        one.block = *std::move(block);
      }
      if (!(*one.edit)(one.block->value, one.unsure)) {
        settle_as(one, true);
        continue;
      }
      const bool is_over = !one.block->value.affinity && network::is_empty(one.block->value);
      writes.push_back(is_over ? delete_of(block_key(one.cidr), one.block->revision())
                               : update_of(next_version(*one.block)));
      ready.push_back(std::move(one));
    }
    pending.clear();
    bool any_lost = false;
    auto answers = documents.write(writes);
    for (std::size_t i = 0; i < ready.size(); ++i) {
      Pending& one = ready[i];
      if (answers[i]) {
        if (writes[i].verb == Write::Verb::kDelete) {
          one.block.reset();
        } else {
          take_version(*one.block, *answers[i]);
        }
        settle_as(one, true);
      } else if (is_stale(answers[i].error())) {
        const bool is_lost = answers[i].error().code == ErrorCode::kUnavailable;
        any_lost |= is_lost;
        one.unsure |= is_lost;
        one.block.reset();
        pending.push_back(std::move(one));
        outcomes.insert_or_assign(pending.back().cidr, std::unexpected(answers[i].error()));
      } else {
        settle_as(one, std::unexpected(answers[i].error()));
      }
    }
    if (any_lost) ++lost;
  }
  return outcomes;
}

}  // namespace ocicat::ipam
