#include "ipam/inventory.h"

#include <algorithm>

#include "ipam/allocator.h"
#include "ipam/block_edits.h"
#include "ipam/settings.h"
#include "network/address_block.h"
#include "resources/decode.h"

namespace ocicat::ipam {

using network::Fault;
using network::Finding;
using network::Verdict;

namespace {

Result<std::vector<WorkloadEndpoint>> read_endpoints(Documents& documents) {
  std::vector<WorkloadEndpoint> endpoints;
  for (const Kind kind : {Kind::kPod, Kind::kWorkloadEndpoint}) {
    TRY(const auto listed, documents.list(kind));
    for (const auto& document : listed) {
      TRY(auto endpoint, decode(kind, document));
      endpoints.push_back(std::get<WorkloadEndpoint>(std::move(endpoint)));
    }
  }
  return endpoints;
}

// What one block is to lose, and what became of it.
struct BlockReleases {
  std::vector<std::size_t> wanted;  // places in `releases`
  std::set<std::string> handles;    // of which one was released
};

// The handle that an address is under; empty: of none.
std::string handle_at(const IpamBlock& block, const IpAddress& address) {
  const auto ordinal = network::ordinal_of(block.cidr, address);
  const auto* attribute = ordinal ? network::attribute_of(block, *ordinal) : nullptr;
  return attribute == nullptr ? std::string() : attribute->handle.value_or("");
}

}  // namespace

Result<ReadInventory> read_inventory(Documents& documents) {
  ReadInventory read;
  TRY(auto settings, read_settings(documents));
  read.inventory.pools = std::move(settings.pools);
  read.inventory.reservations = std::move(settings.reservations);
  read.inventory.configuration = settings.configuration;
  TRY(const auto handles, documents.list(Kind::kIpamHandle));
  for (const auto& document : handles) {
    auto handle = decode_handle(document);
    if (!handle) {
      TRY(auto key, key_of(document));
      read.inventory.unreadable.push_back({std::move(key), handle.error().message, {}});
    } else if (!handle->value.deleted) {
      read.inventory.handles.push_back(std::move(handle->value));
    }
  }
  TRY(read.listing, list_blocks(documents));
  for (const auto& [cidr, block] : read.listing.blocks) read.inventory.blocks.push_back(block.value);
  for (const auto& affinity : read.listing.affinities) read.inventory.affinities.push_back(affinity.value);
  std::ranges::copy(read.listing.unreadable, std::back_inserter(read.inventory.unreadable));
  TRY(const auto nodes, documents.list(Kind::kNode));
  for (const auto& document : nodes) {
    TRY(const auto key, key_of(document));
    read.inventory.nodes.insert(key.name);
  }
  TRY(read.inventory.endpoints, read_endpoints(documents));
  return read;
}

std::vector<Result<bool>> release_addresses(Documents& documents, std::span<const network::Release> releases,
                                            TimePoint now) {
  std::vector<Result<bool>> answers(releases.size(), false);
  const auto refuse_all = [&](const Error& error) {
    answers.assign(releases.size(), std::unexpected(error));
    return answers;
  };
  const auto configuration = read_configuration(documents);
  if (!configuration) return refuse_all(configuration.error());
  auto listing = list_blocks(documents);
  if (!listing) return refuse_all(listing.error());
  std::map<Prefix, BlockReleases> by_block;
  for (std::size_t i = 0; i < releases.size(); ++i) {
    const IpAddress& address = releases[i].address;
    const auto at = std::ranges::find_if(listing->blocks,
                                         [&](const auto& entry) { return entry.first.contains(address); });
    if (const auto unreadable = network::unreadable_block_of(listing->unreadable, address);
        unreadable && at == listing->blocks.end()) {
      answers[i] =
          fail(ErrorCode::kInvalid, "{} is in block {}, which cannot be read; see: ocicat ipam check",
               address.to_string(), unreadable->to_string());
    } else if (at == listing->blocks.end()) {
      answers[i] = fail(ErrorCode::kNotFound, "{} is in no block: nobody was given it", address.to_string());
    } else {
      by_block[at->first].wanted.push_back(i);
    }
  }
  std::map<Prefix, BlockEdit> edits;
  for (auto& [cidr, block_releases] : by_block) {
    edits[cidr] = [&, &here = block_releases](IpamBlock& block, bool unsure) {
      bool any = false;
      if (!unsure) here.handles.clear();
      for (const auto i : here.wanted) {
        const auto handle = handle_at(block, releases[i].address);
        auto released = network::release_this(block, releases[i], now, configuration->cooldown);
        if (released && *released) {
          any = true;
          if (!handle.empty()) here.handles.insert(handle);
        }
        // After a lost answer it may be gone by the write whose answer that was.
        const bool was_ours = unsure && answers[i] && *answers[i] && released && !*released;
        if (!was_ours) answers[i] = std::move(released);
      }
      return any;
    };
  }
  for (const auto& [cidr, outcome] : edit_blocks(documents, listing->blocks, edits)) {
    if (outcome) continue;
    for (const auto i : by_block.at(cidr).wanted) answers[i] = std::unexpected(outcome.error());
    by_block.erase(cidr);
  }
  std::set<std::string> handles;
  for (auto& [cidr, block_releases] : by_block) handles.merge(block_releases.handles);
  // A handle that stays too high is no harm: it is found as stale.
  std::ignore =
      Allocator(documents, {[now] { return now; }, 0}).correct(std::vector(handles.begin(), handles.end()));
  return answers;
}

std::vector<Freed> free_garbage(Documents& documents, std::span<const Finding> findings, TimePoint now) {
  std::vector<Freed> freed;
  std::vector<network::Release> releases;
  std::vector<std::size_t> released_by;  // places in `freed`
  for (const auto& finding : findings) {
    if (finding.verdict != Verdict::kFree) continue;
    freed.push_back({&finding, {}});
    if (finding.fault != Fault::kLeakedAddress) continue;
    releases.push_back({*finding.address, finding.handle, finding.sequence});
    released_by.push_back(freed.size() - 1);
  }
  auto answers = release_addresses(documents, releases, now);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) freed[released_by[i]].outcome = std::unexpected(std::move(answers[i]).error());
  }
  Allocator allocator(documents, {[now] { return now; }, 0});
  for (auto& [finding, outcome] : freed) {
    if (finding->fault == Fault::kStaleHandle) {
      outcome = std::move(allocator.correct(std::span(&finding->handle, 1)).front());
    } else if (finding->fault == Fault::kEmptyBlock) {
      const auto document = documents.get(block_key(*finding->block));
      auto block = document ? decode_block(*document) : std::unexpected(document.error());
      if (!block) {
        if (block.error().code != ErrorCode::kNotFound) outcome = std::unexpected(block.error());
      } else if (block->value.affinity != finding->owner || !network::is_empty(block->value)) {
        outcome = fail(ErrorCode::kConflict, "block {} is in use by now", finding->subject);
      } else {
        outcome = give_up_block(documents, *block);
      }
    } else if (finding->fault == Fault::kBrokenAffinity) {
      outcome = remove_broken_affinity(documents, *finding->owner, *finding->block);
    }
  }
  return freed;
}

}  // namespace ocicat::ipam
